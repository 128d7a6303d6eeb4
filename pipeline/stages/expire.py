"""Close what nobody decided: the acceptance window, and access to an accepted content.

Receives  expire: a window whose end, and the grace for decisions under way, have passed
          access_end: the last day of access has passed
Outside   reads only
Commits   draft C.5, or draft E.2                Emits  draft -> seal; or itself, later
Fails     Retry: database away. Bury: no such delivery
Source    CPCE R.53-3 III; docs/adr/0004-time-rules.md: timers are never cancelled, but checked again under the lock
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Stage, Tx, Work
from pipeline.delivery import deadlines
from pipeline.delivery.routes import ACCESS_END, BULK, DRAFT, EXPIRE
from pipeline.delivery.states import ACCEPTED, NOTIFIED
from pipeline.evidence.draft import Dossier, EvidenceDraft, Reason, draft
from pipeline.formats.events import ENDING_CHOICE, HANDOVERS
from pipeline.ports.mailbox import Locked
from pipeline.ports.rows import Facts


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    facts: Facts


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[Dossier]]:
    """Read what the evidence will say."""
    dossiers = await ports.facts.dossiers([m.subject for m in batch])
    return [Done(m, dossiers[m.subject]) if m.subject in dossiers else Bury(m, "no such delivery") for m in batch]


async def commit(tx: Tx, done: Sequence[Done[Dossier]]) -> list[Emission]:
    """One row lock decides between acceptance and expiry: whoever drafts first under it has decided."""
    heads = await tx.lock([d.message.subject for d in done])
    closings = [close(d.message.kind, heads[d.message.subject], d.fact) for d in done]
    await tx.add([c for c in closings if isinstance(c, EvidenceDraft)])
    return [
        Emission(DRAFT, c.delivery, c.evidence, lane=BULK) if isinstance(c, EvidenceDraft) else c
        for c in closings
        if c is not None
    ]


def close(kind: str, locked: Locked, dossier: Dossier) -> EvidenceDraft | Emission | None:
    """What proves the end, a later look, or nothing: it has ended."""
    return close_window(locked, dossier) if kind == EXPIRE else close_access(locked, dossier)


def close_window(locked: Locked, dossier: Dossier) -> EvidenceDraft | Emission | None:
    """C.5, unless a decision exists. A decision under way, or a C.1 that is still being sealed, is waited for."""
    if locked.drafted & ENDING_CHOICE or locked.expires_at is None:
        return None
    due_at = deadlines.expiry_due_at(locked.expires_at)
    if locked.legal_time < due_at:
        return Emission(EXPIRE, locked.delivery, at=due_at, lane=BULK)
    if locked.intent_alive or locked.state != NOTIFIED:
        return Emission(EXPIRE, locked.delivery, at=deadlines.expiry_again_at(locked.legal_time), lane=BULK)
    reason = Reason("period_expired", "The recipient did not decide within fifteen days from the day after the notice.")
    last_day = deadlines.last_day_before(locked.expires_at)
    details = (("last_day", last_day.isoformat()), ("expired_at", locked.expires_at.isoformat()))
    return draft(locked.head, "C.5", dossier, reason=reason, details=details)


def close_access(locked: Locked, dossier: Dossier) -> EvidenceDraft | None:
    """E.2, once, when access ends without a complete handover."""
    if locked.drafted & HANDOVERS or locked.state != ACCEPTED:
        return None
    reason = Reason("access_ended", "Access ended before every document had been handed over completely.")
    return draft(locked.head, "E.2", dossier, reason=reason)


STAGE = Stage("expire", Work(frozenset({EXPIRE, ACCESS_END}), perform, commit))
