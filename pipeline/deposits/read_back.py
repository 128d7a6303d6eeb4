"""Read uploads back: open their keys, decrypt, compare with what was declared.

Owns     what `encrypt` must know of an upload before it is anybody's deposit, each upload once however many letters
         name it
Rules    keys are asked for in one call, a pack's once for all its contents; nothing decrypted is kept; an upload's own
         trouble is that upload's verdict and stops no other; what the store or the bridge cannot do now is no verdict
         on the content
Elsewhere: what becomes of the letters (examination.py), ciphers (content/envelope.py)
"""

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import anyio

from pipeline.content.envelope import PACKED_FORMAT, ContentInvalid, Decryptor, open_packed_key, stream_data
from pipeline.content.types import TypeCheck, TypeMismatch
from pipeline.errors import Transient
from pipeline.evidence.dossier import Part
from pipeline.formats.context import intake_info, pack_info, packed_key_data
from pipeline.ports.bridge import Bridge, wire
from pipeline.ports.outside import Objects
from pipeline.ports.rows import Segment

EncryptBridge = Bridge[Literal["encrypt"]]  # the bridge as `encrypt` sees it
INTAKE_INVALID = "intake_invalid"  # the bridge's only no that is about the sealed key itself


@dataclass(frozen=True, slots=True)
class UploadToRead:
    """What to read, and what it must turn out to be: type, length and digests are the upload's own in every letter."""

    declared: Part
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Sound:
    """As declared. keys: concatenated, in the order of the segments; sha3_256: as it was read."""

    keys: bytes
    sha3_256: bytes


@dataclass(frozen=True, slots=True)
class Unsound:
    """Not as declared; text goes on after the name of the document."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class NotNow:
    """Nobody knows yet. counted: something is wrong, rather than just late."""

    why: str
    counted: bool


@dataclass(frozen=True, slots=True)
class KeyLost:
    """The bridge does not open a key for a reason that is its own: no sender is sent a rejection for it."""

    code: str


Verdict = Sound | Unsound | NotNow | KeyLost
OpenedKeys = Mapping[wire.OpenIntake, wire.Opened | wire.Denied]


async def read_back(
    uploads: Mapping[UUID, UploadToRead], bridge: EncryptBridge, objects: Objects, seconds: float
) -> dict[UUID, Verdict]:
    """A verdict for each. None is begun when `seconds` are over: the last one has the rest of its caller's time."""
    opened = await _open([s for u in uploads.values() for s in u.segments], bridge)
    until = anyio.current_time() + seconds
    verdicts: dict[UUID, Verdict] = {}
    for name, upload in uploads.items():
        keys = [_content_key(s, opened) for s in upload.segments]
        lost = next((k for k in keys if isinstance(k, wire.Denied) and k.code != INTAKE_INVALID), None)
        if lost is not None:
            verdicts[name] = KeyLost(lost.code)
        elif any(isinstance(k, wire.Denied) for k in keys):
            verdicts[name] = Unsound("digest_mismatch", "its key does not open")
        elif anyio.current_time() > until:
            verdicts[name] = NotNow("other contents took the time", counted=False)
        else:
            verdicts[name] = await _read(upload, [k for k in keys if isinstance(k, bytes)], objects)
    return verdicts


def _item(segment: Segment) -> wire.OpenIntake:
    """What the bridge is asked to open: the segment's own key, or that of its pack."""
    if segment.content_format == PACKED_FORMAT and segment.pack is not None:
        return wire.OpenIntake(segment.pack.intake_key_id, pack_info(segment.object), segment.pack.sealed_key)
    s = segment
    info = intake_info(s.sender, s.upload, s.segment, s.object, s.content_format, s.plain_bytes)
    return wire.OpenIntake(s.intake_key_id, info, s.sealed_key)


async def _open(segments: Sequence[Segment], bridge: EncryptBridge) -> OpenedKeys:
    """Every different key once, in one call."""
    items = list(dict.fromkeys(_item(s) for s in segments))
    return dict(zip(items, await bridge.ask(items), strict=True))


def _content_key(segment: Segment, opened: OpenedKeys) -> bytes | wire.Denied:
    answer = opened[_item(segment)]
    if isinstance(answer, wire.Denied):
        return answer
    if segment.content_format != PACKED_FORMAT:
        return answer.key
    s = segment
    data = packed_key_data(
        s.sender, s.upload, s.segment, s.object, s.object_offset, s.content_format, s.plain_bytes
    )  # fmt: skip
    try:
        return open_packed_key(answer.key, s.sealed_key, data)
    except ContentInvalid as error:
        return wire.Denied(INTAKE_INVALID, str(error))


async def _read(upload: UploadToRead, keys: Sequence[bytes], objects: Objects) -> Verdict:
    """Every byte, once."""
    declared = upload.declared
    sha256, sha3_256, check = hashlib.sha256(), hashlib.sha3_256(), TypeCheck(declared.content_type)
    length = 0
    try:
        for segment, key in zip(upload.segments, keys, strict=True):
            async with aclosing(_plain(segment, key, objects)) as stream:
                async for plain in stream:
                    sha256.update(plain)
                    sha3_256.update(plain)
                    check.update(plain)
                    length += len(plain)
        check.finish()
    except ContentInvalid:
        return Unsound("digest_mismatch", "the stored content does not decrypt")
    except TypeMismatch as error:
        return Unsound("type_mismatch", str(error))
    except Transient as error:  # this content's object, not the store: its neighbours go on
        return NotNow(str(error), counted=True)
    second = sha3_256.digest()
    if (length, sha256.digest()) != (declared.bytes, declared.sha256) or declared.sha3_256 not in (None, second):
        return Unsound("digest_mismatch", "the stored content has another digest")
    return Sound(b"".join(keys), second)


async def _plain(segment: Segment, key: bytes, objects: Objects) -> AsyncGenerator[bytes, None]:
    decryptor = Decryptor(key, stream_data(segment.content_format, segment.object, segment.object_offset))
    async with aclosing(objects.read(segment.object, segment.object_offset, segment.object_bytes)) as stream:
        async for sealed in stream:
            yield decryptor.update(sealed)
    yield decryptor.finish()
