import pytest
from contextlib import aclosing
from hsm_bridge import wire
from tests.bridge_process import BridgeHome


@pytest.mark.anyio
async def test_smoke(bridge: BridgeHome) -> None:
    """x"""
    async with aclosing(bridge.client("seal")) as c, aclosing(bridge.client("timestamp")) as tc:
        d = await c.describe()
        print([k.key_id for k in d.keys])
        t = await tc.time_stamp([wire.TimeStamp(imprint=b"a" * 32, event_time=None)] * 3)
        print(t[0])
        print((bridge.home / "bridge" / "audit.jsonl").read_text())
        from pipeline.formats import tst

        print(tst.verify_token(t[0].token, b"a" * 32, anchors=[d.ca]))
        print(await c.health())
