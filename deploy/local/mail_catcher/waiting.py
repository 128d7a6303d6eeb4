"""Mails to people who act by themselves: which ones wait to be read by them.

Owns     the addresses accepts@, refuses@, mismatch@; STATE/mail/waiting, an empty file MAIL_ID.ACT for each such mail
Rules    any tag (accepts+7@) and any domain under .example (RFC 2606), nowhere else. All other mails are passed over as
         they come, so a million of them cost the readers nothing. A mail waits until it is put away, over restarts too
Elsewhere: the acts (deploy/local/recipients.py); bounces@ and later@, which never become a mail (relay.py)
"""

import re
from dataclasses import dataclass
from pathlib import Path

import anyio

ACTING = re.compile(r"(?P<act>accepts|refuses|mismatch)(?:\+[^@]*)?@(?:[^@]+\.)?example")
LISTED_MAX = 100
WAIT_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """One mail, and what its recipient does."""

    id: str
    act: str


def act_of(address: str) -> str | None:
    """What who has this address does by themselves, if anything."""
    match = ACTING.fullmatch(address.lower())
    return match["act"] if match else None


class Waiting:
    """The folder, and a bell for who waits for its next mail."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rung = anyio.Event()
        self._has_ended = False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, mail_id: str, address: str) -> None:
        """Notes a kept mail, when somebody reads it who acts by themselves."""
        if (act := act_of(address)) is not None:
            (self._folder / f"{mail_id}.{act}").touch()
            self._ring()

    def oldest(self) -> list[WaitingMail]:
        """The first hundred, in order of arrival."""
        names = sorted(path.name for path in self._folder.iterdir())[:LISTED_MAX]
        return [WaitingMail(*name.split(".", 1)) for name in names]

    def put_away(self, mail_id: str) -> None:
        """It is read. May be called twice."""
        for path in self._folder.glob(f"{mail_id}.*"):
            path.unlink(missing_ok=True)

    async def wait(self, seconds: float) -> list[WaitingMail]:
        """The oldest; when there are none, those that come within so many seconds."""
        mails = self.oldest()
        if not mails and not self._has_ended:
            with anyio.move_on_after(min(seconds, WAIT_SECONDS_MAX)):
                await self._rung.wait()
            mails = self.oldest()
        return mails

    def end(self) -> None:
        """Nobody waits any longer: the catcher stops."""
        self._has_ended = True
        self._ring()

    def _ring(self) -> None:
        self._rung.set()
        self._rung = anyio.Event()
