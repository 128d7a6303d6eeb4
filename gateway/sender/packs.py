"""Many small contents into one object: one write to the store for thousands of letters.

Owns     a pack under way: its key, the stream of contents to the store, the rows that name them
Rules    every content has a key of its own, encrypted under the pack's and bound to its upload and place; the pack's
         key is sealed to the intake key and forgotten with the request. A few contents are in memory at a time, and
         the rows; nothing is visible before `finish`, and without it nothing stays
Crash    between the object and the rows: an object without a key; `archive` removes it
Elsewhere: storing the rows (in the transaction of whoever names the contents), reading (pipeline/deposits/read_back.py)

    async with packing(ports, intake) as pack:
        upload = await pack.add(sender, "letter.pdf", "application/pdf", content)
        rows = await pack.finish()
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from hashlib import sha3_256, sha256
from uuid import UUID

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from gateway.sender.ports import SenderPorts
from pipeline.content.envelope import (
    KEY_BYTES,
    NONCE_BYTES,
    NONCE_PREFIX_BYTES,
    PACKED_FORMAT,
    SALT_BYTES,
    Encryptor,
    seal_key,
    seal_packed_key,
    stream_data,
)
from pipeline.content.names import NAME_RANDOM_BYTES, object_name
from pipeline.errors import Transient
from pipeline.formats.context import pack_info, packed_key_data
from pipeline.ports.bridge import PublishedKey
from pipeline.process.measures import UPLOAD_BYTES
from pipeline.stores.senders import PackRows, SenderUpload, StoredPack, StoredSegment

PACKED_DAYS = 30  # a batch may be open for seven days and be drawn for some more: its contents must outlive both
ONLY_SEGMENT = 1
AHEAD = 4  # contents between whoever adds and the store
WRITE_BYTES = 256 * 1024  # small streams are joined: a write for each would cost a hop to a thread each


class Pack:
    """One pack under way; made by `packing`."""

    def __init__(self, ports: SenderPorts, intake: PublishedKey, tasks: TaskGroup) -> None:
        self._ports = ports
        self._intake = intake
        self._tasks = tasks
        self._key = ports.ids.random_bytes(KEY_BYTES)
        self._name = object_name(ports.ids.random_bytes(NAME_RANDOM_BYTES))
        self._expires_at: datetime = ports.clock.now() + timedelta(days=PACKED_DAYS)
        self._contents: list[tuple[SenderUpload, StoredSegment]] = []
        self._offset = 0
        self._into: MemoryObjectSendStream[bytes] | None = None
        self._out: MemoryObjectReceiveStream[bytes] | None = None
        self._stored = anyio.Event()
        self._failure: Transient | None = None

    async def add(self, sender: UUID, file_name: str, content_type: str, content: bytes) -> UUID:
        """Appends a content, of at least one byte; the upload that it will be. Raises what the store raised."""
        upload, key = self._ports.ids.uuid7(), self._ports.ids.random_bytes(KEY_BYTES)
        stream = self._encrypt(key, content)
        place = (sender, upload, ONLY_SEGMENT, self._name, self._offset, PACKED_FORMAT, len(content))
        nonce = self._ports.ids.random_bytes(NONCE_BYTES)
        segment = StoredSegment(
            segment=ONLY_SEGMENT,
            object=self._name,
            content_format=PACKED_FORMAT,
            plain_bytes=len(content),
            intake_key_id=self._intake.key_id,
            sealed_key=seal_packed_key(self._key, nonce, key, packed_key_data(*place)),
            sha256=sha256(content).digest(),
            object_offset=self._offset,
            object_bytes=len(stream),
        )
        described = SenderUpload(
            id=upload,
            sender=sender,
            file_name=file_name,
            content_type=content_type,
            content_bytes=len(content),
            sha256=segment.sha256,
            sha3_256=sha3_256(content).digest(),
            expires_at=self._expires_at,
        )
        await self._append(stream)
        self._contents.append((described, segment))
        return upload

    async def finish(self) -> PackRows | None:
        """The rows of what is durable now; None when nothing was added. Raises what the store raised."""
        if self._into is None:
            return None
        await self._into.aclose()
        await self._stored.wait()
        if self._failure is not None:
            raise self._failure
        sealed = seal_key(self._intake.spki, pack_info(self._name), self._key)
        pack = StoredPack(self._name, self._intake.key_id, sealed, self._offset)
        plain_bytes = sum(upload.content_bytes for upload, _ in self._contents)
        self._ports.recorder.count(UPLOAD_BYTES, by=plain_bytes)
        return PackRows(pack, tuple(self._contents))

    def close(self) -> None:
        """Both ends of the stream, whoever still holds them."""
        if self._into is not None and self._out is not None:
            self._into.close()
            self._out.close()

    def _encrypt(self, key: bytes, content: bytes) -> bytes:
        if not content:
            raise ValueError("a content has at least one byte")
        salt, prefix = self._ports.ids.random_bytes(SALT_BYTES), self._ports.ids.random_bytes(NONCE_PREFIX_BYTES)
        encryptor = Encryptor(key, stream_data(PACKED_FORMAT, self._name, self._offset), salt, prefix)
        return encryptor.update(content) + encryptor.finish()

    async def _append(self, stream: bytes) -> None:
        if self._into is None:  # a pack of nothing writes nothing
            self._into, self._out = anyio.create_memory_object_stream[bytes](AHEAD)
            self._tasks.start_soon(self._store, self._out)
        try:
            await self._into.send(stream)
        except anyio.BrokenResourceError:  # the store has given up; `finish` would say the same
            await self._stored.wait()
            raise self._failure or Transient("the store took no more of the pack") from None
        self._offset += len(stream)

    async def _store(self, contents: MemoryObjectReceiveStream[bytes]) -> None:
        async with contents:
            try:
                await self._ports.objects.put(self._name, _joined(contents))
            except Transient as error:  # told to whoever adds or finishes
                self._failure = error
            finally:
                self._stored.set()


@asynccontextmanager
async def packing(ports: SenderPorts, intake: PublishedKey) -> AsyncIterator[Pack]:
    """A pack whose key is sealed to `intake`. Left without `finish`, it leaves nothing."""
    try:
        async with anyio.create_task_group() as tasks:
            pack = Pack(ports, intake, tasks)
            try:
                yield pack
            finally:
                pack.close()
                tasks.cancel_scope.cancel()
    except ExceptionGroup as together:  # the caller's own exception, as the task group wraps it
        raise together.exceptions[0] from None


async def _joined(contents: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    held = bytearray()
    async for content in contents:
        held += content
        if len(held) >= WRITE_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
