"""The events of a delivery: one row each. What depends on an event alone is derived from its row.

Owns     code and name; who may draft it; whose act it records; whether it needs a reason; the lane of its evidence
Rules    a row is added, never changed: evidences of years ago are read by it
Elsewhere: its words (pipeline/evidence/events.py), the state that follows (pipeline/delivery/states.py), what it sets
         going (pipeline/delivery/routes.py). By hand, and held equal to this table by tests: the grants and the guards
         of the database, which are a second wall. Not equal but independent: the order that the verifier lets pass
         (pipeline/evidence/verification/chain.py)
Source   ETSI EN 319 522-1 clause 6: the events of a delivery inside one service
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

URI = "http://uri.etsi.org/19522/Event/"  # EN 319 522-3 Table 2

Act = Literal["accept", "refuse", "handover"]
Question = Literal["deposit", "decision", "handover"]
Lane = Literal["interactive", "bulk"]


@dataclass(frozen=True, slots=True)
class Event:
    """What an event is.

    name: of EN 319 522-3 Table 2. drafted_by: the kinds of process that may.
    answers: the question that it settles; a delivery has one event at most for each.
    act: the recipient's own, drafted with the identified person and sealed only against the bridge's receipt of it.
    needs_reason: EN 319 522-2 clause 8, a negative event says why. ends_choice: the recipient can decide no more.
    lane: None, that of the submission.
    """

    code: str
    name: str
    drafted_by: frozenset[str]
    answers: Question | None
    act: Act | None
    needs_reason: bool
    ends_choice: bool
    lane: Lane | None

    @property
    def uri(self) -> str:
        """As an evidence names it."""
        return URI + self.name

    @property
    def by_recipient(self) -> bool:
        """It needs the recipient's identification and a receipt."""
        return self.act is not None


def _event(
    code: str,
    name: str,
    *drafted_by: str,
    answers: Question | None = None,
    act: Act | None = None,
    needs_reason: bool = False,
    ends_choice: bool = False,
    lane: Lane | None = None,
) -> Event:
    return Event(code, name, frozenset(drafted_by), answers, act, needs_reason, ends_choice, lane)


_ROWS = (
    _event("A.1", "SubmissionAcceptance", "encrypt", answers="deposit"),
    _event("A.2", "SubmissionRejection", "ingest", "encrypt", answers="deposit", needs_reason=True),
    _event("C.1", "NotificationForAcceptance", "notify"),
    _event("C.2", "NotificationForAcceptanceFailure", "notify", needs_reason=True, ends_choice=True),
    _event(
        "C.3",
        "ConsignmentAcceptance",
        "gateway",
        answers="decision",
        act="accept",
        ends_choice=True,
        lane="interactive",
    ),
    _event(
        "C.4",
        "ConsignmentRejection",
        "gateway",
        answers="decision",
        act="refuse",
        ends_choice=True,
        lane="interactive",
    ),
    _event(
        "C.5",
        "AcceptanceRejectionExpiry",
        "expire",
        answers="decision",
        needs_reason=True,
        ends_choice=True,
        lane="bulk",
    ),
    _event("D.1", "ContentConsignment", "gateway", act="accept", lane="interactive"),
    _event("E.1", "ContentHandover", "gateway", answers="handover", act="handover", lane="interactive"),
    _event("E.2", "ContentHandoverFailure", "expire", answers="handover", needs_reason=True, lane="bulk"),
)
EVENTS = MappingProxyType({row.code: row for row in _ROWS})
CODE_OF_URI = MappingProxyType({row.uri: row.code for row in _ROWS})


def _answering(question: Question) -> frozenset[str]:
    return frozenset(row.code for row in _ROWS if row.answers == question)


DEPOSITS, DECISIONS, HANDOVERS = _answering("deposit"), _answering("decision"), _answering("handover")
BY_RECIPIENT = frozenset(row.code for row in _ROWS if row.by_recipient)
ENDING_CHOICE = frozenset(row.code for row in _ROWS if row.ends_choice)
