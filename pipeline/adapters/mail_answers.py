"""What a refusal of the relay is about: the recipient's mailbox, a moment, us, or our mail. A table, read from above.

Owns     the one place that says which answers may become a fact about a person (C.2): the rows with cause "mailbox"
Rules    pure; the first row that fits rules, and the last one fits everything: what nobody listed is ours, and a person
         looks. A mailbox is believed only when the command was about it (RCPT, DATA: a mail has one recipient), the
         code refuses a recipient, and the status names the recipient's address or mailbox, the same in every line.
         A bare 550 is not enough: RFC 5321 has it for a mailbox that is not there *and* for a command that a policy
         forbids, and "relaying denied" is said with it as often as "no such user". 551, 553 and 554 likewise
Elsewhere: how the answers come (mail.py), what is made of them (pipeline/notices)
Source   RFC 5321 4.2 (codes) and 3.8 (421), RFC 2034 (where the status stands), RFC 3463 and the registry of RFC 5248
         (statuses), RFC 1870 (size), RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 6531 (addresses beyond ASCII), RFC 7372
         (authentication of our domain), RFC 7504 and 7505 (521, 556, domains that take no mail)
"""

import re
from dataclasses import dataclass
from typing import Literal

from pipeline.ports.outside import Cause, SmtpPhase

Subject = Cause | Literal["mailbox"]
NUMBER = r"(0|[1-9][0-9]{0,2})"  # without leading zeros
STATUS = re.compile(rf"[245]\.{NUMBER}\.{NUMBER}(?!\S)", re.ASCII)  # RFC 3463 section 2, RFC 2034 section 4
BARE = "bare"  # no status, or not the same one in every line

ANY: tuple[SmtpPhase, ...] = ("connect", "ehlo", "tls", "auth", "mail", "rcpt", "data")
BEFORE: tuple[SmtpPhase, ...] = ANY[:5]  # nobody has been named yet
NAMED: tuple[SmtpPhase, ...] = ("rcpt", "data")  # data: the answer to DATA, and to the end of the mail
REFUSES_RECIPIENT = "550 551 553 554 556"


@dataclass(frozen=True, slots=True)
class Row:
    """Codes and statuses are patterns, each as it is written, x for any digit, `*` for all that follows."""

    phases: tuple[SmtpPhase, ...]
    codes: str
    statuses: str
    subject: Subject
    source: str

    def fits(self, phase: SmtpPhase, code: int, status: str) -> bool:
        """Whether this answer is meant."""
        return phase in self.phases and _is_any(str(code), self.codes) and _is_any(status, self.statuses)


TABLE: tuple[Row, ...] = (
    # ---------------------------------------------------------------- whatever was asked
    Row(ANY, "421", "*", "later", "RFC 5321 3.8: the service closes, as an answer to any command"),
    # ---------------------------------------------------------------- before anybody is named
    Row(("auth",), "432", "*", "ours", "RFC 4954 6: our password needs a transition, which takes a person"),
    Row(("mail",), "552", "5.2.3 5.3.4", "message", "RFC 1870 6.1: the size that was announced is too much"),
    Row(BEFORE, "4xx", "*", "later", "RFC 5321 4.2.1, RFC 3207 4 and RFC 4954 6 (454): try again"),
    Row(BEFORE, "5xx", "*", "ours", "RFC 5321 3.1 (554), RFC 7504 (521), RFC 4954 6 (530, 534, 535, 538): not with us"),
    # ---------------------------------------------------------------- the recipient, or the mail to them
    Row(NAMED, "4xx", "*", "later", "RFC 5321 4.2.1: a code that says later, whatever the status beside it says"),
    Row(NAMED, "530 534 535 538", "*", "ours", "RFC 4954 6: a login, or a stronger one, is wanted"),
    Row(NAMED, "5xx", "4.*", "later", "RFC 3463 2: code and status disagree; the milder one rules"),
    Row(NAMED, REFUSES_RECIPIENT, "5.1.1", "mailbox", "RFC 3463 3.2: no such mailbox"),
    Row(NAMED, REFUSES_RECIPIENT, "5.1.2", "mailbox", "RFC 3463 3.2: what is right of the @ takes no mail"),
    Row(NAMED, REFUSES_RECIPIENT, "5.1.4", "mailbox", "RFC 3463 3.2: the address is that of more than one mailbox"),
    Row(NAMED, REFUSES_RECIPIENT, "5.1.6", "mailbox", "RFC 3463 3.2: the mailbox has moved, nobody says where to"),
    Row(NAMED, REFUSES_RECIPIENT, "5.1.10", "mailbox", "RFC 7505 4.1: the recipient's domain has a null MX"),
    Row(NAMED, REFUSES_RECIPIENT, "5.2.1", "mailbox", "RFC 3463 3.3: the mailbox is disabled"),
    Row(("rcpt",), "556", BARE, "mailbox", "RFC 7504 4: the recipient's domain takes no mail; it means nothing else"),
    Row(NAMED, "5xx", "5.2.2", "later", "RFC 3463 3.3: the mailbox is full; its owner may empty it"),
    Row(("rcpt",), "552", BARE, "later", "RFC 5321 4.2.3 and 4.5.3.1.10: no room, or too many recipients"),
    Row(NAMED, "5xx", "5.2.0 5.2.4", "later", "RFC 3463 3.3: the mailbox exists, or a list behind it has a problem"),
    Row(NAMED, "5xx", "5.3.1 5.3.2", "later", "RFC 3463 3.4: a full system, or one that takes nothing now"),
    Row(NAMED, "5xx", "5.4.*", "later", "RFC 3463 3.5: routes, name servers, congestion; between them and the mailbox"),
    Row(NAMED, "5xx", "5.5.3", "later", "RFC 3463 3.6: too many recipients"),
    Row(NAMED, "5xx", "5.2.3 5.3.3 5.3.4", "message", "RFC 3463 3.3 and 3.4, RFC 1870: length, or what the mail needs"),
    Row(("data",), "552", BARE, "message", "RFC 1870 6.3: longer than the relay takes"),
    Row(NAMED, "5xx", "5.6.7", "ours", "RFC 6531 3.5: an address beyond ASCII, which we should not have sent"),
    Row(NAMED, "5xx", "5.6.*", "message", "RFC 3463 3.7: what is in the mail"),
    Row(("data",), "554", BARE, "message", "RFC 5321 4.2.3: the transaction failed, after the mail was read"),
    Row(NAMED, "5xx", "5.7.*", "ours", "RFC 3463 3.8, RFC 7372 3, RFC 7505 4.2: policy, relaying, SPF, DKIM"),
    Row(NAMED, "5xx", "5.1.7 5.1.8", "ours", "RFC 3463 3.2: the sender's address; relays tell it at RCPT"),
    Row(ANY, "*", "*", "ours", "whatever nobody listed: no fact about anybody until a person has looked"),
)


def subject_of(phase: SmtpPhase, code: int, text: str) -> tuple[Subject, str]:
    """What the refusal is about, and its status (BARE: none)."""
    status = status_of(text)
    return next(row.subject for row in TABLE if row.fits(phase, code, status)), status


def status_of(text: str) -> str:
    """The enhanced status of an answer: it begins the first line, and each later line that has one has the same."""
    statuses = [m.group() if (m := STATUS.match(line)) else BARE for line in text.split("\n")]
    return statuses[0] if set(statuses) <= {statuses[0], BARE} else BARE


def _is_any(text: str, patterns: str) -> bool:
    return any(_is_like(text, pattern) for pattern in patterns.split())


def _is_like(text: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return len(text) == len(pattern) and all(p in ("x", t) for t, p in zip(text, pattern, strict=True))
