"""The states of a delivery, as a function of its stamped events.

Owns the one table of transitions. A state is derived from evidence that carries its time-stamp token, over the
contiguous prefix of the delivery's sequence, and advanced in `timestamp`'s commit and nowhere else; so a sender never
sees a state that a court could not. The table stands again in the database (qerds.transition), where a trigger guards
it; tests/db/test_states.py keeps the two equal.

Elsewhere: who emits what next (routes.py), what a page makes of a state (gateway/pages/standing.py), the verifier's own
order of events (pipeline/evidence/verification/chain.py)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

SUBMITTED = "submitted"
DEPOSITED = "deposited"
REJECTED = "rejected"
NOTIFIED = "notified"
NOTICE_FAILED = "notice_failed"
ACCEPTED = "accepted"
REFUSED = "refused"
UNCLAIMED = "unclaimed"
RECEIVED = "received"
UNCOLLECTED = "uncollected"

# (state, events that must all be stamped) -> next state. `accepted` needs both: C.3 says the person accepted, D.1 that
# the content was made available; one without the other proves no receipt.
TRANSITIONS: dict[tuple[str, frozenset[str]], str] = {
    (SUBMITTED, frozenset({"A.1"})): DEPOSITED,
    (SUBMITTED, frozenset({"A.2"})): REJECTED,
    (DEPOSITED, frozenset({"C.1"})): NOTIFIED,
    (DEPOSITED, frozenset({"C.2"})): NOTICE_FAILED,
    (NOTIFIED, frozenset({"C.3", "D.1"})): ACCEPTED,
    (NOTIFIED, frozenset({"C.4"})): REFUSED,
    (NOTIFIED, frozenset({"C.5"})): UNCLAIMED,
    (NOTIFIED, frozenset({"C.2"})): NOTICE_FAILED,
    (ACCEPTED, frozenset({"E.1"})): RECEIVED,
    (ACCEPTED, frozenset({"E.2"})): UNCOLLECTED,
}
FINAL = frozenset({REJECTED, NOTICE_FAILED, REFUSED, UNCLAIMED, RECEIVED, UNCOLLECTED})
STATES = frozenset({SUBMITTED, DEPOSITED, NOTIFIED, ACCEPTED}) | FINAL


@dataclass(frozen=True, slots=True)
class EvidenceStanding:
    """One evidence of a delivery as `advance` sees it: its place, what it says happened when, and since when that is
    proved (the time in its token; None, there is no token yet)."""

    sequence: int
    event: str
    ordinal: int
    event_time: datetime
    proved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Advance:
    """What a longer stamped prefix means: the new state, the new length, and the evidences that became part of it."""

    state: str
    stamped_through: int
    reached: tuple[EvidenceStanding, ...]


def advance(state: str, stamped_through: int, evidences: Sequence[EvidenceStanding]) -> Advance:
    """Extend the contiguous stamped prefix as far as it goes, and the state with it.

    `evidences` are all of the delivery's, in any order. An evidence stamped before its predecessor waits: the state
    may not skip over an event that has no token yet.
    """
    by_sequence = {e.sequence: e for e in evidences}
    events = {e.event for e in evidences if e.sequence <= stamped_through}
    reached = []
    while (e := by_sequence.get(stamped_through + 1)) is not None and e.proved_at is not None:
        stamped_through += 1
        events.add(e.event)
        reached.append(e)
        state = _step(state, events)
    return Advance(state, stamped_through, tuple(reached))


def _step(state: str, events: set[str]) -> str:
    for (before, needed), after in TRANSITIONS.items():
        if before == state and needed <= events:
            return after
    return state
