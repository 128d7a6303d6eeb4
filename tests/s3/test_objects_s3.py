"""S3 keeps the contract of the object store, and what only a server on the other side of a network can do."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketAttribute, SocketStream, TaskStatus
from msgspec.structs import replace

from pipeline.adapters.objects_s3 import S3Objects
from pipeline.errors import ObjectExists, ObjectMissing, Transient
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import S3
from tests.contract.objects_cases import BIG, NAME, OTHER, PARTS, ObjectsContract, chunks, content, listed
from tests.s3_server import HOST, PROCESS, READER_PROCESS, WRITER, S3Server, write_key
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
def objects(bucket: S3) -> S3Objects:
    return S3Objects(bucket, PROCESS)


class TestObjects(ObjectsContract):
    """On asyncio, as its driver knows nothing else."""


# ------------------------------------------------------------------ what the installation may find
async def test_a_healthy_bucket_is_verified(objects: S3Objects) -> None:
    """With the right key, nothing is said and nothing is left."""
    await objects.verify()
    await objects.check()
    assert await listed(objects) == {}
    assert await objects.remove_unfinished(0) == 0


async def test_a_bucket_that_is_not_there_is_told(bucket: S3) -> None:
    """At start-up with its name and the remedy; later as something that may come back, never as a missing object."""
    objects = S3Objects(replace(bucket, bucket="nobody-made-this"), PROCESS)
    with pytest.raises(
        ConfigInvalid, match=r"objects.s3.bucket = nobody-made-this at http://.* does not exist; make it"
    ):
        await objects.verify()
    for attempt in (lambda: content(objects, NAME), lambda: objects.put(NAME, chunks(b"x"))):
        with pytest.raises(Transient) as told:
            await attempt()
        assert not isinstance(told.value, ObjectMissing)


@pytest.mark.parametrize("key", [(WRITER[0], "a wrong secret"), ("nobody", WRITER[1])], ids=["secret", "id"])
async def test_a_wrong_key_is_told(bucket: S3, tmp_path: Path, key: tuple[str, str]) -> None:
    """At start-up with the file that it is in, and without the key; later as Transient."""
    write_key(tmp_path / "gateway", *key)
    objects = S3Objects(replace(bucket, key_dir=tmp_path), "gateway")
    with pytest.raises(ConfigInvalid, match=f"refuses the key in {tmp_path / 'gateway'}") as told:
        await objects.verify()
    assert key[1] not in str(told.value)
    for attempt in (objects.check, lambda: objects.put(NAME, chunks(b"x")), lambda: content(objects, NAME)):
        with pytest.raises(Transient):
            await attempt()


async def test_who_may_only_read_is_told_so(bucket: S3, objects: S3Objects) -> None:
    """What this key would delete stays, and is no success; what it would put is not there."""
    reader = S3Objects(bucket, READER_PROCESS)
    await reader.verify()
    await objects.put(NAME, chunks(b"there"))
    with pytest.raises(Transient):
        await reader.delete(NAME)
    assert await content(reader, NAME) == b"there"
    for stored in (b"small", PARTS):
        with pytest.raises(Transient):
            await reader.put(OTHER, chunks(stored))
    assert await listed(objects) == {NAME: 5}


# ------------------------------------------------------------------ what a put leaves
async def test_a_put_that_fails_gives_its_parts_back(s3_server: S3Server, bucket: S3, objects: S3Objects) -> None:
    """While the store answers, no unfinished upload stays behind."""

    async def broken() -> AsyncIterator[bytes]:
        yield PARTS
        assert s3_server.unfinished(bucket) == 1
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await objects.put(NAME, broken())
    assert s3_server.unfinished(bucket) == 0
    await objects.put(NAME, chunks(PARTS))
    assert s3_server.unfinished(bucket) == 0


async def test_a_listing_goes_on_over_many_answers(objects: S3Objects, bucket: S3) -> None:
    """More objects than one answer of the store holds; the key that tells the time is none."""
    names = {f"{number:032x}" for number in range(1050)}

    async def put_some(first: int) -> None:
        for number in range(first, 1050, 15):
            await objects.put(f"{number:032x}", chunks(b"x"))

    async with anyio.create_task_group() as tasks:
        for first in range(15):
            tasks.start_soon(put_some, first)
    assert await listed(objects) == dict.fromkeys(names, 1)
    assert set(await listed(objects)) == names  # and the second time `clock` was there before


async def test_a_repeated_put_meets_its_own_first_try(bucket: S3) -> None:
    """The answer is lost and the request goes out again: success, not a taken name. The next put finds it taken."""
    async with anyio.create_task_group() as tasks:
        way = LossyWay(int(bucket.endpoint.rpartition(":")[2]))
        port = await tasks.start(way.serve)
        objects = S3Objects(replace(bucket, endpoint=f"http://{HOST}:{port}"), PROCESS)
        way.answers_to_lose = 1
        assert await objects.put(NAME, chunks(b"once")) == 4
        assert (way.answers_to_lose, way.connections) == (0, 2)
        way.answers_to_lose = 1
        with pytest.raises(ObjectExists):
            await objects.put(NAME, chunks(b"twice"))
        assert await content(objects, NAME) == b"once"
        tasks.cancel_scope.cancel()


class LossyWay:
    """The way to a server, on which answers get lost after it has acted: the connection breaks instead."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers_to_lose = 0
        self.connections = 0

    async def serve(self, *, task_status: TaskStatus[int]) -> None:
        """Tells its port."""
        listener = await anyio.create_tcp_listener(local_host=HOST)
        task_status.started(listener.extra(SocketAttribute.local_port))
        async with listener:
            await listener.serve(self._connection)

    async def _connection(self, client: SocketStream) -> None:
        self.connections += 1
        async with client, await anyio.connect_tcp(HOST, self._port) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(self._pass_on, client, server)
            try:
                async for answer in server:
                    if self.answers_to_lose:
                        self.answers_to_lose -= 1
                        break
                    await client.send(answer)
            except anyio.BrokenResourceError:
                pass
            tasks.cancel_scope.cancel()

    async def _pass_on(self, client: SocketStream, server: SocketStream) -> None:
        with suppress(anyio.BrokenResourceError):
            async for request in client:
                await server.send(request)


# ------------------------------------------------------------------ a server that hangs
@pytest.fixture
def hanging(s3_server: S3Server, bucket: S3) -> Iterator[S3Objects]:
    """Its server hangs once it has been reached."""
    yield S3Objects(bucket, PROCESS, call_seconds=0.3)  # it answers in a hundredth of that
    s3_server.go_on()


async def test_a_hanging_server_freezes_nobody(s3_server: S3Server, hanging: S3Objects, objects: S3Objects) -> None:
    """Every call ends in Transient in its time, each beside the others; the store works when it is back."""
    await objects.put(OTHER, chunks(b"there"))
    s3_server.pause()

    async def in_vain(call: Awaitable[object]) -> None:
        with pytest.raises(Transient):
            await call

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for call in (
                hanging.put(NAME, chunks(b"x")),
                hanging.put(NAME, chunks(PARTS)),
                hanging.size(OTHER),
                hanging.delete(OTHER),
                hanging.check(),
                hanging.verify(),
                content(hanging, OTHER),
                listed(hanging),
            ):
                tasks.start_soon(in_vain, call)
    s3_server.go_on()
    await objects.put("ab" * 16, chunks(b"again"))
    assert await content(objects, "ab" * 16) == b"again"


async def test_a_server_that_hangs_within_an_upload(
    s3_server: S3Server, hanging: S3Objects, objects: S3Objects
) -> None:
    """Between two parts: Transient in its time, and no object, now or when the server goes on."""

    async def stalling() -> AsyncIterator[bytes]:
        yield PARTS
        s3_server.pause()
        for _ in range(4):
            yield PARTS

    with anyio.fail_after(20), pytest.raises(Transient):
        await hanging.put(NAME, stalling())
    s3_server.go_on()
    assert await objects.size(NAME) is None


async def test_a_server_that_hangs_within_a_read(s3_server: S3Server, hanging: S3Objects, objects: S3Objects) -> None:
    """After the first piece: Transient in its time."""
    await objects.put(NAME, chunks(BIG))
    async with aclosing(hanging.read(NAME)) as stream:
        assert await anext(stream) == BIG[: 1024 * 1024]
        s3_server.pause()
        with anyio.fail_after(20), pytest.raises(Transient):
            await anext(stream)


# ------------------------------------------------------------------ a server that dies
async def test_a_server_killed_within_an_upload(s3_server: S3Server, bucket: S3, objects: S3Objects) -> None:
    """No object, Transient for everybody while it is away; what was put before is there when it is back."""
    await objects.put(OTHER, chunks(b"before"))

    async def dying() -> AsyncIterator[bytes]:
        yield PARTS
        s3_server.kill()
        yield PARTS

    impatient = S3Objects(bucket, PROCESS, call_seconds=1.0)
    try:
        with pytest.raises(Transient):
            await impatient.put(NAME, dying())
        for attempt in (impatient.size(OTHER), impatient.put(NAME, chunks(b"small")), impatient.verify()):
            with pytest.raises(Transient):
                await attempt
    finally:
        s3_server.restart()
    await until(lambda: answers(objects), 30)
    assert await listed(objects) == {OTHER: 6}
    assert await content(objects, OTHER) == b"before"
    await objects.put(NAME, chunks(PARTS))


async def answers(objects: S3Objects) -> bool:
    """Its parts come back one after the other: the bucket is there before what is in it."""
    try:
        return await content(objects, OTHER) != b""
    except Transient:
        return False
