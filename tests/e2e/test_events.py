"""Events of real letters, read and posted, while the processes that order and post them are killed."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from tests.e2e.hooks import receiver, sender_api
from tests.e2e.installation import Installation, installation, send_many, states
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(180)
BASE_PORT = 19400
DELIVERIES = 30
PAGE = Path(__file__).resolve().parents[2] / "docs" / "events.md"


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def documented() -> Mapping[str, Any]:
    """The verifying code of the documentation, as a reader would paste it."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_each_state_is_told_once_in_order_whoever_is_killed(running: Installation) -> None:
    """The list has no hole and no double; the endpoint gets each event at least once, and what it gets verifies."""
    with receiver() as (url, received), sender_api(running) as api:
        made = api.post("/v1/webhooks", json={"url": url})
        assert made.status_code == 201, made.text
        send_many(running, DELIVERIES // 2, "first")
        for name in ("events", "webhook"):
            running.kill(name)
        send_many(running, DELIVERIES - DELIVERIES // 2, "second")
        running.kill("events")
        running.wait("all to be notified", lambda: states(running) == {"notified": DELIVERIES}, 90)
        wanted = Counter({"delivery.deposited": DELIVERIES, "delivery.notified": DELIVERIES})
        events: list[dict[str, Any]] = []
        pages: list[str] = []

        def follow() -> bool:
            after = {"after": pages[-1]} if pages else {}
            page = api.get("/v1/events", params={"wait": 1, "limit": 7, **after}).json()
            events.extend(page["items"])
            pages.append(page["next_cursor"])
            return len(events) >= sum(wanted.values())

        running.wait("every event in the list", follow, 60)
        assert Counter(e["type"] for e in events) == wanted
        assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))
        ids = {e["id"] for e in events}
        assert len(ids) == len({(e["delivery_id"], e["state"]) for e in events}) == len(events)
        running.wait("every event posted", lambda: {h["webhook-id"] for h, _ in received} == ids, 60)
        verify, keys = documented()["verify"], documented()["keys"](str(api.base_url).rstrip("/"))
        by_id = {e["id"]: e for e in events}
        for headers, body in received:
            assert verify(headers, body, keys) == by_id[headers["webhook-id"]]
        headers, body = received[0]
        with pytest.raises(InvalidSignature):
            verify(headers, body + b" ", keys)
        proofs = api.get(f"/v1/deliveries/{events[0]['delivery_id']}/evidence").json()
        assert events[0]["evidence_id"] in {p["id"] for p in proofs}
    running.check_ledger()
