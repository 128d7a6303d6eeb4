"""Connections over real sockets: how long each may take, who gets in when there is little room, what they hear."""

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
import uvicorn
from anyio.abc import SocketStream
from starlette.types import Receive, Scope, Send

from gateway.callers import Proxies
from gateway.connections import (
    CONNECTIONS_MAX,
    HEAD_SECONDS_MAX,
    LINGER_SECONDS_MAX,
    PASS_OVER_SECONDS_MAX,
    RATE_BYTES_MIN,
    RATE_SECONDS,
    Door,
)
from gateway.listening import bound
from pipeline.process import serving
from pipeline.process.exposition import exposition
from pipeline.process.recorder import Recorder

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE_BYTES = 64 * 1024 * 1024  # more than any socket's buffers
SECONDS = 5
ROOM = 8

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """uvicorn's."""
    return "asyncio"


@dataclass
class Place:
    """A server, and what its application saw."""

    door: Door
    port: int
    recorder: Recorder
    bodies: list[bytes] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    reached: anyio.Event = field(default_factory=anyio.Event)

    async def connect(self, host: str = "127.0.0.1") -> SocketStream:
        """From an address of its own: the whole of 127/8 is this machine."""
        return await anyio.connect_tcp("127.0.0.1", self.port, local_host=host)

    def look(self, seconds_ahead: float = 0.0) -> None:
        """The door looks at its connections, as it does each second."""
        self.door.look(time.monotonic() + seconds_ahead)

    def ended(self, reason: str) -> int:
        found = re.search(rf'connections_ended_total{{reason="{reason}"}} (\d+)', exposition(self.recorder).decode())
        return int(found[1]) if found else 0

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """/large answers a lot, /early answers before the body is read, others echo the length of the body."""
        body = b""
        if scope["path"] != "/early":
            self.reached.set()
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.gone.append(scope["path"])
                    return
                body += message["body"]
                if not message["more_body"]:
                    break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (
            LARGE_BYTES if scope["path"] == "/large" else 2))]})  # fmt: skip
        if scope["path"] == "/large":
            for _ in range(LARGE_BYTES // 65536):
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        await send({"type": "http.response.body", "body": b"" if scope["path"] == "/large" else b"ok"})


@asynccontextmanager
async def served(room: int = CONNECTIONS_MAX, proxies: tuple[str, ...] = ()) -> AsyncIterator[Place]:
    recorder = Recorder("gateway")
    listener = bound("127.0.0.1", 0)
    place = Place(Door(Proxies(proxies), recorder, room), listener.getsockname()[1], recorder)
    settings = uvicorn.Config(
        place.application, http=place.door.protocol(), lifespan="off", ws="none", log_config=None, log_level="error",
        timeout_graceful_shutdown=1, proxy_headers=False, interface="asgi3",
    )  # fmt: skip
    draining, listening = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serving.serve, settings, listener, draining, listening.set)
        await listening.wait()
        yield place
        draining.set()


async def said(stream: SocketStream) -> bytes:
    """All that comes until the connection ends."""
    text = b""
    with anyio.fail_after(SECONDS):
        try:
            while True:
                text += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return text


async def answered(stream: SocketStream, request: bytes = GET) -> bool:
    try:
        await stream.send(request)
        with anyio.fail_after(SECONDS):
            text = b""
            while not text.endswith(b"ok"):
                text += await stream.receive()
            return text.startswith(b"HTTP/1.1 200")
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return False


async def settle(holds: Callable[[], bool]) -> None:
    """What a client did has arrived: asked of the loop's next rounds, as nothing tells."""
    with anyio.fail_after(SECONDS):
        while not holds():
            await anyio.lowlevel.checkpoint()


async def test_a_connection_asks_something_in_time() -> None:
    """Silence, and a head that never ends, also byte by byte and after an answer: the connection ends."""
    async with served() as place, AsyncExitStack() as stack:
        silent, half, again, fine = [await stack.enter_async_context(await place.connect()) for _ in range(4)]
        assert await answered(again) and await answered(fine)
        await half.send(GET[:20])
        await again.send(GET[:20])
        assert await answered(fine)  # so that what was sent before has been seen
        place.look()
        place.look(HEAD_SECONDS_MAX - 1)
        assert await answered(fine)
        await half.send(GET[20:22])
        place.look(HEAD_SECONDS_MAX + 1)
        assert await said(silent) == b""
        assert (await said(half)).startswith(b"HTTP/1.1 408 ")
        assert (await said(again)).startswith(b"HTTP/1.1 408 ")
        assert await answered(fine)
        assert place.ended("head_late") == 3


async def test_a_body_comes_at_a_least_rate() -> None:
    """A body that trickles is refused with 408, and the application hears that its client went; not one that flows."""
    async with served() as place, AsyncExitStack() as stack:
        slow, steady = [await stack.enter_async_context(await place.connect()) for _ in range(2)]
        await slow.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        await steady.send(b"POST /steady HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await settle(place.reached.is_set)
        window_bytes = (RATE_SECONDS + 2) * RATE_BYTES_MIN
        place.look()
        await slow.send(b"x" * 100)
        await steady.send(b"%x\r\n%b\r\n" % (window_bytes, bytes(window_bytes)))
        async with await place.connect() as other:
            assert await answered(other)
        place.look(RATE_SECONDS + 1)
        assert (await said(slow)).startswith(b"HTTP/1.1 408 ")
        await settle(lambda: bool(place.gone))
        assert place.gone == ["/slow"]
        assert await answered(steady, b"0\r\n\r\n")
        assert place.ended("body_slow") == 1


async def test_an_answer_is_read_at_a_least_rate() -> None:
    """Who asks for much and does not read loses the connection."""
    async with served() as place, await place.connect() as stream:
        await stream.send(GET.replace(b"GET /", b"GET /large"))
        await settle(lambda: bool(place.bodies))
        await anyio.wait_all_tasks_blocked()
        place.look()
        place.look(RATE_SECONDS + 1)
        assert place.ended("reader_slow") == 1
        assert len(await said(stream)) < LARGE_BYTES


async def test_a_body_whose_answer_is_out_is_read_over_for_a_while() -> None:
    """A client that is still sending hears its answer; one that never ends does not keep the connection."""
    async with served() as place, await place.connect() as stream:
        assert await answered(stream, b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun")
        await stream.send(bytes(1000))
        await anyio.wait_all_tasks_blocked()
        place.look()
        place.look(PASS_OVER_SECONDS_MAX + 1)
        assert await said(stream) == b""


async def test_what_is_no_request_ends_the_connection() -> None:
    """400, and what follows is never read as a request: neither as the first, nor behind one that was fine."""
    smuggled = (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET * 2
    )
    async with served() as place:
        for before in (b"", GET):
            async with await place.connect() as stream:
                await stream.send(before + smuggled)
                text = await said(stream)
                assert text.count(b"HTTP/1.1 ") == 1 + bool(before) or (before and text.count(b"HTTP/1.1 ") == 1)
                assert text.count(b"HTTP/1.1 200") <= bool(before)
        for wrong in (
            b"\x16\x03\x01\x00",
            b"nonsense\r\n\r\n",
            GET.replace(b"Host: a", b"A: b"),
            b"GET / HTTP/9\r\n\r\n",
        ):
            async with await place.connect() as stream:
                await stream.send(wrong + b"\r\n\r\n")
                assert (await said(stream)).startswith(b"HTTP/1.1 400 ")
        assert len(place.bodies) <= 1


async def test_a_broken_body_is_heard_of_by_both() -> None:
    """A chunk that is none in the middle of a body: 400 to the client, gone to the application."""
    async with served() as place, await place.connect() as stream:
        await stream.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await settle(place.reached.is_set)
        await stream.send(b"nonsense\r\n")
        assert (await said(stream)).startswith(b"HTTP/1.1 400 ")
        await settle(lambda: bool(place.gone))


@pytest.mark.parametrize("kind", ["silent", "half", "resting", "body", "reading"])
async def test_one_crowd_takes_nobody_elses_place(kind: str) -> None:
    """However the connections of one region sit there, newcomers of another get in and stay; its own may not push."""
    async with served(ROOM) as place, AsyncExitStack() as stack:
        for number in range(3 * ROOM):
            hostile = await place.connect(f"127.2.{number}.1")
            stack.push_async_callback(anyio.aclose_forcefully, hostile)
            try:
                if kind == "half":
                    await hostile.send(GET[:-2])
                if kind == "resting":
                    await answered(hostile)
                if kind == "body":
                    await hostile.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1")
                if kind == "reading":
                    await hostile.send(GET.replace(b"GET /", b"GET /large"))
            except anyio.BrokenResourceError:
                pass  # it was sent away
            await anyio.wait_all_tasks_blocked()
        honest = [await stack.enter_async_context(await place.connect(f"127.1.{n}.1")) for n in range(ROOM // 4)]
        assert [await answered(stream) for stream in honest] == [True] * len(honest)
        for number in range(ROOM):
            hostile = await place.connect(f"127.2.0.{number + 2}")
            stack.push_async_callback(anyio.aclose_forcefully, hostile)
            await anyio.wait_all_tasks_blocked()
        assert [await answered(stream) for stream in honest] == [True] * len(honest)


async def test_where_all_work_there_is_no_room() -> None:
    """Requests under way of equals are not broken off for a newcomer: it hears 503, and when to try again."""
    async with served(2) as place, AsyncExitStack() as stack:
        for number in (1, 2):
            stream = await stack.enter_async_context(await place.connect(f"127.{number}.0.1"))
            await stream.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1")
            await settle(place.reached.is_set)
            await anyio.wait_all_tasks_blocked()
        newcomer = await stack.enter_async_context(await place.connect("127.3.0.1"))
        text = await said(newcomer)
        assert text.startswith(b"HTTP/1.1 503 ") and b"Retry-After: " in text
        assert place.ended("no_room") == 1


async def test_connections_of_a_proxy_are_not_of_one_crowd() -> None:
    """A named proxy has as many as it needs: they are not ended for others."""
    async with served(ROOM, ("127.2.0.0/16",)) as place, AsyncExitStack() as stack:
        behind = [await stack.enter_async_context(await place.connect("127.2.0.1")) for _ in range(ROOM - 1)]
        assert all([await answered(stream) for stream in behind])
        for number in range(ROOM):
            await stack.enter_async_context(await place.connect(f"127.3.{number}.1"))
        assert all([await answered(stream) for stream in behind])


async def test_a_drain_ends_with_connections_that_were_sent_away() -> None:
    """Whoever was refused and does not go does not keep the process."""
    async with served() as place, await place.connect() as stream:
        await stream.send(b"nonsense\r\n\r\n")
        await settle(lambda: place.ended("status_400") == 1)
        place.look(LINGER_SECONDS_MAX)
