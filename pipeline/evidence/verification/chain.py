"""What must hold between the evidences of one delivery: numbering, order, and one story told by all.

Owns the order in which events can happen. A missing, repeated, reordered or foreign evidence shows here even when
each one alone is perfectly sealed. The state a sender sees is `pipeline.delivery`'s; this table only judges order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from pipeline.evidence.content import EvidenceContent
from pipeline.evidence.time_stamp import CheckedTimeStamp
from pipeline.evidence.verification.case import Case, ReadEvidence, Values
from pipeline.evidence.verification.report import CheckFailed

# The event before -> the events that may follow. A.1 or A.2 begins; C.3 and D.1 are one act in two evidences.
# Written here and derived from nothing, like the window of days below: the verifier judges what the service did, so a
# slip in the service's own tables (formats/events, delivery/states, delivery/deadlines) must not pass both walls.
FOLLOWS = MappingProxyType(
    {
        None: frozenset({"A.1", "A.2"}),
        "A.1": frozenset({"C.1", "C.2"}),
        "A.2": frozenset(),
        "C.1": frozenset({"C.2", "C.3", "C.4", "C.5"}),
        "C.2": frozenset(),
        "C.3": frozenset({"D.1"}),
        "C.4": frozenset(),
        "C.5": frozenset(),
        "D.1": frozenset({"E.1", "E.2"}),
        "E.1": frozenset(),
        "E.2": frozenset(),
    }
)
WINDOW_DAYS = 15  # CPCE R.53-3 I: days counted from the day after the notice was sent


def sequence(case: Case) -> Values:
    """Check 7 (EN 319 522-3, TransactionLogInformation): 1, 2, 3 without a hole, each naming the one before."""
    before: bytes | None = None
    for expected, evidence in enumerate(case.evidences, start=1):
        if evidence.content.sequence != expected:
            raise CheckFailed(f"number {evidence.content.sequence} stands in place {expected}", evidence.subject)
        if evidence.content.predecessor_sha256 != before:
            raise CheckFailed("it does not follow the evidence before it", evidence.subject)
        before = evidence.canonical_sha256
    return {"count": len(case.evidences)}


def story(case: Case) -> Values:
    """Check 8 (EN 319 522-1 clause 6, CPCE R.53-3): an order that can happen, times that do not run back."""
    before: ReadEvidence | None = None
    noticed_at: datetime | None = None
    for evidence, stamp in zip(case.evidences, case.stamps, strict=True):
        content = evidence.content
        if content.event not in FOLLOWS[before.content.event if before else None]:
            raise CheckFailed(f"{content.event} cannot happen here", evidence.subject)
        if before is not None and content.event_time < before.content.event_time:
            raise CheckFailed("it happened before the event that it follows", evidence.subject)
        if content.event == "D.1" and before is not None and content.event_time != before.content.event_time:
            raise CheckFailed("acceptance and making available are one act at one time", evidence.subject)
        if content.event == "C.5" and noticed_at is not None and content.event_time < _window_end(noticed_at):
            raise CheckFailed("the period had not ended", evidence.subject)
        if content.event == "C.1":
            noticed_at = max(content.event_time, stamp.gen_time)  # a notice that nobody can prove yet ends no period
        before = evidence
    return {"events": ", ".join(e.content.event for e in case.evidences)}


def _window_end(noticed_at: datetime) -> datetime:
    """Paris midnight after the last day, counted from the day since which the notice is proved."""
    paris = ZoneInfo("Europe/Paris")  # not read at import: without data of time zones, all else can be verified
    day = noticed_at.astimezone(paris).date() + timedelta(days=WINDOW_DAYS + 1)
    return datetime.combine(day, time(), tzinfo=paris)


def one_delivery(case: Case) -> Values:
    """Check 9 (CPCE R.53-2): all evidences and the package speak of one letter, sender, person, deposit and service."""
    snapshot, first = case.snapshot, case.evidences[0].content
    if (first.delivery, first.number, first.mode) != (snapshot.delivery, snapshot.number, snapshot.mode):
        raise CheckFailed("the package describes another letter", "package.json")
    for evidence in case.evidences[1:]:
        if other := told_differently(first, evidence.content):
            raise CheckFailed(f"it speaks of another letter: {', '.join(other)}", evidence.subject)
        if first.event == "A.1":
            _deposit(evidence, case.evidences[0], case.stamps[0])
    _one_person(case.evidences)
    return {"number": snapshot.number}


# What every evidence of one letter says alike. Not the key and its certificate, nor the policy and the version of the
# configuration: those may be renewed while a letter lives.
ALIKE: MappingProxyType[str, Callable[[EvidenceContent], object]] = MappingProxyType(
    {
        "delivery": lambda c: c.delivery,
        "number": lambda c: c.number,
        "mode": lambda c: c.mode,
        "issuer": lambda c: (c.issuer.name, c.issuer.country),
        "sender": lambda c: c.sender,
        "recipient": lambda c: c.recipient,
        "documents": lambda c: c.parts,
        "submission time": lambda c: c.submitted_at,
        "client reference": lambda c: c.client_ref,
        "consent": lambda c: c.consent_ref,
    }
)


def told_differently(first: EvidenceContent, other: EvidenceContent) -> list[str]:
    """Names of what two evidences of one letter may not say differently, and do. The ledger asks too."""
    return [name for name, value_in in ALIKE.items() if value_in(first) != value_in(other)]


def _deposit(evidence: ReadEvidence, first: ReadEvidence, stamp: CheckedTimeStamp) -> None:
    """CPCE R.53-2: each later proof repeats the deposit; it must be the deposit that is in this package."""
    deposit = evidence.content.deposit
    if deposit is None:
        raise CheckFailed("it does not name the deposit", evidence.subject)
    seal_sha256 = hashlib.sha256(first.seal.signature).digest()
    named = (deposit.evidence, deposit.sha256, deposit.seal_signature_sha256)
    if named != (first.content.evidence, first.canonical_sha256, seal_sha256):
        raise CheckFailed("it names another deposit", evidence.subject)
    earliest = min(first.content.event_time, stamp.gen_time)
    latest = max(first.content.event_time, stamp.gen_time)
    if deposit.deposited_at < earliest or deposit.deposited_at - latest > stamp.accuracy:
        raise CheckFailed("it gives another time of deposit", evidence.subject)


def _one_person(evidences: Sequence[ReadEvidence]) -> None:
    persons = {e.content.identification.person_sha256 for e in evidences if e.content.identification is not None}
    if len(persons) > 1:
        raise CheckFailed("the recipient's acts are not all by the same person", evidences[-1].subject)
