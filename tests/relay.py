"""A relay that says what it is told, over a real SMTP conversation on this machine."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Literal

import anyio
from anyio.abc import AnyByteStream, ByteStream, SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from pipeline.adapters.mail import RelayMailer
from pipeline.formats.configuration import MailSettings
from tests.fakes.pki import Signer
from tests.tls_door import context_of

HANG_UP = b""
LINE_BYTES_MAX = 1000  # RFC 5321 section 4.5.3.1.6


GONE = (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)


@asynccontextmanager
async def relay(
    answers: Mapping[str, bytes],
    verbs: list[str] | None = None,
    closes_after_mails: int | None = None,
    gives_up_after_mails: int | None = None,
    mails_per_second_max: int | None = None,
    certificate: Signer | None = None,
    authority: Signer | None = None,
    security: Literal["none", "starttls", "tls"] = "none",
) -> AsyncIterator[RelayMailer]:
    """A mailer whose relay answers 250 to everything but the commands in `answers` ("*" is the connection, "." the end
    of the mail; HANG_UP: it says nothing and goes). certificate: it speaks TLS; the mailer trusts `authority`.

    What it heard is added to `verbs`.
    """
    context = None if certificate is None else context_of(certificate)

    async def serve(socket: SocketStream) -> None:
        with suppress(*GONE):
            async with socket:
                await converse(await secured(socket) if security == "tls" else socket)

    async def secured(stream: AnyByteStream) -> ByteStream:
        assert context is not None
        return await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)

    async def converse(stream: ByteStream) -> None:
        lines = BufferedByteReceiveStream(stream)
        in_mail, mails = False, 0
        going_on = await answer(stream, answers.get("*", b"220 relay"))
        while going_on and mails != closes_after_mails:
            line = (await lines.receive_until(b"\r\n", LINE_BYTES_MAX)).decode()
            if in_mail and line != ".":
                continue
            verb = line[:4].upper().strip()
            in_mail = verb == "DATA"
            mails += verb == "."
            if verbs is not None:
                verbs.append(verb)
            if verb == "MAIL" and mails == gives_up_after_mails:
                await stream.send(b"421 4.4.2 timeout\r\n")
                return
            going_on = await answer(stream, answer_to(verb))
            if verb == "STAR" and verb not in answers:
                stream = await secured(stream)
                lines = BufferedByteReceiveStream(stream)

    def answer_to(verb: str) -> bytes:
        greeting = b"250-relay\r\n250 STARTTLS" if context else b"250 relay"
        usual = {"DATA": b"354 go on", "EHLO": greeting, "STAR": b"220 go on"}
        same = "EHLO" if verb == "HELO" else verb
        return answers.get(same, usual.get(same, b"250 2.0.0 done"))

    async def answer(stream: ByteStream, line: bytes) -> bool:
        if line != HANG_UP:
            await stream.send(line + b"\r\n")
        return line != HANG_UP

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        trusted = None if authority is None else ssl.create_default_context(cadata=authority.pem.decode())
        settings = MailSettings(
            "127.0.0.1", port, security, "Provider <notice@example.org>", mails_per_second_max=mails_per_second_max
        )
        mailer = RelayMailer(settings, trusted)
        yield mailer
        await mailer.aclose()
        tasks.cancel_scope.cancel()
