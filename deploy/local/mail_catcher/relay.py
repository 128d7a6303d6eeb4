"""The SMTP side: takes every mail and sends none on.

Owns     the answers to RCPT and DATA
Rules    two local parts are refused, to show what a relay's refusal does: bounces@ for ever (550), later@ for now (451)
"""

import re

from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.mail_catcher.spool import Spool

MAIL_BYTES_MAX = 10 * 1024 * 1024
RECIPIENTS_MAX = 100
REFUSED = (
    (re.compile(r"bounces(\+[^@]*)?@"), "550 5.1.1 No such mailbox"),  # RFC 3463: bad destination mailbox
    (re.compile(r"later(\+[^@]*)?@"), "451 4.3.0 Try again later"),
)


class Relay:
    """The handler that aiosmtpd calls; method names are its own."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        for pattern, answer in REFUSED:
            if pattern.match(address.lower()):
                return answer
        if len(envelope.rcpt_tos) >= RECIPIENTS_MAX:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        mail_id = self._spool.keep(envelope.original_content or b"")
        for address in envelope.rcpt_tos:
            self._spool.waiting.add(mail_id, address)
        return f"250 2.0.0 kept as {mail_id}"


def protocol(spool: Spool) -> SMTP:
    """One connection's protocol."""
    return SMTP(Relay(spool), data_size_limit=MAIL_BYTES_MAX, enable_SMTPUTF8=True, hostname="mail-catcher.example")
