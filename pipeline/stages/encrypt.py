"""Verify stored content by reading it back, wrap its keys for the addressee, draft the proof of deposit.

Receives  checked: a delivery; its documents are uploads, each a content that the gateway encrypted on the way in
Outside   opens the content keys, wraps each content, derives the letters' wraps: one call each a batch; reads each
          upload once, and none that was read before; all repeatable
Commits   UploadWrap of each content read for a deposit, ContentWrap of the letter, draft A.1; or draft A.2: a content
          is not what was declared, or the consent does not stand
Emits     draft -> seal
Fails     Retry: bridge, store or database away; an object that cannot be read; no time left in this batch
          Bury: no such delivery; a document without a segment; the bridge refuses a key or a wrap for a reason that is
          not the content's
Source    docs/invariants.md, "The law is kept": a readable deposit before a proof of deposit
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Retry, Stage, Tx, Work
from pipeline.delivery.routes import CHECKED, DRAFT
from pipeline.deposits.examination import Finding, OwnFault, Refusal, WrappedDeposit, examine
from pipeline.deposits.read_back import EncryptBridge, NotNow
from pipeline.evidence.draft import WITHDRAWN, draft
from pipeline.formats.assurance import AssuranceLevel
from pipeline.ports.outside import Objects
from pipeline.ports.rows import Facts

PERFORM_SECONDS = 300.0  # two gigabytes of documents on a slow disk
BATCH_MAX = 100  # deliveries; their contents are read one after the other
READING_SECONDS = 60.0  # no content begins later: the last one has the rest. A batch that is cut has read for nothing


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside, and the assurance level that opening will demand."""

    facts: Facts
    bridge: EncryptBridge
    objects: Objects
    minimum_level: AssuranceLevel


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[WrappedDeposit | Refusal]]:
    """Have the letters' contents examined."""
    letters = await ports.facts.contents([m.subject for m in batch])
    findings = await examine([*letters.values()], ports.minimum_level, ports.bridge, ports.objects, READING_SECONDS)
    return [judge(m, findings.get(m.subject)) for m in batch]


def judge(message: Message, finding: Finding | None) -> Outcome[WrappedDeposit | Refusal]:
    """A deposit or a refusal, or why there is neither: not yet, or not before a person has looked."""
    if finding is None:
        return Bury(message, "no such delivery")
    if isinstance(finding, OwnFault):
        return Bury(message, finding.why)
    if isinstance(finding, NotNow):
        return Retry(message, finding.why, None if finding.counted else 0.0, counted=finding.counted)
    return Done(message, finding)


async def commit(tx: Tx, done: Sequence[Done[WrappedDeposit | Refusal]]) -> list[Emission]:
    """Wraps and drafts together. A crash before it repeats the reading; after it, the deposit's evidence will exist."""
    heads = await tx.lock([d.message.subject for d in done])
    deposits, drafts = [], []
    for d in done:
        locked = heads[d.message.subject]
        if locked.drafted:
            continue  # judged before: its message was dead and has been put back since
        if isinstance(d.fact, WrappedDeposit) and locked.consent_stands:
            deposits.append(d.fact)
            drafts.append(draft(locked.head, "A.1", d.fact.dossier))
        else:  # a consent withdrawn while the content was read is seen only here, under the lock
            reason = d.fact.reason if isinstance(d.fact, Refusal) else WITHDRAWN
            drafts.append(draft(locked.head, "A.2", d.fact.dossier, reason=reason))
    # In order, so that two batches of the same contents wait, and never for each other.
    contents = {wrap.upload: wrap for deposit in deposits for wrap in deposit.contents}
    await tx.add([*(contents[u] for u in sorted(contents)), *(deposit.wrap for deposit in deposits), *drafts])
    return [Emission(DRAFT, e.delivery, e.evidence) for e in drafts]


STAGE = Stage(
    "encrypt",
    Work(frozenset({CHECKED}), perform, commit),
    batch_max=BATCH_MAX,
    perform_seconds=PERFORM_SECONDS,
)
