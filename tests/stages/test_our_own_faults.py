"""What is our own fault, or the clock's, or the relay's manners, becomes no evidence against anybody."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from trio.testing import MockClock

from pipeline.delivery.facts import NoticeResult
from pipeline.ports.bridge import wire
from pipeline.ports.outside import Relayed
from pipeline.stages import encrypt
from tests.fakes.objects import MemoryObjects
from tests.stages.line import PROOF, Line

pytestmark = pytest.mark.anyio
CLOCK = MockClock()  # stands still but for what reading costs


@dataclass
class Forgetful:
    """A bridge whose token has lost the intake key."""

    code: str

    async def ask(self, items: Sequence[wire.Item[Any, Any]]) -> Sequence[wire.Denied]:
        return [wire.Denied(self.code) for _ in items]


class SlowObjects(MemoryObjects):
    """A store whose every object takes so long, by the virtual clock."""

    def __init__(self, objects: dict[str, bytes], seconds: float) -> None:
        super().__init__()
        self.objects = objects
        self.seconds = seconds
        self.begun: list[str] = []

    async def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        self.begun.append(name)
        CLOCK.jump(self.seconds)
        async for chunk in super().read(name, offset, length):
            yield chunk


@pytest.mark.parametrize("code", ["key_unknown", "fault", "item_invalid"])
async def test_a_key_that_the_bridge_lost_rejects_no_letter(code: str) -> None:
    """A sender is not told by sealed evidence that their content is wrong when the intake key is missing."""
    line = Line()
    delivery = await line.submit()
    line.ports["encrypt"] = replace(line.ports["encrypt"], bridge=Forgetful(code))
    await line.run("ingest", "encrypt")
    assert line.events(delivery) == []
    assert line.dead() == [f"intake denied: {code}"]


async def test_a_sealed_key_that_does_not_open_is_the_content_s_fault() -> None:
    """The one refusal that is about what was stored."""
    line = Line()
    delivery = await line.submit()
    line.ports["encrypt"] = replace(line.ports["encrypt"], bridge=Forgetful("intake_invalid"))
    await line.run("ingest", "encrypt")
    assert line.events(delivery) == ["A.2"]


async def test_a_clock_that_is_behind_today_buries_no_evidence() -> None:
    """The bridge refuses an event of its future; when its clock has been put right, the same bytes are sealed."""
    line = Line()
    await line.submit()
    await line.run("ingest", "encrypt")
    line.clock.ahead -= timedelta(minutes=10)
    [message] = await line.turn("seal")
    assert line.dead() == []
    line.clock.ahead += timedelta(minutes=10)
    await line.again(message)
    await line.turn("seal")
    assert [m.evidence for m in line.waiting("timestamp")] == [message.evidence]


async def test_an_event_that_the_authority_s_clock_has_not_reached_delays_no_other() -> None:
    """Thirty seconds between two clocks: the newest evidence of each batch waits, and nothing waits with it."""
    line = Line()
    early = await line.submit()
    await line.run("ingest", "encrypt", "seal")
    line.later(seconds=30)
    late = await line.submit()
    await line.run("ingest", "encrypt", "seal")
    line.later(seconds=-30)
    await line.turn("timestamp")
    assert (line.state(early), line.state(late)) == ("deposited", "submitted")
    assert [t.message.subject for t in line.database.timers] == [late]


async def test_an_answer_of_the_relay_in_another_charset_can_be_stored() -> None:
    """The mail has left: what cannot be written down would send it again, five times, and bury it."""
    line = Line()
    await line.submit()
    line.relay.answers = [Relayed(250, "2.0.0 Message accept\udce9\x00", None)]
    await line.run("ingest", "encrypt", "notify", *PROOF)
    [delivery] = line.database.tables.deliveries()
    [result] = line.database.tables.of(NoticeResult, delivery)
    assert "\x00" not in result.detail.encode().decode()
    assert line.state(delivery) == "notified"


@pytest.mark.parametrize("anyio_backend", [pytest.param(("trio", {"clock": CLOCK}), id="virtual")])
async def test_many_long_contents_in_one_batch_do_not_cost_each_other_their_reading() -> None:
    """What was read in time is deposited; what was not begun waits for the next batch, at the cost of no attempt.
    Otherwise twenty long contents would time out together, and together again, for ever."""
    line = Line()
    deliveries = [await line.submit() for _ in range(3)]
    await line.turn("ingest")
    slow = SlowObjects(line.objects.objects, encrypt.PERFORM_SECONDS / 3 + 1)
    line.ports["encrypt"] = replace(line.ports["encrypt"], objects=slow)
    for deposited in (1, 2, 3):
        await line.turn("encrypt")
        assert sum(line.events(d) == ["A.1"] for d in deliveries) == deposited
        assert {m.attempts for m in line.waiting("encrypt")} <= {0}
    assert len(slow.begun) == 3
