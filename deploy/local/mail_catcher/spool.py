"""Caught mails as files: one .eml per mail, exactly the bytes that came, named by order of arrival.

Owns     STATE/mail; reading a mail back as what a person wants to see; which mails wait (waiting.py)
Rules    a file appears whole (rename); nothing is flushed to disk: this stands in for other people's mailboxes
"""

import email
import email.policy
import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from pathlib import Path

from deploy.local.mail_catcher.waiting import Waiting

MAIL_ID = re.compile(r"\d{19}-\d{6}")
MAILS_LISTED_MAX = 500
LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]]")


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """One mail, decoded."""

    id: str
    subject: str
    sender: str
    to: str
    date: str
    message_id: str
    text: str
    links: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class Spool:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counter = itertools.count()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.waiting = Waiting(folder / "waiting")

    def keep(self, content: bytes) -> str:
        """Stores one mail and returns its id."""
        mail_id = f"{time.time_ns():019d}-{next(self._counter) % 1_000_000:06d}"
        draft = self._folder / f".{mail_id}.new"
        draft.write_bytes(content)
        draft.rename(self._folder / f"{mail_id}.eml")
        return mail_id

    def newest_first(self) -> Iterator[CaughtMail]:
        """The last few hundred."""
        for path in sorted(self._folder.glob("*.eml"), reverse=True)[:MAILS_LISTED_MAX]:
            yield decode(path.stem, path.read_bytes())

    def raw(self, mail_id: str) -> bytes | None:
        """The bytes that came; None when there is no such mail."""
        path = self._folder / f"{mail_id}.eml"
        return path.read_bytes() if MAIL_ID.fullmatch(mail_id) and path.exists() else None


def decode(mail_id: str, content: bytes) -> CaughtMail:
    """Headers and the plain text; of an HTML-only mail nothing is shown: a notice has to have a text."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    text = _plain_text(message)
    return CaughtMail(
        id=mail_id,
        subject=str(message.get("Subject", "(no subject)")),
        sender=str(message.get("From", "")),
        to=str(message.get("To", "")),
        date=str(message.get("Date", "")),
        message_id=str(message.get("Message-ID", "")),
        text=text,
        links=tuple(LINK.findall(text)),
    )


def _plain_text(message: EmailMessage) -> str:
    part = message.get_body(preferencelist=("plain",))
    if part is None:
        return ""
    try:
        return str(part.get_content())
    except (LookupError, ValueError):  # a charset nobody knows
        return str(part.get_payload())
