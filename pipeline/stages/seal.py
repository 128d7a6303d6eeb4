"""Seal drafted evidence with the provider's seal key.

Receives  draft: evidence whose canonical bytes are stored
Outside   one bridge call per batch; repeatable, the first committed seal wins
Commits   EvidenceSeal                Emits  sealed -> timestamp
Fails     Retry: bridge busy, away or its clock slow; database away. Bury: no such draft, or bridge denies these bytes
          Invariant: seal does not verify
Source    ETSI EN 319 132-1; docs/ARCHITECTURE.md, "Evidence"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Retry, Stage, Tx, Work
from pipeline.delivery.routes import DRAFT, SEALED
from pipeline.errors import Invariant
from pipeline.evidence.facts import EvidenceSeal
from pipeline.evidence.form.xades import SealInvalid, check_fresh_seal
from pipeline.ports.bridge import Bridge, wire
from pipeline.ports.rows import Facts, StoredDraft

EVENT_IN_FUTURE = "event_in_future"  # a clock that is wrong today; the bytes are right


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    facts: Facts
    bridge: Bridge[Literal["seal"]]


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[EvidenceSeal]]:
    """Have the stored bytes sealed, and check each seal before anyone relies on it."""
    drafts = await ports.facts.drafts([m.evidence for m in batch if m.evidence is not None])
    messages = [m for m in batch if m.evidence in drafts]
    items = [
        wire.SealEvidence(drafts[m.evidence].canonical, drafts[m.evidence].receipt) for m in messages if m.evidence
    ]
    answers = await ports.bridge.ask(items)
    outcomes: list[Outcome[EvidenceSeal]] = [Bury(m, "no such draft") for m in batch if m.evidence not in drafts]
    return outcomes + [judge(m, drafts[m.evidence], a) for m, a in zip(messages, answers, strict=True) if m.evidence]


def judge(message: Message, draft: StoredDraft, answer: wire.Sealed | wire.Denied) -> Outcome[EvidenceSeal]:
    """A seal that verifies, or the bridge's no."""
    if isinstance(answer, wire.Denied) and answer.code == EVENT_IN_FUTURE:
        return Retry(message, "the bridge's clock is behind the event")
    if isinstance(answer, wire.Denied):
        return Bury(message, f"seal denied: {answer.code}")
    if answer.key_id != draft.seal_key_id:
        raise Invariant(
            f"evidence {draft.evidence} was sealed with {answer.key_id}, its draft names {draft.seal_key_id}"
        )
    try:
        check_fresh_seal(draft.evidence, draft.event_time, draft.canonical, draft.certificate, answer.signature)
    except SealInvalid as error:
        raise Invariant(f"the seal of evidence {draft.evidence} does not verify") from error
    return Done(message, EvidenceSeal(draft.evidence, answer.signature, answer.key_id))


async def commit(tx: Tx, done: Sequence[Done[EvidenceSeal]]) -> list[Emission]:
    """A crash before it costs a second seal over the same bytes; the first committed one wins."""
    await tx.add([d.fact for d in done])
    return [Emission(SEALED, d.message.subject, d.message.evidence) for d in done]


STAGE = Stage("seal", Work(frozenset({DRAFT}), perform, commit))
