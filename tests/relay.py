"""A relay that says what it is told, over a real SMTP conversation on this machine."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from pipeline.adapters.mail import RelayMailer
from pipeline.formats.configuration import MailSettings

LINE_BYTES_MAX = 1000  # RFC 5321 section 4.5.3.1.6


@asynccontextmanager
async def relay(
    answers: Mapping[str, bytes],
    verbs: list[str] | None = None,
    closes_after_mails: int | None = None,
    gives_up_after_mails: int | None = None,
    mails_per_second_max: int | None = None,
) -> AsyncIterator[RelayMailer]:
    """A mailer whose relay answers 250 to everything but the commands in `answers` ("." is the end of the mail).

    What it heard is added to `verbs`.
    """

    async def converse(stream: SocketStream) -> None:
        async with stream:
            lines = BufferedByteReceiveStream(stream)
            await stream.send(b"220 relay\r\n")
            in_mail, mails = False, 0
            while mails != closes_after_mails:
                try:
                    line = (await lines.receive_until(b"\r\n", LINE_BYTES_MAX)).decode()
                except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
                    return
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
                said = answers.get(verb, b"354 go on" if in_mail else b"250 2.0.0 done")
                await stream.send(said + b"\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, converse)
        sender = "Provider <notice@example.org>"
        mailer = RelayMailer(MailSettings("127.0.0.1", port, "none", sender, mails_per_second_max=mails_per_second_max))
        yield mailer
        await mailer.aclose()
        tasks.cancel_scope.cancel()
