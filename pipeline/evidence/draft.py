"""Draft an evidence: from locked head and dossier to the bytes that will be sealed. Pure.

Owns the numbering of a delivery's evidences (sequence, predecessor digest) and what each kind must carry. Used in
three calls everywhere: heads = tx.lock(ids), draft(head, event, dossier), tx.add([draft]); for C.3 and D.1 in one
commit, D.1 is drafted on `head_after(head, c3)`. Whether an event may happen now is the caller's guard under the row
lock (`Head.drafted`); that an event is drafted twice is refused here and by the unique index.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from pipeline.evidence.content import EvidenceContent
from pipeline.evidence.dossier import (
    WITHDRAWN,
    Deposit,
    Dossier,
    Issuer,
    Part,
    Reason,
    RecipientParty,
    SenderParty,
)
from pipeline.evidence.facts import EvidenceDraft
from pipeline.evidence.form.xml import ValueRefused, one_line, render
from pipeline.formats.events import EVENTS, Event
from pipeline.formats.evidence_head import MODES, ORDINAL_MAX, evidence_id
from pipeline.formats.person import IdentifiedPerson


class DraftRefused(ValueError):
    """The caller asked for an evidence that must not exist; nothing was drafted."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a delivery's evidences stand, read under its row lock."""

    delivery: UUID
    state: str
    next_sequence: int  # the first evidence has 1
    predecessor_sha256: bytes | None
    legal_time: datetime  # read after the lock
    drafted: frozenset[str]


def draft(
    head: Head,
    event: str,
    dossier: Dossier,
    *,
    ordinal: int = 0,
    details: tuple[tuple[str, str], ...] = (),
    reason: Reason | None = None,
    identification: IdentifiedPerson | None = None,
    receipt: bytes | None = None,
    event_time: datetime | None = None,
) -> EvidenceDraft:
    """Raises DraftRefused for what the rules forbid, and its kin ValueRefused for a value that cannot be written.

    `event_time` is given when the event was fixed before the lock (a decision intent, the C.3 of a D.1).
    """
    if event not in EVENTS:
        raise DraftRefused(f"unknown event {event[:10]!r}")
    _check(EVENTS[event], head, dossier, ordinal, reason, identification, receipt)
    moment = _milliseconds(head.legal_time if event_time is None else event_time)
    content = EvidenceContent(
        evidence=evidence_id(head.delivery, event, ordinal),
        event=event,
        reason=reason,
        event_time=moment,
        issuer=dossier.issuer,
        sender=dossier.sender,
        recipient=dossier.recipient,
        submitted_at=_milliseconds(dossier.submitted_at),
        number=dossier.number,
        parts=dossier.parts,
        delivery=head.delivery,
        ordinal=ordinal,
        sequence=head.next_sequence,
        predecessor_sha256=head.predecessor_sha256,
        config_version=dossier.config_version,
        mode=dossier.mode,
        deposit=dossier.deposit,
        client_ref=dossier.client_ref,
        consent_ref=dossier.consent_ref,
        identification=_disclosed(identification, dossier.recipient),
        details=details,
    )
    canonical = render(content)
    return EvidenceDraft(
        evidence=content.evidence,
        delivery=head.delivery,
        event=event,
        ordinal=ordinal,
        sequence=head.next_sequence,
        event_time=moment,
        canonical=canonical,
        sha256=hashlib.sha256(canonical).digest(),
        seal_key_id=dossier.issuer.seal_key_id,
        receipt=receipt,
    )


def head_after(head: Head, drafted: EvidenceDraft) -> Head:
    """The head that the next evidence of the same commit is drafted on."""
    if drafted.delivery != head.delivery or drafted.sequence != head.next_sequence:
        raise DraftRefused("the draft was not made on this head")
    return replace(
        head,
        next_sequence=head.next_sequence + 1,
        predecessor_sha256=drafted.sha256,
        drafted=head.drafted | {drafted.event},
    )


def _check(
    event: Event,
    head: Head,
    dossier: Dossier,
    ordinal: int,
    reason: Reason | None,
    identification: IdentifiedPerson | None,
    receipt: bytes | None,
) -> None:
    first = event.answers == "deposit"
    if dossier.delivery != head.delivery:
        raise DraftRefused("the dossier is another delivery's")
    if not 0 <= ordinal <= ORDINAL_MAX or (ordinal == 0 and event.code in head.drafted):
        raise DraftRefused(f"{event.code} is already drafted")
    if dossier.mode not in MODES:
        raise DraftRefused("unknown mode")
    if head.next_sequence < 1 or (head.next_sequence == 1) != (head.predecessor_sha256 is None):
        raise DraftRefused("the first evidence, and only the first, has no predecessor")
    # CPCE R.53-2: every later proof repeats number, time and seal of the deposit.
    if first != (head.next_sequence == 1) or first != (dossier.deposit is None):
        raise DraftRefused(f"{event.code} with the wrong place or deposit")
    if event.needs_reason and reason is None:
        raise DraftRefused(f"{event.code} needs a reason")
    if event.by_recipient != (identification is not None) or event.by_recipient != (receipt is not None):
        raise DraftRefused(f"{event.code}: identification and receipt missing or not expected")


def _milliseconds(moment: datetime) -> datetime:
    """Rounded down, so that no evidence says an event was later than the clock that was read."""
    if moment.utcoffset() is None:
        raise DraftRefused("time without a time zone")
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _disclosed(identification: IdentifiedPerson | None, declared: RecipientParty) -> IdentifiedPerson | None:
    """A birth date that the sender did not declare stays out: evidences go to the sender. The digest binds it."""
    if identification is None:
        return None
    return replace(
        identification,
        birth_date=identification.birth_date if declared.birth_date is not None else None,
        authenticated_at=_milliseconds(identification.authenticated_at),
    )


__all__ = [
    "WITHDRAWN",
    "Deposit",
    "Dossier",
    "DraftRefused",
    "EvidenceDraft",
    "Head",
    "Issuer",
    "Part",
    "Reason",
    "RecipientParty",
    "SenderParty",
    "ValueRefused",
    "draft",
    "head_after",
    "one_line",
]
