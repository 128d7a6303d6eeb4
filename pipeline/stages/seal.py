"""Seal drafted evidence with the provider's seal key.

Receives  draft: evidence whose canonical bytes are stored
Outside   one bridge call per batch; repeatable, the first committed seal wins
Commits   EvidenceSeal                Emits  sealed -> timestamp
Fails     Retry: bridge busy or away; database away. Waits for a clock: the bridge's is behind the event
          Bury: no such draft, row and bytes differ, or the bridge denies these bytes. Invariant: seal does not verify
Source    ETSI EN 319 132-1; docs/ARCHITECTURE.md, "Evidence"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Retry, Stage, Tx, Work
from pipeline.delivery.routes import DRAFT, SEALED
from pipeline.errors import Invariant
from pipeline.evidence.binding import RowDiffers, check_row, check_sealed
from pipeline.evidence.facts import EvidenceSeal
from pipeline.ports.bridge import Bridge, wire
from pipeline.ports.rows import Facts, StoredDraft


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    facts: Facts
    bridge: Bridge[Literal["seal"]]


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[EvidenceSeal]]:
    """Have the stored bytes sealed that say what their rows say, and check each seal before anyone relies on it."""
    drafts = await ports.facts.drafts([m.evidence for m in batch if m.evidence is not None])
    readings = [examine(m, None if m.evidence is None else drafts.get(m.evidence)) for m in batch]
    sound = [reading for reading in readings if not isinstance(reading, Bury)]
    answers = await ports.bridge.ask([wire.SealEvidence(draft.row.canonical, draft.receipt) for _, draft in sound])
    outcomes: list[Outcome[EvidenceSeal]] = [reading for reading in readings if isinstance(reading, Bury)]
    return outcomes + [judge(message, draft, a) for (message, draft), a in zip(sound, answers, strict=True)]


def examine(message: Message, draft: StoredDraft | None) -> tuple[Message, StoredDraft] | Bury:
    """The draft, when message, row and bytes are about one fact: what is sealed is read in the bytes, what is believed
    in the row."""
    if draft is None or draft.row.delivery != message.subject:
        return Bury(message, "no such draft of this delivery")
    try:
        check_row(draft.row)
    except RowDiffers as error:
        return Bury(message, f"not sealed: {error}")
    return message, draft


def judge(message: Message, draft: StoredDraft, answer: wire.Sealed | wire.Denied) -> Outcome[EvidenceSeal]:
    """A seal that verifies, or the bridge's no."""
    row = draft.row
    if isinstance(answer, wire.Denied) and answer.is_clock:
        return Retry.for_clock(message, "the bridge's clock is behind the event")
    if isinstance(answer, wire.Denied):
        return Bury(message, f"seal denied: {answer.code}")
    if answer.key_id != draft.seal_key_id:
        raise Invariant(f"evidence {row.evidence} was sealed with {answer.key_id}, its draft names {draft.seal_key_id}")
    try:
        check_sealed(row, answer.signature)
    except RowDiffers as error:
        raise Invariant(f"the seal of evidence {row.evidence} does not verify") from error
    return Done(message, EvidenceSeal(row.evidence, answer.signature, answer.key_id))


async def commit(tx: Tx, done: Sequence[Done[EvidenceSeal]]) -> list[Emission]:
    """A crash before it costs a second seal over the same bytes; the first committed one wins."""
    await tx.add([d.fact for d in done])
    return [Emission(SEALED, d.message.subject, d.message.evidence) for d in done]


STAGE = Stage("seal", Work(frozenset({DRAFT}), perform, commit))
