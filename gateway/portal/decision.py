"""Accept or refuse: the recipient's decision, in two transactions with the bridge between them.

Owns     the guard (may this letter be decided now?), the intent, the drafts of C.3 and D.1, or of C.4
Rules    transaction 1 fixes the time of the decision (docs/portal.md, "Deciding"): a decision taken in time is not
         lost to a slow bridge; transaction 2 drafts only while its intent lives, and C.5 is drafted only when none does
Crash    after transaction 1: the intent dies within 60 s, nothing was decided, the person may try again.
         After transaction 2: the drafts are in the outbox of `seal`; the person sees "recorded"
Elsewhere: the forms (acts.py), what the bridge asks before its receipt (hsm_bridge/operations/recipients.py), the
         end of the window (pipeline/stages/expire.py)
Source   ETSI EN 319 522-1 clause 6.2 (C.3, C.4), 6.3 (D.1); CPCE R.53-3
"""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from uuid import UUID

import anyio

from gateway.portal.ports import PortalPorts
from pipeline.delivery import states
from pipeline.delivery.deadlines import INTENT_SECONDS
from pipeline.delivery.facts import DecisionIntent
from pipeline.delivery.routes import DRAFT, Emission, lane_of
from pipeline.errors import ClockBehind, Transient
from pipeline.evidence.dossier import Dossier
from pipeline.evidence.draft import draft, head_after
from pipeline.evidence.facts import EvidenceDraft
from pipeline.formats.events import BY_RECIPIENT, DECISIONS, ENDING_CHOICE
from pipeline.formats.legal_texts import DecisionWords
from pipeline.formats.person import IdentifiedPerson
from pipeline.ports.bridge import wire
from pipeline.ports.mailbox import Locked
from pipeline.stores.letters import TicketHolder

ACCEPT = "accept"
REFUSE = "refuse"
BRIDGE_SECONDS = 10  # far below the 60 s that an intent lives


class DecisionOutcome(Enum):
    """What became of one submitted decision."""

    RECORDED = "recorded"
    ALREADY = "already"  # this or another decision stands; the page shows which
    IN_PROGRESS = "in_progress"
    CLOSED = "closed"
    NOT_RECORDED = "not_recorded"  # nothing was decided; try again
    IDENTIFY = "identify"  # the ticket is not good any more


async def decide(
    ports: PortalPorts, delivery: UUID, holder: TicketHolder, act: str, intent: UUID, words: DecisionWords
) -> DecisionOutcome:
    """The holder of the ticket decides. `intent` names the submitted form: the same form decides once. `words`: of the
    form."""
    dossier = await ports.portal.dossier(delivery)
    async with ports.portal.transaction() as tx:
        locked = (await tx.lock([delivery]))[delivery]
        if (no := objection(locked)) is not None:
            return no
        if await tx.intent_known(intent):
            return DecisionOutcome.NOT_RECORDED  # its bridge call failed earlier; a fresh form may try again
        decided_at = locked.legal_time
        await tx.add([DecisionIntent(intent, delivery, act, decided_at)])

    receipt = await _receipt(ports, wire.Decide(holder.ticket, delivery, act, intent, words.version, words.sha256))
    if not isinstance(receipt, wire.Decided):
        return receipt
    if abs((receipt.at - decided_at).total_seconds()) > INTENT_SECONDS:
        return (
            DecisionOutcome.NOT_RECORDED
        )  # the demo clock was moved meanwhile: the bridge would refuse to seal these drafts

    try:
        async with ports.portal.transaction() as tx:
            locked = (await tx.lock([delivery]))[delivery]
            if locked.state != states.NOTIFIED or locked.drafted & ENDING_CHOICE:
                return DecisionOutcome.ALREADY
            if not await tx.intent_lives(intent):
                return DecisionOutcome.NOT_RECORDED
            if not 0 <= (locked.legal_time - decided_at).total_seconds() <= INTENT_SECONDS:
                return DecisionOutcome.NOT_RECORDED  # a clock was moved: nothing is drafted at another time than now
            drafts = decision_drafts(locked, dossier, holder.person, act, receipt.receipt, decided_at)
            await tx.add(drafts)
            await tx.emit([Emission(DRAFT, delivery, d.evidence, lane=lane_of(d.event)) for d in drafts])
    except ClockBehind:
        return DecisionOutcome.NOT_RECORDED  # a clock was set back; in a moment it has passed
    return DecisionOutcome.RECORDED


def objection(locked: Locked) -> DecisionOutcome | None:
    """Why this letter cannot be decided now; None when it can. Read under the lock."""
    if locked.drafted & DECISIONS & BY_RECIPIENT:
        return DecisionOutcome.ALREADY
    if locked.state != states.NOTIFIED or "C.1" not in locked.stamped or locked.drafted & ENDING_CHOICE:
        return DecisionOutcome.CLOSED
    if locked.intent_alive:
        return DecisionOutcome.IN_PROGRESS
    if locked.expires_at is None or locked.legal_time >= locked.expires_at:
        return DecisionOutcome.CLOSED
    return None


def decision_drafts(
    locked: Locked, dossier: Dossier, who: IdentifiedPerson, act: str, receipt: bytes, decided_at: datetime
) -> Sequence[EvidenceDraft]:
    """C.3 with D.1 behind it (that pair is the proof of receipt), or C.4."""
    if act == REFUSE:
        return [
            draft(locked.head, "C.4", dossier, identification=who, receipt=receipt, event_time=decided_at),
        ]
    accepted = draft(locked.head, "C.3", dossier, identification=who, receipt=receipt, event_time=decided_at)
    head = head_after(locked.head, accepted)
    consigned = draft(head, "D.1", dossier, identification=who, receipt=receipt, event_time=decided_at)
    return [accepted, consigned]


async def _receipt(ports: PortalPorts, item: wire.Decide) -> wire.Decided | DecisionOutcome:
    """The bridge's receipt. An answer that was lost is harmless: without drafts, nothing was decided."""
    try:
        with anyio.fail_after(BRIDGE_SECONDS):
            [answer] = await ports.bridge.ask([item])
    except (Transient, TimeoutError):
        return DecisionOutcome.NOT_RECORDED
    return DecisionOutcome.IDENTIFY if isinstance(answer, wire.Denied) else answer
