"""A relay in memory, for the simulation and for tests of `notify`.

Owns     what a relay may say to one mail: taken, refused for ever, not now, or taken with the answer lost on the way
Rules    no clock, no threads; `taken` is every mail that the relay accepted, in order, doubled ones included
"""

from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes

import anyio.lowlevel

from pipeline.errors import Transient
from pipeline.ports.outside import MailAnswer, MailRefused, NotTaken, Relayed

ACCEPT = "accept"
REFUSE = "refuse"
NOT_NOW = "not_now"
LOSE_ANSWER = "lose_answer"  # taken, but the sender never learns it


@dataclass(frozen=True, slots=True)
class Taken:
    """One mail that the relay accepted."""

    recipient: str
    message_id: str
    mail: bytes


class MemoryMailer:
    """pipeline.ports.outside.Mailer. `says(recipient, nth)`: the answer to mail nth (0, 1, ..) to that recipient."""

    def __init__(self, says: Callable[[str, int], str] = lambda _recipient, _nth: ACCEPT) -> None:
        self.taken: list[Taken] = []
        self.tries: dict[str, int] = {}
        self.at_once = 8
        self._says = says

    async def send(self, recipient: str, mail: bytes) -> MailAnswer:
        """As the relay decides."""
        await anyio.lowlevel.checkpoint()
        nth = self.tries.get(recipient, 0)
        self.tries[recipient] = nth + 1
        what = self._says(recipient, nth)
        if what == NOT_NOW:
            return NotTaken("later", "rcpt", 451, "4.3.0")
        if what == REFUSE:
            return MailRefused(550, "5.1.1 no such mailbox")
        self.taken.append(Taken(recipient, str(message_from_bytes(mail)["Message-ID"]), mail))
        await anyio.lowlevel.checkpoint()
        if what == LOSE_ANSWER:
            raise Transient("the relay's answer was lost")
        return Relayed(250, "2.0.0 queued", "TLSv1.3")
