"""Verify stored content by reading it back, wrap its keys for the addressee, draft the proof of deposit.

Receives  checked: a delivery whose content the gateway encrypted on the way in
Outside   opens the content keys, wraps each content, derives the letters' wraps: one call each a batch; reads each
          upload once, and none that was read before; all repeatable
Commits   UploadWrap of what was read now, ContentWrap and draft A.1; or draft A.2: it is not what was declared
Emits     draft -> seal
Fails     Retry: bridge, store or database away; an object that cannot be read; no time left in this batch
          Bury: the bridge refuses a key or a wrap for a reason that is not the content's
Source    docs/invariants.md, "The law is kept": a readable deposit before a proof of deposit
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Retry, Stage, Tx, Work
from pipeline.delivery.facts import ContentWrap, UploadWrap
from pipeline.delivery.routes import CHECKED, DRAFT
from pipeline.deposits.read_back import KeyLost, NotNow, Sound, Unsound, Upload, Verdict, read_back
from pipeline.deposits.wrapping import derive_wraps, wrap_contents
from pipeline.evidence.dossier import Dossier, Reason
from pipeline.evidence.draft import draft
from pipeline.formats.context import Level
from pipeline.ports.bridge import Bridge, wire
from pipeline.ports.outside import Objects
from pipeline.ports.rows import Content, Facts

PERFORM_SECONDS = 300.0  # two gigabytes of documents on a slow disk
BATCH_MAX = 100  # deliveries; their contents are read one after the other
READING_SECONDS = 60.0  # no content begins later in a batch: the last one has the rest, and none is read for nothing
WITHHELD = frozenset({"withdrawn", "unknown"})  # consents under which nothing is read
WITHDRAWN = Reason("consent_withdrawn", "The recipient's consent was withdrawn before the deposit.")


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside, and the assurance level that opening will demand."""

    facts: Facts
    bridge: Bridge[Literal["encrypt"]]
    objects: Objects
    minimum_level: Level


@dataclass(frozen=True, slots=True)
class Deposit:
    """Contents found as declared, wrapped for this addressee. contents: wraps made now, for later letters too."""

    dossier: Dossier
    wrap: ContentWrap
    contents: tuple[UploadWrap, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A content that is not what was declared, or may not be sent any more."""

    dossier: Dossier
    reason: Reason


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[Deposit | Refusal]]:
    """Read what nobody has read, wrap it, derive the wrap of every letter whose contents hold."""
    contents = await ports.facts.contents([m.subject for m in batch])
    uploads = unread(contents.values())
    verdicts = await read_back(uploads, ports.bridge, ports.objects, READING_SECONDS)
    sound = {u: (uploads[u], v) for u, v in verdicts.items() if isinstance(v, Sound)}
    made = await wrap_contents(sound, ports.bridge)
    outcomes: list[Outcome[Deposit | Refusal]] = [
        Bury(m, "no such delivery") for m in batch if m.subject not in contents
    ]
    letters: list[tuple[Message, Content, dict[UUID, UploadWrap]]] = []
    for m in batch:
        if (content := contents.get(m.subject)) is None:
            continue
        if outcome := judge(m, content, verdicts, made):
            outcomes.append(outcome)
        else:
            new = {u: w for u in content.uploads.values() if isinstance(w := made.get(u), UploadWrap)}
            letters.append((m, completed(content, new), new))
    answers = await derive_wraps([c for _, c, _ in letters], ports.minimum_level, ports.bridge)
    for (m, content, new), wrap in zip(letters, answers, strict=True):
        if isinstance(wrap, wire.Denied):
            outcomes.append(Bury(m, f"wrap denied: {wrap.code}"))
        else:
            outcomes.append(Done(m, Deposit(content.dossier, wrap, tuple(new.values()))))
    return outcomes


def unread(contents: Iterable[Content]) -> dict[UUID, Upload]:
    """The uploads that nobody has read, each once. A letter without consent is not worth the reading."""
    found: dict[UUID, Upload] = {}
    for content in contents:
        if content.consent in WITHHELD:
            continue
        for part in content.dossier.parts:
            own = tuple(s for s in content.segments if s.part == part.number)
            if own and own[0].upload not in content.wraps and own[0].upload not in found:
                found[own[0].upload] = Upload(part, own)
    return found


def judge(
    message: Message,
    content: Content,
    verdicts: Mapping[UUID, Verdict],
    made: Mapping[UUID, UploadWrap | wire.Denied],
) -> Outcome[Refusal] | None:
    """None when every document is, byte for byte, what the sender declared. A fault of ours rejects no letter."""
    if content.consent in WITHHELD:
        return Done(message, Refusal(content.dossier, WITHDRAWN))
    reason: Reason | None = None
    later: NotNow | None = None
    for part, declared in zip(content.dossier.parts, content.declared_sha256, strict=True):
        upload = content.uploads.get(part.number)
        if upload is None:
            return Bury(message, f"document {part.number} has no segment")
        verdict, wrap = verdicts.get(upload), made.get(upload)
        if isinstance(verdict, KeyLost):
            return Bury(message, f"intake denied: {verdict.code}")
        if isinstance(wrap, wire.Denied):
            return Bury(message, f"wrap denied: {wrap.code}")
        if isinstance(verdict, NotNow):
            later = later or verdict
        elif isinstance(verdict, Unsound):
            reason = reason or Reason(verdict.code, f"Document {part.number}: {verdict.text}.")
        elif declared != part.sha256:
            text = f"Document {part.number}: the stored content has another digest."
            reason = reason or Reason("digest_mismatch", text)
    if reason is not None:
        return Done(message, Refusal(content.dossier, reason))
    if later is not None:
        return Retry(message, later.why, None if later.counted else 0.0, counted=later.counted)
    return None


def completed(content: Content, new: Mapping[UUID, UploadWrap]) -> Content:
    """With all its wraps, and the second digest of what arrived in parts: it is known since it was read."""
    wraps = {**content.wraps, **new}
    parts = tuple(replace(p, sha3_256=wraps[content.uploads[p.number]].sha3_256) for p in content.dossier.parts)
    return replace(content, dossier=replace(content.dossier, parts=parts), wraps=wraps)


async def commit(tx: Tx, done: Sequence[Done[Deposit | Refusal]]) -> list[Emission]:
    """Wraps and drafts together. A crash before it repeats the reading; after it, the deposit's evidence will exist."""
    heads = await tx.lock([d.message.subject for d in done])
    contents: dict[UUID, UploadWrap] = {}
    wraps, drafts = [], []
    for d in done:
        locked = heads[d.message.subject]
        if locked.drafted:
            continue  # judged before: a dead letter that was put back
        if isinstance(d.fact, Deposit) and locked.consent_stands:
            contents |= {w.upload: w for w in d.fact.contents}
            wraps.append(d.fact.wrap)
            drafts.append(draft(locked.head, "A.1", d.fact.dossier))
        else:  # a consent withdrawn while the content was read is seen only here, under the lock
            reason = d.fact.reason if isinstance(d.fact, Refusal) else WITHDRAWN
            drafts.append(draft(locked.head, "A.2", d.fact.dossier, reason=reason))
    # In order, so that two batches of the same contents wait, and never for each other.
    await tx.add([*sorted(contents.values(), key=lambda w: w.upload), *wraps, *drafts])
    return [Emission(DRAFT, e.delivery, e.evidence) for e in drafts]


STAGE = Stage(
    "encrypt",
    Work(frozenset({CHECKED}), perform, commit),
    batch_max=BATCH_MAX,
    perform_seconds=PERFORM_SECONDS,
)
