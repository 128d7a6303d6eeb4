"""Where the gateway accepts connections, and how it takes leave of them.

Owns     the sockets: one that was handed over (sd_listen_fds(3), by the supervisor or a systemd socket unit), or one of
         our own; the farewell
Rules    a socket that was handed over outlives us: who connects while one gateway drains waits for the next one and is
         not refused
Source   RFC 9112 section 9.6: an answer with `Connection: close` is the last one on its connection
"""

import socket
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

BACKLOG_MAX = 512
ANSWER_BYTES_MAX = 256 * 1024  # of a connection in the kernel: who does not read gets no more answers made than that
FIRST_FD = 3  # SD_LISTEN_FDS_START


def inherited(environment: Mapping[str, str], pid: int) -> socket.socket | None:
    """The one socket that was handed over to the process `pid`; None when there is none."""
    if environment.get("LISTEN_PID") != str(pid) or environment.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=FIRST_FD)


def with_little_ahead(listener: socket.socket) -> socket.socket:
    """Its connections take so much of an answer, and then it waits for its reader."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWER_BYTES_MAX)
    return listener


def bound(host: str, port: int) -> socket.socket:
    """A socket of our own."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG_MAX)
    return listener


class Farewell:
    """While draining, every answer is the last one on its connection."""

    def __init__(self, inner: ASGIApp, draining: Callable[[], bool]) -> None:
        self._inner = inner
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(message: Message) -> None:
            if message["type"] == "http.response.start" and self._draining():
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self._inner(scope, receive, say)
