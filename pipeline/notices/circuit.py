"""Whether the relay takes anybody's mail at all. While it does not, no mail is tried but one probe at a time.

Owns     the count of refusals since the last mail that was taken, and what they mean
Rules    a relay that answers to REFUSED_RECIPIENTS_MAX different recipients as it would answer to anybody is not well,
         nor is one that knows no mailbox at REFUSED_DOMAINS_MAX different domains, or of GONE_RECIPIENTS_MAX recipients
         at GONE_DOMAINS_MIN: a table or a name server is broken, not all these people. Of fewer domains it is believed:
         a company may have closed. One mail that it takes makes it well
         in memory: a process that starts believes again
Elsewhere: what an answer is about (adapters/mail_answers.py), who waits, and how long (relaying.py)
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from pipeline.ports.outside import MailAnswer, MailRefused, Relayed

REFUSED_RECIPIENTS_MAX = 5  # in a row; one or two may well be a domain's policy about us
REFUSED_DOMAINS_MAX = 10  # in a row; of a list of old addresses some still take mail
GONE_RECIPIENTS_MAX = 20  # in a row, at
GONE_DOMAINS_MIN = 3  # domains
PROBE_SECONDS = 10.0  # from one probe to the next, and from the last refusal to the first probe


class Addressed(Protocol):
    """What a probe is chosen from."""

    @property
    def recipient(self) -> str:
        """The address."""


Post = TypeVar("Post", bound=Addressed)


class Circuit:
    """Of one relay, as one process sees it. Times: a clock that only goes forward."""

    def __init__(self) -> None:
        self.is_well = True
        self._recipients: set[str] = set()  # refused as anybody would be, since the last mail that was taken
        self._gone: set[str] = set()  # whose mailbox it did not know, likewise; no more than count
        self._domains: set[str] = set()  # of those
        self._probe_at = 0.0

    def hear(self, recipient: str, answer: MailAnswer, now: float) -> None:
        """One answer more."""
        if isinstance(answer, Relayed):
            self.is_well = True
            for refused in (self._recipients, self._gone, self._domains):
                refused.clear()
        elif self.is_well:
            if isinstance(answer, MailRefused):
                self._domains.add(_domain(recipient))
                if len(self._gone) < GONE_RECIPIENTS_MAX:
                    self._gone.add(recipient)
            elif answer.is_for_everybody:
                self._recipients.add(recipient)
            self.is_well = not self._is_refusing()
            self._probe_at = now + PROBE_SECONDS

    def _is_refusing(self) -> bool:
        if len(self._recipients) >= REFUSED_RECIPIENTS_MAX or len(self._domains) >= REFUSED_DOMAINS_MAX:
            return True
        return len(self._gone) >= GONE_RECIPIENTS_MAX and len(self._domains) >= GONE_DOMAINS_MIN

    def probe(self, posts: Sequence[Post], now: float) -> Post | None:
        """The one that may be tried although the relay is not well; None: not yet. First one who was not refused."""
        if not posts or now < self._probe_at:
            return None
        self._probe_at = now + PROBE_SECONDS
        refused = self._domains | {_domain(recipient) for recipient in self._recipients}
        return next((post for post in posts if _domain(post.recipient) not in refused), posts[0])


def _domain(recipient: str) -> str:
    return recipient.rpartition("@")[2].lower()
