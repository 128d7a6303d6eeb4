"""Verify the stored content by reading it back, wrap its keys for the addressee, draft the proof of deposit.

Receives  checked: a delivery whose content the gateway encrypted on the way in
Outside   opens the content keys and wraps them at the bridge, one call each a batch; reads the objects; all repeatable
Commits   ContentWrap and draft A.1, or draft A.2 when the content is not what was declared
Emits     draft -> seal
Fails     Retry: bridge, store or database away; an object that cannot be read; no time left in this batch
          Bury: the bridge cannot open a key for a reason that is not the content's
Source    rules "Content": a readable deposit before a proof of deposit
"""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import anyio

from pipeline.actors.contract import Bury, Done, Outcome, Retry, Stage
from pipeline.content.envelope import ContentInvalid, Decryptor, associated_data
from pipeline.content.types import TypeCheck, TypeMismatch
from pipeline.delivery.facts import ContentWrap
from pipeline.delivery.routes import CHECKED, DRAFT, Emission
from pipeline.errors import Transient
from pipeline.evidence.dossier import Dossier, Reason
from pipeline.evidence.draft import draft
from pipeline.formats.context import AddresseeRecord, Level, WrapContext, intake_info, wrap_context
from pipeline.ports import Content, Denied, EncryptBridge, Facts, IntakeItem, Message, Objects, Segment, Tx, WrapItem

PERFORM_SECONDS = 300.0  # two gigabytes of documents on a slow disk
BATCH_MAX = 20  # deliveries; their contents are read one after the other
READING_SECONDS = 60.0  # no content begins later in a batch: the last one has the rest, and none is read for nothing
WITHDRAWN = Reason("consent_withdrawn", "The recipient's consent was withdrawn before the deposit.")
INTAKE_INVALID = "intake_invalid"  # the bridge's only no that is about the sealed key itself


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside, and the assurance level that opening will demand."""

    facts: Facts
    bridge: EncryptBridge
    objects: Objects
    minimum_level: Level


@dataclass(frozen=True, slots=True)
class Deposit:
    """A content found as declared; its keys wrapped."""

    dossier: Dossier
    wrap: ContentWrap


@dataclass(frozen=True, slots=True)
class Refusal:
    """A content that is not what was declared, or may not be sent any more."""

    dossier: Dossier
    reason: Reason


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome]:
    """Open the keys of all, read each content, wrap the keys of those that hold."""
    contents = await ports.facts.contents([m.delivery for m in batch])
    known = [m for m in batch if m.delivery in contents]
    keys = await _content_keys([contents[m.delivery] for m in known], ports.bridge)
    verified: list[tuple[Message, bytes]] = []
    outcomes: list[Outcome] = [Bury(m, "no such delivery") for m in batch if m.delivery not in contents]
    until = anyio.current_time() + READING_SECONDS
    for m, opened in zip(known, keys, strict=True):
        content = contents[m.delivery]
        if early := _early(m, opened, anyio.current_time() > until):
            outcomes.append(early)
            continue
        try:
            reason = await _refusal(content, opened, ports.objects)
        except Transient as error:  # this content's object, not the store: its batch-mates go on
            outcomes.append(Retry(m, str(error)))
            continue
        if reason is not None:
            outcomes.append(Done(m, Refusal(content.dossier, reason)))
        else:
            verified.append((m, b"".join(key for key in opened if isinstance(key, bytes))))
    items = [WrapItem(context_of(contents[m.delivery].dossier, ports.minimum_level), keys) for m, keys in verified]
    answers = await ports.bridge.wrap(items) if items else []
    for (m, _), item, answer in zip(verified, items, answers, strict=True):
        if isinstance(answer, Denied):
            outcomes.append(Bury(m, f"wrap denied: {answer.code}"))
        else:
            wrap = ContentWrap(m.delivery, answer.key_id, item.context, answer.wrapped)
            outcomes.append(Done(m, Deposit(contents[m.delivery].dossier, wrap)))
    return outcomes


async def _content_keys(contents: Sequence[Content], bridge: EncryptBridge) -> list[list[bytes | Denied]]:
    """The segment keys of each content, in order, in one call for all."""
    items = [IntakeItem(s.intake_key_id, _info(s), s.sealed_key) for c in contents for s in c.segments]
    answers = iter(await bridge.open_intake(items) if items else [])
    return [[next(answers) for _ in c.segments] for c in contents]


def _early(message: Message, keys: Sequence[bytes | Denied], is_late: bool) -> Outcome | None:
    """What is clear without reading. A key that the bridge lost is our fault: no sender is sent a rejection for it."""
    for key in keys:
        if isinstance(key, Denied) and key.code != INTAKE_INVALID:
            return Bury(message, f"intake denied: {key.code}")
    return Retry(message, "other contents took the time", 0.0, counted=False) if is_late else None


async def _refusal(content: Content, keys: Sequence[bytes | Denied], objects: Objects) -> Reason | None:
    """None when every document is, byte for byte, what the sender declared. Nothing decrypted is kept."""
    if content.consent in ("withdrawn", "unknown"):
        return WITHDRAWN
    for part, declared in zip(content.dossier.parts, content.declared_sha256, strict=True):
        own = [(s, k) for s, k in zip(content.segments, keys, strict=True) if s.part == part.number]
        sha256, sha3_256, check = hashlib.sha256(), hashlib.sha3_256(), TypeCheck(part.content_type)
        length = 0
        try:
            for segment, key in own:
                if isinstance(key, Denied):
                    return Reason("digest_mismatch", f"Document {part.number}: its key does not open.")
                async with aclosing(_plain(segment, key, objects)) as stream:
                    async for plain in stream:
                        sha256.update(plain)
                        sha3_256.update(plain)
                        check.update(plain)
                        length += len(plain)
            check.finish()
        except ContentInvalid:
            return Reason("digest_mismatch", f"Document {part.number}: the stored content does not decrypt.")
        except TypeMismatch as error:
            return Reason("type_mismatch", f"Document {part.number}: {error}.")
        if (length, sha256.digest(), sha3_256.digest()) != (
            part.bytes,
            part.sha256,
            part.sha3_256,
        ) or declared != part.sha256:
            return Reason("digest_mismatch", f"Document {part.number}: the stored content has another digest.")
    return None


async def _plain(segment: Segment, key: bytes, objects: Objects) -> AsyncGenerator[bytes, None]:
    decryptor = Decryptor(key, associated_data(segment.object))
    async with aclosing(objects.read(segment.object)) as stream:
        async for sealed in stream:
            yield decryptor.update(sealed)
    yield decryptor.finish()


def _info(segment: Segment) -> bytes:
    return intake_info(
        segment.sender, segment.upload, segment.segment, segment.object, segment.content_format, segment.plain_bytes
    )


def context_of(dossier: Dossier, minimum_level: Level) -> bytes:
    """Context v1 of a wrap: it authenticates contents and addressee when the bridge opens it again."""
    who = dossier.recipient
    record = AddresseeRecord(
        kind="consumer" if who.kind == "consumer" else "professional",
        given_names=who.given_names,
        birth_name=who.birth_name,
        usage_name=who.usage_name,
        birth_date=who.birth_date,
    )
    parts = tuple((p.sha256, p.sha3_256, p.bytes) for p in dossier.parts)
    return wrap_context(WrapContext(dossier.delivery, parts, record, minimum_level))


async def commit(tx: Tx, done: Sequence[Done]) -> list[Emission]:
    """Wrap and draft together. A crash before it repeats the reading; after it, the deposit's evidence will exist."""
    heads = await tx.lock([d.message.delivery for d in done])
    emissions = []
    for d in done:
        locked = heads[d.message.delivery]
        if locked.drafted:
            continue  # judged before: a dead letter that was put back
        if isinstance(d.fact, Deposit) and locked.consent_stands:
            drafted = draft(locked.head, "A.1", d.fact.dossier)
            await tx.add([d.fact.wrap, drafted])
        else:  # a consent withdrawn while the content was read is seen only here, under the lock
            reason = d.fact.reason if isinstance(d.fact, Refusal) else WITHDRAWN
            drafted = draft(locked.head, "A.2", d.fact.dossier, reason=reason)
            await tx.add([drafted])
        emissions.append(Emission(DRAFT, drafted.delivery, drafted.evidence))
    return emissions


STAGE = Stage(
    "encrypt",
    receives=frozenset({CHECKED}),
    perform=perform,
    commit=commit,
    batch_max=BATCH_MAX,
    perform_seconds=PERFORM_SECONDS,
)
