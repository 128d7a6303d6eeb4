"""The bridge's health over HTTP, on loopback.

Owns     /healthz (the process answers), /readyz (the token works and it serves), /metrics
Rules    reads one small request head, answers, closes; knows no header and no body
Elsewhere: the names and the numbers (pipeline/process)
"""

from collections.abc import Callable

import anyio
from anyio.abc import SocketStream

from pipeline.process.exposition import CONTENT_TYPE, exposition
from pipeline.process.recorder import Recorder

HEAD_BYTES_MAX = 4096
EXCHANGE_SECONDS_MAX = 5


async def serve(port: int, recorder: Recorder, ready: Callable[[], bool]) -> None:
    """For ever."""

    async def exchange(stream: SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(EXCHANGE_SECONDS_MAX):
                try:
                    await stream.send(answer(await _request_line(stream), recorder, ready()))
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    await listener.serve(exchange)


def answer(request_line: bytes, recorder: Recorder, ready: bool) -> bytes:
    """The whole response to a request line."""
    method, _, rest = request_line.partition(b" ")
    path = rest.partition(b" ")[0]
    if method != b"GET":
        return _response("405 Method Not Allowed", b"GET only\n")
    if path == b"/healthz":
        return _response("200 OK", b"alive\n")
    if path == b"/readyz":
        return _response("200 OK", b"ready\n") if ready else _response("503 Service Unavailable", b"token away\n")
    if path == b"/metrics":
        return _response("200 OK", exposition(recorder))
    return _response("404 Not Found", b"healthz, readyz, metrics\n")


async def _request_line(stream: SocketStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
        head += await stream.receive(HEAD_BYTES_MAX)
    return head.split(b"\r\n", 1)[0]


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
