"""Close what nobody decided: the acceptance window, and access to an accepted content.

Receives  expire: a window whose end, and the grace for decisions under way, have passed
          access_end: the last day of access has passed
Outside   reads only
Commits   draft C.5, or draft E.2                Emits  draft -> seal; or itself, later
Fails     Retry: database away
Source    CPCE R.53-3 III; docs/adr/0004-time-rules.md: timers are never cancelled, but checked again under the lock
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Stage, Tx, Work
from pipeline.delivery.deadlines import EXPIRY_GRACE_SECONDS, PARIS
from pipeline.delivery.routes import ACCESS_END, BULK, DRAFT, EXPIRE
from pipeline.delivery.states import ACCEPTED, NOTIFIED
from pipeline.evidence.dossier import Dossier, Reason
from pipeline.evidence.draft import draft
from pipeline.evidence.facts import EvidenceDraft
from pipeline.ports.mailbox import Locked
from pipeline.ports.rows import Facts

DECISIONS = frozenset({"C.2", "C.3", "C.4", "C.5"})  # after any of these a window is nobody's business any more
HANDOVERS = frozenset({"E.1", "E.2"})
AGAIN_SECONDS = 60.0  # of legal time, when something is still under way


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
    emissions = []
    for d in done:
        close = close_window if d.message.kind == EXPIRE else close_access
        emissions += await close(tx, heads[d.message.subject], d.fact)
    return emissions


async def close_window(tx: Tx, locked: Locked, dossier: Dossier) -> list[Emission]:
    """C.5, unless a decision exists. A decision under way, or a C.1 that is still being sealed, is waited for."""
    if locked.drafted & DECISIONS or locked.expires_at is None:
        return []
    due_at = locked.expires_at + timedelta(seconds=EXPIRY_GRACE_SECONDS)
    if locked.legal_time < due_at:
        return [Emission(EXPIRE, locked.delivery, at=due_at, lane=BULK)]
    if locked.intent_alive or locked.state != NOTIFIED:
        return [Emission(EXPIRE, locked.delivery, at=locked.legal_time + timedelta(seconds=AGAIN_SECONDS), lane=BULK)]
    reason = Reason("period_expired", "The recipient did not decide within fifteen days from the day after the notice.")
    last_day = (locked.expires_at.astimezone(PARIS) - timedelta(days=1)).date()
    details = (("last_day", last_day.isoformat()), ("expired_at", locked.expires_at.isoformat()))
    return await _add(tx, draft(locked.head, "C.5", dossier, reason=reason, details=details))


async def close_access(tx: Tx, locked: Locked, dossier: Dossier) -> list[Emission]:
    """E.2, once, when access ends without a complete handover."""
    if locked.drafted & HANDOVERS or locked.state != ACCEPTED:
        return []
    reason = Reason("access_ended", "Access ended before every document had been handed over completely.")
    return await _add(tx, draft(locked.head, "E.2", dossier, reason=reason))


async def _add(tx: Tx, drafted: EvidenceDraft) -> list[Emission]:
    await tx.add([drafted])
    return [Emission(DRAFT, drafted.delivery, drafted.evidence, lane=BULK)]


STAGE = Stage("expire", Work(frozenset({EXPIRE, ACCESS_END}), perform, commit))
