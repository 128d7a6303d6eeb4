"""Hand a notice to the relay (RFC 5321), one recipient a mail, TLS required outside an embedded installation.

Owns     what an answer means: 2xx the relay has it, 5xx to recipient or mail is for ever, everything else "not now".
         5xx to the sender is about us (no credentials, no TLS, a wrong address): no recipient's refusal, so "not now"
Rules    the envelope sender is configuration; the bytes are the stored ones, never rebuilt; every step has a deadline
Not here what a refusal means for the delivery (stages/notify.py). aiosmtplib is imported here only
"""

import ssl
from email.utils import parseaddr

import aiosmtplib
import anyio

from pipeline.config import Mail
from pipeline.errors import Transient
from pipeline.ports import MailRefused, Relayed

SEND_SECONDS = 20.0  # connect, TLS, MAIL, RCPT, DATA and the answer
PERMANENT = range(500, 600)
TEXT_LENGTH_MAX = 200


class RelayMailer:
    """ports.Mailer over one relay."""

    def __init__(self, config: Mail, tls: ssl.SSLContext | None = None) -> None:
        self._config = config
        self._tls = tls or (None if config.security == "none" else ssl.create_default_context())

    async def send(self, recipient: str, mail: bytes) -> Relayed | MailRefused:
        """One mail over one connection."""
        client = aiosmtplib.SMTP(
            hostname=self._config.host,
            port=self._config.port,
            use_tls=self._config.security == "tls",
            start_tls=self._config.security == "starttls",  # True: no STARTTLS is an error, never plain text
            tls_context=self._tls,
            timeout=SEND_SECONDS,
        )
        try:
            with anyio.fail_after(SEND_SECONDS):
                return await self._deliver(client, recipient, mail)
        except (TimeoutError, OSError, aiosmtplib.SMTPException) as error:
            raise Transient(f"relay: {type(error).__name__}") from error
        finally:
            client.close()

    async def _deliver(self, client: aiosmtplib.SMTP, recipient: str, mail: bytes) -> Relayed | MailRefused:
        await client.connect()
        try:
            refused, answer = await client.sendmail(parseaddr(self._config.from_address)[1], [recipient], mail)
        except aiosmtplib.SMTPRecipientsRefused as error:
            first = error.recipients[0]
            return _permanent(first.code, first.message, error)
        except aiosmtplib.SMTPDataError as error:
            return _permanent(error.code, error.message, error)
        if refused:
            raise Transient("the relay took the mail and refused its only recipient")
        return Relayed(250, answer[:TEXT_LENGTH_MAX], _tls_version(client))


def _permanent(code: int, text: str, error: aiosmtplib.SMTPException) -> MailRefused:
    """5xx stays 5xx; anything else is tried again."""
    if code not in PERMANENT:
        raise Transient(f"relay: {code}") from error
    return MailRefused(code, text.replace("\n", " ")[:TEXT_LENGTH_MAX])


def _tls_version(client: aiosmtplib.SMTP) -> str | None:
    session = client.transport.get_extra_info("ssl_object") if client.transport else None
    return None if session is None else str(session.version())
