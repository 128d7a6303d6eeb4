"""A relay that takes every mail at once and keeps none: the outside, as fast as it can be.   python -m bench.smtp_sink

Owns     enough of RFC 5321 and of PIPELINING (RFC 2920) for a relay that is never the bottleneck
Rules    answers exactly one line a command, DATA only up to the lone dot; it stores nothing
"""

import asyncio
import signal
import sys
from typing import cast

import uvloop

from deploy.local.layout import HOST
from pipeline.formats.configuration import load_from_environment
from pipeline.process.readiness import notify

EHLO = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 33554432\r\n"
OK, DATA, BYE, UNKNOWN = b"250 2.0.0 Ok\r\n", b"354 go on\r\n", b"221 2.0.0 Bye\r\n", b"502 5.5.2 What?\r\n"
END = b"\r\n.\r\n"
LINE_BYTES_MAX = 4096
CONNECTIONS_WAITING_MAX = 512
ANSWERS = {b"EHLO": EHLO, b"HELO": OK, b"MAIL": OK, b"RCPT": OK, b"RSET": OK, b"NOOP": OK, b"DATA": DATA, b"QUIT": BYE}


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._rest = b""
        self._in_data = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is one by behaviour, not by descent
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answers every whole command, and every whole mail, in one write."""
        self._rest += data
        answers = b""
        while self._rest:
            mark = END if self._in_data else b"\r\n"
            piece, separator, after = self._rest.partition(mark)
            if not separator:
                if self._in_data:
                    self._rest = self._rest[-len(END) + 1 :]  # what came before cannot be part of the end
                elif len(self._rest) > LINE_BYTES_MAX:
                    self._close()
                break
            self._rest = after
            answers += self._answer(piece)
        if self._transport is not None and answers:
            self._transport.write(answers)
            if answers.endswith(BYE):
                self._close()

    def _answer(self, piece: bytes) -> bytes:
        if self._in_data:
            self._in_data = False
            return OK
        answer = ANSWERS.get(piece[:4].upper(), UNKNOWN)
        self._in_data = answer is DATA
        return answer

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._rest = b""


async def serve() -> None:
    """Until SIGTERM."""
    port = load_from_environment().mail.port
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(Sink, HOST, port, backlog=CONNECTIONS_WAITING_MAX)
    notify("READY=1")
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
    sys.exit(0)
