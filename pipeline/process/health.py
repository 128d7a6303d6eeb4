"""How a process is, over HTTP: the answers, and the one small server that gives them, on loopback unless told other.

Owns     /healthz (the event loop turns), /readyz (it can work now), /metrics (what its recorder holds)
Rules    the server reads one small request head, answers, closes; it runs in the loop of the process, so that it tells
         when that hangs. /healthz asks nothing outside: a stalled disk or database cannot make a live process look
         dead. The port is shared by the old and the new process of a rolling restart for as long as both run
Elsewhere: the same answers on the gateway's own address (gateway/health.py); depth and age of mailboxes: one process
         asks the database for those (pipeline/measures)
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import anyio
from anyio.abc import SocketStream

from pipeline.process.exposition import CONTENT_TYPE, exposition
from pipeline.process.recorder import Recorder

ALIVE, READY, METRICS = PATHS = ("/healthz", "/readyz", "/metrics")
PUBLIC_PATHS = (ALIVE, READY)  # what a balancer asks of a process that serves others
HEAD_BYTES_MAX = 4096
EXCHANGE_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """What a request gets: a status, and text of exposition.CONTENT_TYPE."""

    status: HTTPStatus
    text: bytes


class Health:
    """Of one process. missing: what it lacks to work now, "" when nothing; not given: an epoch of its recorder."""

    def __init__(
        self,
        recorder: Recorder,
        is_draining: Callable[[], bool],
        missing: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._recorder = recorder
        self._is_draining = is_draining
        self._missing = missing or self._missing_epoch

    async def answer(self, path: str) -> HealthAnswer:
        """To a GET."""
        if path == ALIVE:
            return HealthAnswer(HTTPStatus.OK, b"alive\n")
        if path == READY:
            missing = "draining" if self._is_draining() else await self._missing()
            if missing:
                return HealthAnswer(HTTPStatus.SERVICE_UNAVAILABLE, f"{missing}\n".encode())
            return HealthAnswer(HTTPStatus.OK, b"ready\n")
        if path == METRICS:
            return HealthAnswer(HTTPStatus.OK, exposition(self._recorder))
        return HealthAnswer(HTTPStatus.NOT_FOUND, f"{' '.join(PATHS)}\n".encode())

    async def _missing_epoch(self) -> str:
        return "" if self._recorder.is_ready else "no epoch"


async def serve(host: str, port: int, health: Health) -> None:
    """For ever."""

    async def exchange(stream: SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(EXCHANGE_SECONDS_MAX):
                try:
                    await stream.send(_response(await _answer(await _request_line(stream), health)))
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return

    listener = await anyio.create_tcp_listener(local_host=host, local_port=port, reuse_port=True)
    await listener.serve(exchange)


async def _request_line(stream: SocketStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
        head += await stream.receive(HEAD_BYTES_MAX)
    return head.split(b"\r\n", 1)[0]


async def _answer(request_line: bytes, health: Health) -> HealthAnswer:
    method, _, rest = request_line.partition(b" ")
    if method != b"GET":
        return HealthAnswer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET only\n")
    return await health.answer(rest.partition(b" ")[0].decode("latin-1"))


def _response(answer: HealthAnswer) -> bytes:
    """The whole of it (RFC 9112 section 2.1)."""
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(answer.text)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + answer.text
