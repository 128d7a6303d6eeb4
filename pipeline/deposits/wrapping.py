"""Wraps, as `encrypt` asks the bridge for them: of a content for all its letters, of a letter for its addressee.

Owns     what the contexts say: of an upload what it is and until when letters may be made of it; of a letter its
         contents and its addressee
Elsewhere: reading (read_back.py), the conditions (hsm_bridge/operations/wraps.py), what becomes of a letter
         (examination.py)
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta
from uuid import UUID

from pipeline.delivery.facts import ContentWrap, UploadWrap
from pipeline.deposits.read_back import EncryptBridge, Sound, UploadToRead
from pipeline.evidence.dossier import Dossier
from pipeline.formats.assurance import AssuranceLevel
from pipeline.formats.context import (
    AddresseeRecord,
    ContentContext,
    WrapContext,
    content_context,
    wrap_context,
)
from pipeline.ports.bridge import wire
from pipeline.ports.rows import Content

# From an upload on, letters may be made of it: used within days, and no outage lasts a season. Again in sql/ledger.sql.
WRAP_OPEN_DAYS = 90


async def wrap_contents(
    uploads: Mapping[UUID, tuple[UploadToRead, Sound]], bridge: EncryptBridge
) -> dict[UUID, UploadWrap | wire.Denied]:
    """The wrap of each upload that was found sound, in one call."""
    contexts = {name: content_context_of(name, upload, sound) for name, (upload, sound) in uploads.items()}
    items = [wire.WrapContent(content_context(contexts[name]), sound.keys) for name, (_, sound) in uploads.items()]
    answers = await bridge.ask(items)
    return {
        name: answer
        if isinstance(answer, wire.Denied)
        else UploadWrap(name, answer.key_id, item.context, answer.wrapped, c.sha3_256, c.open_until)
        for (name, c), item, answer in zip(contexts.items(), items, answers, strict=True)
    }


async def derive_wraps(
    letters: Sequence[Content], minimum_level: AssuranceLevel, bridge: EncryptBridge
) -> list[ContentWrap | wire.Denied]:
    """The wrap of each letter, of those of its uploads, in one call."""
    items = [
        wire.DeriveWrap(
            context_of(content.dossier, minimum_level),
            tuple(
                wire.WrappedContent(w.key_id, w.wrapped, w.context)
                for w in (content.wraps[content.uploads[p.number]] for p in content.dossier.parts)
            ),
        )
        for content in letters
    ]
    answers = await bridge.ask(items)
    return [
        a if isinstance(a, wire.Denied) else ContentWrap(content.delivery, a.key_id, item.context, a.wrapped)
        for content, item, a in zip(letters, items, answers, strict=True)
    ]


def content_context_of(name: UUID, upload: UploadToRead, sound: Sound) -> ContentContext:
    """What the bridge keeps with an upload's keys; open_until in whole seconds."""
    declared = upload.declared
    until = (upload.segments[0].uploaded_at + timedelta(days=WRAP_OPEN_DAYS)).astimezone(UTC).replace(microsecond=0)
    return ContentContext(name, declared.sha256, sound.sha3_256, declared.bytes, until)


def context_of(dossier: Dossier, minimum_level: AssuranceLevel) -> bytes:
    """Context v1 of a letter's wrap: it authenticates contents and addressee when the bridge opens it again."""
    who = dossier.recipient
    record = AddresseeRecord(
        kind="consumer" if who.kind == "consumer" else "professional",
        given_names=who.given_names,
        birth_name=who.birth_name,
        usage_name=who.usage_name,
        birth_date=who.birth_date,
    )
    parts = tuple((p.sha256, p.second_digest, p.bytes) for p in dossier.parts)
    return wrap_context(WrapContext(dossier.delivery, parts, record, minimum_level))
