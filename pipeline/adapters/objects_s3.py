"""Objects in a bucket of an S3 store: whole when `put` returns, invisible before, never rewritten. obstore's only door.

Owns     the key NAME of each object, the key `clock`; which requests are made, their deadlines and repetitions
Rules    what fits into one part is written by one conditional request (If-None-Match); of a repetition that meets its
         own first try, a mark tells. More is a multipart upload: of memory a few parts, invisible until it is complete.
         Its name is looked up before and its size after, as it cannot be conditional: names are 128 random bits
         every request has a deadline, and so has the waiting for it: a store that hangs costs its callers an error
Crash    leaves the parts of an unfinished upload, which only the bucket's own lifecycle rule sees (docs/operate.md)
Elsewhere: what is in the objects, when one is not needed any more, who may delete
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from pipeline.content.names import NAME_PATTERN, check_object_name
from pipeline.errors import ObjectExists, ObjectMissing, Transient
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import S3
from pipeline.ports.outside import ListedObject

CALL_SECONDS = 10.0  # a healthy store answers in tenths of a second
TRANSFER_SECONDS = 30.0  # of a part, behind other transfers
DISCARD_SECONDS = 1.0  # tidying up after a failure waits no longer for the store that failed
CONNECT_SECONDS = 3.0
REPETITIONS_MAX = 2  # of a request that failed: a message, or a client, comes again anyway
PART_BYTES = 5 * 1024 * 1024  # the least that S3 takes as a part; 10,000 of them make 50 GB
PARTS_AT_ONCE = 2  # of one upload: with what is being filled, some 20 MB of memory
READ_BYTES = 1024 * 1024  # a request each: nothing is open while a slow reader thinks
LISTED_AT_ONCE = 1000  # what a store gives by one request
CLOCK = "clock"  # not the name of an object; rewritten to learn what time it is there
MARK_BYTES = 16

T = TypeVar("T")


class S3Objects:
    """The store in a bucket, used as `process`. Its key is read at the first use: not every process has one."""

    def __init__(self, settings: S3, process: str, call_seconds: float = CALL_SECONDS) -> None:
        self._settings = settings
        self._process = process
        self._call_seconds = call_seconds
        self._transfer_seconds = call_seconds * TRANSFER_SECONDS / CALL_SECONDS
        self._opened: S3Store | None = None

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Stores; durable on return as the store understands it, nothing visible before. The length in bytes.

        A name is used once: raises ObjectExists, and leaves that object as it is. When an answer is lost the object may
        be there; whoever tries again draws another name, and the first stays. An exception from `chunks` leaves
        nothing that can be seen.
        """
        check_object_name(name)
        first: list[bytes] = []
        first_bytes = 0
        async for chunk in chunks:
            first.append(chunk)
            first_bytes += len(chunk)
            if first_bytes > PART_BYTES:
                return await self._put_parts(name, b"".join(first), chunks)
        await self._put_once(name, b"".join(first))
        return first_bytes

    async def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset`, at most `length`, in chunks. Raises ObjectMissing, Transient."""
        check_object_name(name)
        end = None if length is None else offset + length
        while end is None or offset < end:
            wanted_bytes = READ_BYTES if end is None else min(READ_BYTES, end - offset)
            chunk, size = await self._piece(name, offset, offset + wanted_bytes)
            offset += len(chunk)
            if chunk:
                yield chunk
            if not chunk or offset >= size:
                return

    async def size(self, name: str) -> int | None:
        """Length in bytes, None when there is no such object. Raises Transient."""
        check_object_name(name)
        try:
            return (await self._call(self._call_seconds, obstore.head_async(self._store(), name)))["size"]
        except ObjectMissing:
            return None

    async def delete(self, name: str) -> None:
        """Gone on return; no error when it was gone already. Raises Transient, also when this process may not."""
        check_object_name(name)
        try:
            await self._call(self._call_seconds, obstore.delete_async(self._store(), name))
        except ObjectMissing:
            return

    async def list(self, older_seconds: float) -> AsyncGenerator[ListedObject, None]:
        """Every object that is at least so old by the store's clock. Raises Transient.

        What was put in parts may be told older than it is, by the time that this took: some stores count from then.
        """
        store = self._store()
        await self._call(self._call_seconds, obstore.put_async(store, CLOCK, b""))
        now = (await self._call(self._call_seconds, obstore.head_async(store, CLOCK)))["last_modified"]
        pages = store.list(chunk_size=LISTED_AT_ONCE)
        while page := await self._call(self._call_seconds, next_page(pages)):
            for entry in page:
                age_seconds = max(0.0, (now - entry["last_modified"]).total_seconds())  # `now` comes in whole seconds
                if NAME_PATTERN.fullmatch(entry["path"]) and age_seconds >= older_seconds:
                    yield ListedObject(entry["path"], entry["size"], age_seconds)

    async def check(self) -> None:
        """Raises Transient when the store cannot be reached with this key and bucket now. Leaves nothing."""
        try:
            await self._call(self._call_seconds, obstore.get_async(self._store(), f"{CLOCK}/absent"))
        except ObjectMissing:
            return

    async def verify(self) -> None:
        """Raises ConfigInvalid when no waiting will help: no such bucket, a wrong key. Raises Transient."""
        try:
            await self.check()
        except Transient as error:
            where = f"objects.s3.bucket = {self._settings.bucket} at {self._settings.endpoint}"
            if isinstance(error, BucketMissing):
                raise ConfigInvalid(f"{where} does not exist; make it, or correct the name") from error
            if isinstance(error.__cause__, PermissionDeniedError | UnauthenticatedError):
                path = self._settings.key_dir / self._process
                raise ConfigInvalid(
                    f"{where} refuses the key in {path}; correct it, or let it read and list"
                ) from error
            raise

    async def remove_unfinished(self, older_seconds: float) -> int:
        """Removes none: nobody can list the parts of others here, the bucket's lifecycle rule deletes them."""
        return 0

    async def _put_once(self, name: str, content: bytes) -> None:
        """One conditional request. A repetition of it may find that the first one worked."""
        mark = secrets.token_hex(MARK_BYTES)
        store = self._store()
        request = obstore.put_async(store, name, content, mode="create", attributes={"mark": mark}, use_multipart=False)
        try:
            await self._call(self._transfer_seconds, request)
        except ObjectExists:
            answer = await self._call(self._call_seconds, obstore.get_async(store, name, options={"head": True}))
            if answer.attributes.get("mark") != mark:
                raise

    async def _put_parts(self, name: str, begun: bytes, rest: AsyncIterator[bytes]) -> int:
        """A multipart upload of what was read already and what comes."""
        if await self.size(name) is not None:
            raise ObjectExists("an object of this name exists")
        writer = obstore.open_writer_async(self._store(), name, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        stored_bytes = 0
        try:
            async for chunk in joined(begun, rest):
                await self._call(self._transfer_seconds, writer.write(chunk))
                stored_bytes += len(chunk)
            await self._call(self._transfer_seconds, writer.close())
        except BaseException as error:
            with anyio.move_on_after(DISCARD_SECONDS, shield=True):
                await discard(writer, error)
            raise
        if await self.size(name) != stored_bytes:
            raise Transient("the object store did not keep what it was given")
        return stored_bytes

    async def _piece(self, name: str, start: int, end: int) -> tuple[bytes, int]:
        """Some bytes, none from the end on, and how long the object is."""
        try:
            return await self._call(self._call_seconds, fetch(self._store(), name, start, end))
        except ObjectMissing:
            raise
        except Transient:
            size = await self.size(name)  # a range that begins at the end is an error to S3
            if size is None or start < size:
                raise
            return b"", size

    def _store(self) -> S3Store:
        if self._opened is None:
            key_id, secret = self._settings.key(self._process)
            self._opened = S3Store(
                self._settings.bucket,
                endpoint=self._settings.endpoint,
                region=self._settings.region,
                access_key_id=key_id,
                secret_access_key=secret,
                checksum_algorithm="SHA256",  # the store compares what it got; a bucket with object lock demands it
                client_options={
                    "allow_http": self._settings.endpoint.startswith("http://"),
                    "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                    "timeout": timedelta(seconds=self._transfer_seconds),
                },
                retry_config={
                    "max_retries": REPETITIONS_MAX,
                    "retry_timeout": timedelta(seconds=self._call_seconds),
                },
            )
        return self._opened

    async def _call(self, seconds: float, request: Coroutine[Any, Any, T]) -> T:
        """One request under a deadline, its errors in our words."""
        try:
            with anyio.fail_after(seconds):
                return await request
        except TimeoutError as error:
            raise Transient(f"the object store did not answer in {seconds:g} s") from error
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise BucketMissing("the bucket does not exist") from error
            raise ObjectMissing("no such object") from error
        except AlreadyExistsError as error:
            raise ObjectExists("an object of this name exists") from error
        except (BaseError, OSError) as error:
            raise Transient(f"the object store failed: {type(error).__name__}") from error


class BucketMissing(Transient):
    """There is nothing to look into; somebody may be about to make it."""


async def joined(begun: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """What was read already, then what comes."""
    yield begun
    async for chunk in rest:
        yield chunk


async def next_page(pages: "obstore.ListStream[Sequence[obstore.ObjectMeta]]") -> Sequence["obstore.ObjectMeta"]:
    """Empty at the end."""
    try:
        return await anext(pages)
    except StopAsyncIteration:
        return ()


async def fetch(store: S3Store, name: str, start: int, end: int) -> tuple[bytes, int]:
    """The bytes of a range, and the size of the whole."""
    answer = await obstore.get_async(store, name, options={"range": (start, end)})
    return (await answer.bytes_async()).to_bytes(), answer.meta["size"]


async def discard(writer: "obstore.AsyncWritableFile", error: BaseException) -> None:
    """Tells the store to forget the parts. It is leaving by an error that does so; a failing store is left alone."""
    try:
        await writer.__aexit__(type(error), error, error.__traceback__)
    except (BaseError, OSError):
        return
