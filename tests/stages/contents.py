"""Contents as the gateway leaves them in the store: whole, in parts, in a pack; and letters that name them.

Owns     planting, and who watches what is read and asked
Elsewhere: the gateway that does this for real (tests/gateway/sender)
"""

import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID

from pipeline.content.envelope import (
    CONTENT_FORMAT,
    PACKED_FORMAT,
    Encryptor,
    seal_key,
    seal_packed_key,
    stream_data,
)
from pipeline.content.names import object_name
from pipeline.evidence.dossier import Part
from pipeline.formats.context import intake_info, pack_info, packed_key_data
from pipeline.ports.bridge import Bridge, PublishedKey, wire
from pipeline.ports.outside import Objects
from pipeline.ports.rows import PackKey, Segment
from tests.memory.tables import Submission
from tests.stages.line import Line

TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class Planted:
    """An upload; the segments know no part yet."""

    content: bytes
    segments: tuple[Segment, ...]
    content_type: str = TEXT
    whole: bool = True  # its second digest is known

    @property
    def upload(self) -> UUID:
        return self.segments[0].upload

    def part(self, number: int) -> Part:
        second = hashlib.sha3_256(self.content).digest() if self.whole else None
        first = hashlib.sha256(self.content).digest()
        return Part(number, f"letter-{number}.txt", self.content_type, len(self.content), first, second)


def intake(line: Line) -> PublishedKey:
    [key] = [k for k in line.bridge.published() if k.use == "intake"]
    return key


def fresh_id(line: Line) -> UUID:
    return UUID(bytes=line.randomness.random_bytes(16))


def stream(line: Line, key: bytes, bound_to: bytes, content: bytes) -> bytes:
    cipher = Encryptor(key, bound_to, line.randomness.random_bytes(32), line.randomness.random_bytes(7))
    return cipher.update(content) + cipher.finish()


def in_parts(line: Line, *pieces: bytes) -> Planted:
    """One upload; each piece is an object with a key of its own. One piece is a whole upload."""
    sender, upload = fresh_id(line), fresh_id(line)
    segments = []
    for number, piece in enumerate(pieces, start=1):
        name, key = object_name(line.randomness.random_bytes(16)), line.randomness.random_bytes(32)
        line.objects.objects[name] = stream(line, key, stream_data(CONTENT_FORMAT, name, 0), piece)
        info = intake_info(sender, upload, number, name, CONTENT_FORMAT, len(piece))
        sealed = seal_key(intake(line).spki, info, key)
        segments.append(
            Segment(
                0, number, sender, upload, name, CONTENT_FORMAT, len(piece), intake(line).key_id, sealed,
                line.clock.now(),
            )
        )  # fmt: skip
    return Planted(b"".join(pieces), tuple(segments), whole=len(pieces) == 1)


def in_a_pack(line: Line, *contents: bytes) -> list[Planted]:
    """Many uploads, one object."""
    name, pack_key = object_name(line.randomness.random_bytes(16)), line.randomness.random_bytes(32)
    pack = PackKey(intake(line).key_id, seal_key(intake(line).spki, pack_info(name), pack_key))
    packed, planted = b"", []
    for content in contents:
        sender, upload, key = fresh_id(line), fresh_id(line), line.randomness.random_bytes(32)
        offset, sealed = len(packed), stream(line, key, stream_data(PACKED_FORMAT, name, len(packed)), content)
        place = packed_key_data(sender, upload, 1, name, offset, PACKED_FORMAT, len(content))
        segment = Segment(
            part=0,
            segment=1,
            sender=sender,
            upload=upload,
            object=name,
            content_format=PACKED_FORMAT,
            plain_bytes=len(content),
            intake_key_id=intake(line).key_id,
            sealed_key=seal_packed_key(pack_key, line.randomness.random_bytes(12), key, place),
            uploaded_at=line.clock.now(),
            object_offset=offset,
            object_bytes=len(sealed),
            pack=pack,
        )
        packed += sealed
        planted.append(Planted(content, (segment,)))
    line.objects.objects[name] = packed
    return planted


async def letter(line: Line, *uploads: Planted, declared: bytes | None = None, consent: str = "given") -> UUID:
    """A letter of these uploads."""
    delivery = await line.submit(consent=consent)
    stored = line.database.tables.find(Submission, delivery)
    assert stored is not None
    parts = tuple(upload.part(number) for number, upload in enumerate(uploads, start=1))
    segments = tuple(replace(s, part=n) for n, upload in enumerate(uploads, start=1) for s in upload.segments)
    sent = replace(
        stored,
        dossier=replace(stored.dossier, parts=parts),
        declared_sha256=tuple(declared or p.sha256 for p in parts),
        segments=segments,
    )
    line.database.tables.submit(sent)
    return delivery


@dataclass
class WatchedObjects:
    """A store that counts who is read."""

    store: Objects
    read_names: Counter[str] = field(default_factory=Counter)

    async def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        self.read_names[name] += 1
        async with aclosing(self.store.read(name, offset, length)) as chunks:
            async for chunk in chunks:
                yield chunk


@dataclass
class WatchedBridge:
    """A bridge that counts the items it is asked; `deny` answers those of an operation with a code."""

    bridge: Bridge[Literal["encrypt"]]
    asked: Counter[str] = field(default_factory=Counter)
    deny: dict[str, str] = field(default_factory=dict)

    async def ask(self, items: Sequence[wire.Item[Any, Literal["encrypt"]]]) -> Sequence[Any]:
        for item in items:
            self.asked[type(item).op] += 1
        if items and (code := self.deny.get(type(items[0]).op)):
            return [wire.Denied(code) for _ in items]
        return await self.bridge.ask(items)


def watched(line: Line) -> tuple[WatchedBridge, WatchedObjects]:
    """The line's `encrypt`, watched."""
    bridge, objects = WatchedBridge(line.bridge.bridge("encrypt")), WatchedObjects(line.objects)
    line.ports["encrypt"] = replace(line.ports["encrypt"], bridge=bridge, objects=objects)
    return bridge, objects
