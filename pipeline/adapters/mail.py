"""Hand a notice to the relay (RFC 5321), one recipient a mail, TLS required outside an embedded installation.

Owns     the warm connections, how many there may be, how many mails a second; which command was answered
Rules    the envelope sender is configuration; the bytes are the stored ones, never rebuilt; every step has a deadline;
         a connection is used again only after a mail that went well, and a relay that closed it meanwhile costs nothing
Elsewhere: what a refusal is about (mail_answers.py), what it means for the delivery (notices/answers.py).
         aiosmtplib is imported here only
"""

import ssl
from email.utils import parseaddr

import aiosmtplib
import anyio

from pipeline.adapters.mail_answers import BARE, subject_of
from pipeline.errors import Transient
from pipeline.formats.configuration import MailSettings
from pipeline.ports.outside import MailAnswer, MailRefused, NotTaken, Relayed, SmtpPhase

SEND_SECONDS = 20.0  # connect, TLS, MAIL, RCPT, DATA and the answer
IDLE_SECONDS_MAX = 20.0  # relays close idle connections after some minutes, strict ones after half a one
MAILS_PER_CONNECTION_MAX = 100  # as relays commonly limit it
TEXT_LENGTH_MAX = 200
BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError)  # the relay is away in the middle of a handshake
NOT_SMTP = -1  # aiosmtplib's code for a line that is no answer
PHASES: tuple[tuple[type[aiosmtplib.SMTPResponseException], SmtpPhase], ...] = (
    (aiosmtplib.SMTPRecipientRefused, "rcpt"),
    (aiosmtplib.SMTPDataError, "data"),
    (aiosmtplib.SMTPSenderRefused, "mail"),
    (aiosmtplib.SMTPAuthenticationError, "auth"),
    (aiosmtplib.SMTPHeloError, "ehlo"),
    (aiosmtplib.SMTPConnectResponseError, "connect"),
    (aiosmtplib.SMTPResponseException, "tls"),  # none of the others: the answer to STARTTLS
)


class Connection:
    """One connection to the relay; `mails` have gone over it."""

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        self.client = client
        self.mails = 0
        self.used_at = 0.0

    def is_good(self, now: float) -> bool:
        """Whether another mail may go over it."""
        young = now - self.used_at < IDLE_SECONDS_MAX
        return young and self.mails < MAILS_PER_CONNECTION_MAX and self.client.is_connected


class RelayMailer:
    """pipeline.ports.outside.Mailer over one relay."""

    def __init__(self, config: MailSettings, tls: ssl.SSLContext | None = None) -> None:
        self.at_once = config.connections_max
        self._config = config
        self._sender = parseaddr(config.from_address)[1]
        self._tls = tls or (None if config.security == "none" else ssl.create_default_context())
        self._idle: list[Connection] = []  # the last one was used last
        self._next_mail_at = 0.0

    async def send(self, recipient: str, mail: bytes) -> MailAnswer:
        """One mail over a warm connection, or over a new one."""
        await self._keep_pace()
        connection, answer = self._lend(), None
        try:
            with anyio.fail_after(SEND_SECONDS):
                answer = await self._deliver(connection, recipient, mail)
        except aiosmtplib.SMTPResponseException as error:
            return _refusal(error)
        except (TimeoutError, OSError, aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError) as error:
            return _without_tls(error)
        except (ValueError, aiosmtplib.SMTPException):  # no STARTTLS, no AUTH there; an address that is not ASCII
            return NotTaken("ours", "tls", 0, BARE)
        finally:
            if answer is not None:
                connection.mails += 1
                connection.used_at = anyio.current_time()
                self._idle.append(connection)
            else:
                connection.client.close()
        return answer

    async def aclose(self) -> None:
        """Drop what is idle; a relay needs no goodbye."""
        while self._idle:
            self._idle.pop().client.close()

    async def _keep_pace(self) -> None:
        rate = self._config.mails_per_second_max
        if rate is not None:
            now = anyio.current_time()
            turn = max(now, self._next_mail_at)
            self._next_mail_at = turn + 1 / rate
            await anyio.sleep(turn - now)

    def _lend(self) -> Connection:
        now = anyio.current_time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_good(now):
                return connection
            connection.client.close()
        config = self._config
        return Connection(
            aiosmtplib.SMTP(
                hostname=config.host,
                port=config.port,
                use_tls=config.security == "tls",
                start_tls=config.security == "starttls",  # True: no STARTTLS is an error, never plain text
                tls_context=self._tls,
                timeout=SEND_SECONDS,
            )
        )

    async def _deliver(self, connection: Connection, recipient: str, mail: bytes) -> Relayed:
        client = connection.client
        await self._begin(connection)
        await client.rcpt(recipient)
        answer = await client.data(mail)
        return Relayed(answer.code, answer.message[:TEXT_LENGTH_MAX], _tls_version(client))

    async def _begin(self, connection: Connection) -> None:
        """Up to the answer to MAIL. A relay may end an idle connection, with a 421 or without: nothing was sent yet."""
        client = connection.client
        if connection.mails:
            try:
                await client.mail(self._sender)
                return
            except aiosmtplib.SMTPException:  # whatever it was, a new connection says what holds
                client.close()
                connection.mails = 0
        await client.connect()
        await client.mail(self._sender)


def _refusal(error: aiosmtplib.SMTPResponseException) -> MailRefused | NotTaken:
    """What was answered to which command. Raises Transient for what is no answer at all."""
    if error.code == NOT_SMTP:
        raise Transient(f"relay: {type(error).__name__}") from error
    phase = next(phase for kind, phase in PHASES if isinstance(error, kind))
    subject, status = subject_of(phase, error.code, error.message)
    if subject == "mailbox":
        return MailRefused(error.code, error.message.replace("\n", " ")[:TEXT_LENGTH_MAX])
    return NotTaken(subject, phase, error.code, status)


def _without_tls(error: Exception) -> NotTaken:
    """Raises Transient, unless it is TLS that failed: a certificate does not become right by waiting."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, ssl.SSLError) and not isinstance(behind, BROKEN_OFF):
            return NotTaken("ours", "tls", 0, BARE)
        behind = behind.__cause__ or behind.__context__
    raise Transient(f"relay: {type(error).__name__}") from error


def _tls_version(client: aiosmtplib.SMTP) -> str | None:
    session = client.transport.get_extra_info("ssl_object") if client.transport else None
    return None if session is None else str(session.version())
