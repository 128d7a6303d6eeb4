"""One stage's health over HTTP, on loopback.

Owns     /healthz (the event loop turns), /readyz (the epoch lives), /metrics (what the recorder holds)
Rules    reads one small request head, answers, closes; runs in the stage's own loop, so that it tells when that hangs.
         Its port is shared by the old and the new process of a rolling restart for as long as both run
Elsewhere: depth and age of mailboxes: one process asks the database for those (pipeline/measures)
"""

import anyio
from anyio.abc import SocketStream

from pipeline.process.exposition import CONTENT_TYPE, exposition
from pipeline.process.recorder import Recorder

HEAD_BYTES_MAX = 4096
EXCHANGE_SECONDS_MAX = 5.0


async def serve(port: int, stage: str, recorder: Recorder) -> None:
    """For ever."""

    async def exchange(stream: SocketStream) -> None:
        async with stream:
            with anyio.move_on_after(EXCHANGE_SECONDS_MAX):
                try:
                    await stream.send(_answer(await _request_line(stream), stage, recorder))
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port, reuse_port=True)
    await listener.serve(exchange)


def _answer(request_line: bytes, stage: str, recorder: Recorder) -> bytes:
    method, _, rest = request_line.partition(b" ")
    path = rest.partition(b" ")[0]
    if method != b"GET":
        return _response("405 Method Not Allowed", "GET only\n")
    if path == b"/healthz":
        return _response("200 OK", "alive\n")
    if path == b"/readyz":
        return (
            _response("200 OK", "ready\n") if recorder.is_ready else _response("503 Service Unavailable", "no epoch\n")
        )
    if path == b"/metrics":
        return _response("200 OK", exposition(recorder).decode())
    return _response("404 Not Found", "healthz, readyz, metrics\n")


async def _request_line(stream: SocketStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
        head += await stream.receive(HEAD_BYTES_MAX)
    return head.split(b"\r\n", 1)[0]


def _response(status: str, body: str) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return (head + body).encode()
