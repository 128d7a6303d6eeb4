"""expire: windows that nobody used, and the end of access."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from pipeline.delivery.deadlines import INTENT_SECONDS, PARIS, WINDOW_DAYS
from pipeline.delivery.facts import DecisionIntent
from pipeline.delivery.routes import EXPIRE, Emission
from pipeline.evidence.draft import draft
from tests.stages.line import PROOF, Line, identification

pytestmark = pytest.mark.anyio
CLOSES = datetime(2026, 3, 18, tzinfo=PARIS)


async def test_a_window_that_nobody_used_ends_as_unclaimed() -> None:
    """C.5 once, after the last day and the grace, with the last day in it; then the proofs are packed."""
    line = Line()
    delivery = await line.notified()
    line.at(CLOSES + timedelta(seconds=121))
    await line.run("expire", *PROOF, "archive")
    assert (line.state(delivery), line.events(delivery)) == ("unclaimed", ["A.1", "C.1", "C.5"])
    assert line.last(delivery).event_time >= CLOSES
    assert b"2026-03-17" in line.last(delivery).canonical
    assert line.nothing_left()


@pytest.mark.parametrize("seconds", [-60, 0, 119])
async def test_nothing_expires_before_the_grace_is_over(seconds: int) -> None:
    """A message that comes early, or within the grace for decisions under way, sets its timer again."""
    line = Line()
    delivery = await line.notified()
    line.at(CLOSES + timedelta(seconds=seconds))
    line.database.timers.clear()
    await line.emit(Emission(EXPIRE, delivery))
    await line.run("expire")
    assert line.events(delivery) == ["A.1", "C.1"]
    [timer] = line.database.timers
    assert (timer.due_at, timer.is_legal) == (CLOSES + timedelta(seconds=120), True)


async def test_a_living_intent_is_waited_for() -> None:
    """A decision taken in time is not lost to an expiry that came while the bridge was asked."""
    line = Line()
    delivery = await line.notified()
    await line.intend(delivery)
    line.at(CLOSES + timedelta(seconds=130))
    await line.run("expire")
    assert line.events(delivery) == ["A.1", "C.1"]
    for intent in line.database.tables.of(DecisionIntent, delivery):
        line.database.made_at[intent.id] -= INTENT_SECONDS
    line.later(seconds=61)
    await line.run("expire")
    assert line.events(delivery) == ["A.1", "C.1", "C.5"]


async def test_an_acceptance_ends_the_window_s_business() -> None:
    """C.5 never follows C.3, drafted or stamped: whoever drafts first under the lock has decided."""
    line = Line()
    delivery = await line.notified()
    await line.accept(delivery)
    line.at(CLOSES + timedelta(seconds=130))
    await line.run("expire")
    assert line.events(delivery) == ["A.1", "C.1", "C.3", "D.1"]
    assert not [t for t in line.database.timers if t.message.kind == EXPIRE]


async def test_no_window_ends_before_its_notice_was_proved() -> None:
    """Sixteen days without a token: nothing expires, and the fifteen days count from the proof."""
    line = Line()
    delivery = await line.submit()
    await line.run("ingest", "encrypt", *PROOF)
    await line.run("notify")
    line.at(CLOSES + timedelta(seconds=130))
    await line.run("expire")
    await line.emit(Emission(EXPIRE, delivery))
    await line.run("expire", *PROOF, "expire", *PROOF)
    assert (line.events(delivery), line.state(delivery)) == (["A.1", "C.1"], "notified")
    line.later(days=WINDOW_DAYS + 1)
    await line.run("expire", *PROOF)
    assert line.state(delivery) == "unclaimed"


async def test_expiring_twice_drafts_once() -> None:
    """Put back by an operator: nothing more happens."""
    line = Line()
    delivery = await line.notified()
    line.at(CLOSES + timedelta(days=1))
    [message] = await line.turn("expire")
    await line.again(message)
    await line.run("expire", *PROOF)
    assert line.events(delivery) == ["A.1", "C.1", "C.5"]
    assert not line.errors


async def accepted(line: Line) -> UUID:
    delivery = await line.notified()
    await line.accept(delivery)
    await line.run(*PROOF, "archive")
    assert line.state(delivery) == "accepted"
    return delivery


async def test_access_ends_uncollected_after_a_year() -> None:
    """E.2, once, when access ends without a complete handover."""
    line = Line()
    delivery = await accepted(line)
    line.later(days=365)
    await line.run("expire")
    assert "E.2" not in line.events(delivery)
    line.later(days=1)
    await line.run("expire", *PROOF, "archive")
    assert (line.state(delivery), line.events(delivery)[-1]) == ("uncollected", "E.2")
    assert line.nothing_left()


async def test_a_handover_that_is_being_sealed_ends_the_business_of_access() -> None:
    """Fetched in the last minute: E.1 is drafted and has no token yet, and no E.2 says that nobody came."""
    line = Line()
    delivery = await accepted(line)
    line.later(days=366)
    dossier = (await line.facts.dossiers([delivery]))[delivery]
    async with line.database.transaction() as tx:
        locked = (await tx.lock([delivery]))[delivery]
        who = identification(locked.legal_time)
        await tx.add([draft(locked.head, "E.1", dossier, identification=who, receipt=b"receipt")])
    await line.run("expire")
    assert line.events(delivery) == ["A.1", "C.1", "C.3", "D.1", "E.1"]
    assert (line.dead(), line.errors) == ([], [])


async def test_an_unknown_delivery_is_a_dead_letter() -> None:
    """An address without a row is for a person."""
    line = Line()
    await line.emit(Emission(EXPIRE, uuid4()))
    await line.turn("expire")
    assert line.dead() == ["no such delivery"]
