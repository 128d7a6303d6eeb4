"""timestamp: tokens, states, and what follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import pytest
from msgspec import structs

from pipeline.delivery.deadlines import access_ends_at
from pipeline.delivery.routes import SEALED, Emission
from pipeline.errors import Invariant
from pipeline.evidence.facts import EvidenceToken
from pipeline.ports.bridge import wire
from pipeline.process.measures import STAGE_MESSAGES
from tests.fakes.pki import Provider, time_stamp
from tests.stages.line import Line

pytestmark = pytest.mark.anyio


async def sealed(line: Line) -> None:
    await line.submit()
    await line.run("ingest", "encrypt", "seal")


@dataclass
class Authority:
    """A time-stamp authority that answers otherwise than it was asked."""

    line: Line
    fault: str

    async def ask(self, items: Sequence[wire.TimeStamp]) -> Sequence[wire.Stamped | wire.Denied]:
        honest = self.line.bridge.bridge("timestamp")
        if self.fault in ("clock_behind", "event_in_future", "request_invalid"):
            return [wire.Denied(self.fault) for _ in items]
        if self.fault == "another provider's":
            unit, moment = Provider.new().unit, self.line.clock.legal_now()
            return [wire.Stamped(time_stamp(unit, i.imprint, moment)) for i in items]
        if self.fault == "over something else":
            return await honest.ask([structs.replace(i, imprint=bytes(32)) for i in items])
        ahead = float(self.fault)
        self.line.later(seconds=ahead)
        tokens = await honest.ask([structs.replace(i, event_time=None) for i in items])
        self.line.later(seconds=-ahead)
        return tokens


async def test_a_stamped_deposit_makes_the_state_and_the_next_message() -> None:
    """The state stands on a token, and the notice is prepared once it does."""
    line = Line()
    await sealed(line)
    [message] = await line.turn("timestamp")
    assert line.state(message.subject) == "deposited"
    assert [m.kind for m in line.waiting("notify")] == ["prepare"]


async def test_a_second_token_changes_nothing() -> None:
    """The first committed one wins, and what follows is not set going twice."""
    line = Line()
    await sealed(line)
    [message] = await line.turn("timestamp")
    assert message.evidence is not None
    first = line.database.tables.find(EvidenceToken, message.evidence)
    await line.again(message)
    await line.turn("timestamp")
    assert line.database.tables.find(EvidenceToken, message.evidence) == first
    assert len(line.waiting("notify")) == 1


async def test_the_second_half_of_an_acceptance_waits_for_the_first() -> None:
    """D.1's token before C.3's moves nothing; both, and the delivery is accepted, with its end of access set."""
    line = Line()
    delivery = await line.notified()
    accepted, consigned = await line.accept(delivery)
    await line.turn("seal")
    messages = {m.evidence: m for m in line.waiting("timestamp")}
    line.database.waiting["timestamp"].clear()
    await line.again(messages[consigned.evidence])
    await line.turn("timestamp")
    assert (line.state(delivery), line.waiting("archive")) == ("notified", [])
    await line.again(messages[accepted.evidence])
    await line.turn("timestamp")
    assert (line.state(delivery), len(line.waiting("archive"))) == ("accepted", 1)
    [access] = [t for t in line.database.timers if t.message.kind == "access_end"]
    assert (access.due_at, access.is_legal) == (access_ends_at(accepted.event_time), True)


@pytest.mark.parametrize("trouble", ["away", "answer lost", "denied"])
async def test_an_authority_that_cannot_stamp_now_is_asked_again(trouble: str) -> None:
    """No token, no state; the seal waits."""
    line = Line()
    await sealed(line)
    line.bridge.away, line.bridge.lose_answers = trouble == "away", int(trouble == "answer lost")
    if trouble == "denied":
        line.ports["timestamp"] = replace(line.ports["timestamp"], authority=Authority(line, "request_invalid"))
    [message] = await line.turn("timestamp")
    [timer] = line.database.timers
    assert (timer.message.attempts, line.state(message.subject)) == (1, "submitted")


WRONG_CLOCKS = ("clock_behind", "event_in_future", "-60", "-3600", "60", "3600", "86400")


@pytest.mark.parametrize("fault", WRONG_CLOCKS)
async def test_a_token_of_a_wrong_clock_is_never_stored_and_asked_for_again(fault: str) -> None:
    """Older than its event or later than now, by whatever authority: no row, no state, no dead letter; an alarm."""
    line = Line()
    await sealed(line)
    honest = line.ports["timestamp"]
    line.ports["timestamp"] = replace(honest, authority=Authority(line, fault))
    [message] = await line.turn("timestamp")
    [timer] = line.database.timers
    assert message.evidence is not None
    assert line.database.tables.find(EvidenceToken, message.evidence) is None
    assert (timer.message.attempts, line.state(message.subject), line.dead()) == (0, "submitted", [])
    assert line.recorder.counts[STAGE_MESSAGES, ("clock",)] == 1
    line.ports["timestamp"] = honest
    await line.again(message)
    await line.turn("timestamp")
    assert line.state(message.subject) == "deposited"


async def test_clocks_that_are_right_may_be_a_second_apart() -> None:
    """So much an authority may be ahead of the database."""
    line = Line()
    await sealed(line)
    line.ports["timestamp"] = replace(line.ports["timestamp"], authority=Authority(line, "0.9"))
    [message] = await line.turn("timestamp")
    assert line.state(message.subject) == "deposited"


@pytest.mark.parametrize("fault", ["another provider's", "over something else"])
async def test_a_token_that_proves_nothing_stops_the_process(fault: str) -> None:
    """No state ever stands on a token that a verifier would refuse."""
    line = Line()
    await sealed(line)
    line.ports["timestamp"] = replace(line.ports["timestamp"], authority=Authority(line, fault))
    with pytest.raises(Invariant):
        await line.turn("timestamp")
    assert line.waiting("notify") == []


async def test_an_unknown_seal_is_a_dead_letter() -> None:
    """An address without a row is for a person."""
    line = Line()
    await line.emit(Emission(SEALED, uuid4(), uuid4()))
    await line.turn("timestamp")
    assert line.dead() == ["no such seal of this delivery"]
