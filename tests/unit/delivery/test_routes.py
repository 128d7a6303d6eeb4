"""Who receives what, and what a stamped event sets going."""

from pipeline.delivery import routes
from pipeline.delivery.routes import (
    AFTER,
    BULK,
    INTERACTIVE,
    LEGAL_KINDS,
    PRESERVE,
    RECEIVER,
    lane_of,
)
from pipeline.delivery.states import FINAL, TRANSITIONS
from pipeline.formats.events import BY_RECIPIENT, EVENTS
from pipeline.stages import archive, encrypt, expire, ingest, notify, seal, timestamp, webhook

STAGES = {m.STAGE.name: m.STAGE for m in (ingest, encrypt, seal, timestamp, notify, expire, archive, webhook)}


def test_every_kind_is_received_by_the_stage_that_understands_it() -> None:
    """No message is sent to a stage that would put it back as unknown, and no stage waits for what nobody sends."""
    for name, stage in STAGES.items():
        assert stage.work.receives == {kind for kind, receiver in RECEIVER.items() if receiver == name}
    assert tuple(STAGES) == routes.STAGES


def test_every_event_says_what_follows() -> None:
    """A newly stamped event is never unknown to the routes, and what follows has a receiver."""
    assert set(AFTER) == set(EVENTS)
    assert {kind for kinds in AFTER.values() for kind in kinds} <= set(RECEIVER)


def test_every_final_state_is_preserved() -> None:
    """Whatever ends a delivery, its proofs go into a package."""
    last = {event for (_, events), after in TRANSITIONS.items() if after in FINAL for event in events}
    assert all(PRESERVE in AFTER[event] for event in last)


def test_only_deadlines_of_the_law_follow_its_clock() -> None:
    """Retries follow the real clock; a jump of the law's clock must not hurry them."""
    assert {RECEIVER[kind] for kind in LEGAL_KINDS} == {"expire"}


def test_a_waiting_person_s_events_are_interactive() -> None:
    """A decision and its consignment overtake a backlog; a deadline's evidence does not."""
    assert {lane_of(e) for e in BY_RECIPIENT} == {INTERACTIVE}
    assert {lane_of("C.5"), lane_of("E.2")} == {BULK}
    assert {lane_of(e) for e in EVENTS} == {INTERACTIVE, BULK, None}
    assert not INTERACTIVE % 2 and not BULK % 2  # the alone bit is nobody's to give
