"""The byte strings that bind a key to a letter, and the digest that names a person.

Owns     the information of an upload's and of a pack's key (HPKE info), the binding of a content key in a pack, the
         contexts of wraps (associated data), the canonical digest of an identified person
Rules    one encoding per value: a version byte, then msgpack of nested arrays in a fixed order; parsing re-encodes and
         compares, so that two byte strings never mean the same context
Elsewhere: keys, encryption, matching of names (hsm_bridge/identity/matching.py)
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal
from uuid import UUID

import msgspec

from pipeline.formats.assurance import AssuranceLevel

VERSION = b"\x01"
CONTEXT_BYTES_MAX = 64 * 1024  # 200 parts of about 80 bytes, and names
PARTS_MAX = 200
NAME_CHARACTERS_MAX = 400

Kind = Literal["consumer", "professional"]


class ContextInvalid(ValueError):
    """Not a context that this program writes."""


@dataclass(frozen=True, slots=True)
class AddresseeRecord:
    """Who may open the letter, as the sender named the person; names are NFC."""

    kind: Kind
    given_names: str
    birth_name: str
    usage_name: str | None
    birth_date: date | None


@dataclass(frozen=True, slots=True)
class WrapContext:
    """What a wrap is for; part = (SHA-256, SHA3-256, length in bytes) of its plain content."""

    delivery: UUID
    parts: tuple[tuple[bytes, bytes, int], ...]
    addressee: AddresseeRecord
    minimum_level: AssuranceLevel


@dataclass(frozen=True, slots=True)
class ContentContext:
    """What the wrap of a content is for: an upload, what it is, and until when letters may be made of it."""

    upload: UUID
    sha256: bytes
    sha3_256: bytes
    content_bytes: int
    open_until: datetime  # whole seconds, UTC

    @property
    def part(self) -> tuple[bytes, bytes, int]:
        """As a letter's context names it."""
        return self.sha256, self.sha3_256, self.content_bytes


_Content = tuple[Literal["content"], bytes, bytes, bytes, int, int]
_Addressee = tuple[Kind, str, str, str | None, date | None]
_Context = tuple[bytes, list[tuple[bytes, bytes, int]], _Addressee, AssuranceLevel]


def intake_info(
    sender: UUID, upload: UUID, segment: int, object_name: str, content_format: str, plain_bytes: int
) -> bytes:
    """The HPKE info of one upload segment's key: a key moved to another object does not open."""
    values = ("intake", sender.bytes, upload.bytes, segment, object_name, content_format, plain_bytes)
    return VERSION + msgspec.msgpack.encode(values)


def pack_info(object_name: str) -> bytes:
    """The HPKE info of a pack's key."""
    return VERSION + msgspec.msgpack.encode(("pack", object_name))


def packed_key_data(
    sender: UUID, upload: UUID, segment: int, object_name: str, offset: int, content_format: str, plain_bytes: int
) -> bytes:
    """What a content key under a pack's key is bound to: a key moved to another upload or place does not open."""
    values = ("packed", sender.bytes, upload.bytes, segment, object_name, offset, content_format, plain_bytes)
    return VERSION + msgspec.msgpack.encode(values)


def content_context(context: ContentContext) -> bytes:
    """The associated data of a content's wrap. Raises ContextInvalid for what parse_content_context would refuse."""
    _check_part(context.part)
    until = context.open_until
    if until.utcoffset() is None or until.microsecond:
        raise ContextInvalid("open_until is a whole second with a time zone")
    values = ("content", context.upload.bytes, *context.part, int(until.timestamp()))
    return VERSION + msgspec.msgpack.encode(values)


def parse_content_context(data: bytes) -> ContentContext:
    """Reads what content_context wrote, and nothing else, above all no letter's context; raises ContextInvalid."""
    if len(data) > CONTEXT_BYTES_MAX or data[:1] != VERSION:
        raise ContextInvalid("not a content context of version 1")
    try:
        _, upload, sha256, sha3_256, length, until = msgspec.msgpack.decode(data[1:], type=_Content)
        context = ContentContext(UUID(bytes=upload), sha256, sha3_256, length, datetime.fromtimestamp(until, UTC))
    except (msgspec.MsgspecError, ValueError, OverflowError, OSError) as error:
        raise ContextInvalid("not a content context") from error
    if content_context(context) != data:
        raise ContextInvalid("not the one encoding of this context")
    return context


def wrap_context(context: WrapContext) -> bytes:
    """The associated data of one delivery's wrap. Raises ContextInvalid for what parse_wrap_context would refuse."""
    _check(context)
    who = context.addressee
    addressee = (who.kind, who.given_names, who.birth_name, who.usage_name, who.birth_date)
    values = (context.delivery.bytes, list(context.parts), addressee, context.minimum_level)
    return VERSION + msgspec.msgpack.encode(values)


def parse_wrap_context(data: bytes) -> WrapContext:
    """Reads what wrap_context wrote, and nothing else; raises ContextInvalid."""
    if len(data) > CONTEXT_BYTES_MAX or data[:1] != VERSION:
        raise ContextInvalid("not a wrap context of version 1")
    try:
        delivery, parts, addressee, level = msgspec.msgpack.decode(data[1:], type=_Context)
        context = WrapContext(UUID(bytes=delivery), tuple(parts), AddresseeRecord(*addressee), level)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ContextInvalid("not a wrap context") from error
    if wrap_context(context) != data:
        raise ContextInvalid("not the one encoding of this context")
    return context


def documents_sha256(digests: Iterable[bytes]) -> bytes:
    """Names the documents of a letter, by the SHA-256 of each in their order, in tickets and receipts."""
    return hashlib.sha256(b"qerds-documents-v1\x00" + b"".join(digests)).digest()


def person_sha256(given_names: str, birth_name: str, birth_date: date | str | None, subject: str) -> bytes:
    """Names an identified person in evidence, tickets and receipts without repeating the person's data.

    birth_date: as a text where the provider knows only a part of it (formats/person.py).
    """
    values = ("person", _nfc(given_names), _nfc(birth_name), birth_date, subject)
    return hashlib.sha256(VERSION + msgspec.msgpack.encode(values)).digest()


def _check(context: WrapContext) -> None:
    if not 1 <= len(context.parts) <= PARTS_MAX:
        raise ContextInvalid(f"a context has 1 to {PARTS_MAX} parts")
    for part in context.parts:
        _check_part(part)
    who = context.addressee
    for name in (who.given_names, who.birth_name, who.usage_name):
        if name is not None and (not 1 <= len(name) <= NAME_CHARACTERS_MAX or _nfc(name) != name):
            raise ContextInvalid(f"a name has 1 to {NAME_CHARACTERS_MAX} characters, in NFC")


def _check_part(part: tuple[bytes, bytes, int]) -> None:
    sha256, sha3_256, content_bytes = part
    if len(sha256) != 32 or len(sha3_256) != 32 or content_bytes < 0:
        raise ContextInvalid("a part is two 32-byte digests and a length")


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
