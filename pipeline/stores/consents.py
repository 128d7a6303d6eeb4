"""What the gateway asks of the database about consent requests, and the rows that come back.

Owns     the port, its rows, where a request stands, and how often one address may be asked. Here and not in the
         gateway, because the adapter may not import a face
Rules    one open request of a sender and address at a time, ASKED_MAX in ASKED_DAYS: whoever does not answer is not
         asked again and again. A yes makes the consent and its event in one transaction; an answer is given once
         every method raises Transient when the database is away; then nothing was stored, or the answer was lost
Elsewhere: the mail (pipeline/notices/consents.py), the page (gateway/portal/consent.py), SQL
         (adapters/postgres/sql/consents.sql)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol
from uuid import UUID

REQUEST_OPEN_DAYS = 30  # a request that is not answered; its link answers nothing afterwards
ASKED_MAX = 3
ASKED_DAYS = 30
METHOD = "request"  # of a consent that was given on our own page; no sender may claim it
GIVEN, REFUSED = "given", "refused"


class ConsentStanding(Enum):
    """Where a request stands."""

    ASKED = "asked"
    UNDELIVERABLE = "undeliverable"  # the relay refused the mail for good
    EXPIRED = "expired"
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request as a sender makes it."""

    id: UUID
    sender: UUID
    ref: str
    email: str
    given_names: str
    birth_name: str
    language: str


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """A request and what became of it. is_over: by the database's clock. mail_outcome: None before the relay spoke."""

    id: UUID
    sender: UUID
    ref: str
    email: str
    given_names: str
    birth_name: str
    language: str
    asked_at: datetime
    expires_at: datetime
    is_over: bool
    sender_name: str
    sender_email: str
    mail_outcome: str | None
    mailed_at: datetime | None
    answer: str | None
    answered_at: datetime | None
    answer_language: str | None
    text: str | None
    text_sha256: bytes | None
    withdrawn_at: datetime | None
    withdrawn_by: str | None

    @property
    def standing(self) -> ConsentStanding:
        """Where it stands."""
        if self.withdrawn_at is not None:
            return ConsentStanding.WITHDRAWN
        if self.answer is not None:
            return ConsentStanding(self.answer)
        if self.mail_outcome == "refused":
            return ConsentStanding.UNDELIVERABLE
        return ConsentStanding.EXPIRED if self.is_over else ConsentStanding.ASKED

    @property
    def may_answer(self) -> bool:
        """Whoever holds the link may, whatever the relay said of the mail."""
        return self.answer is None and not self.is_over

    def asks_the_same(self, new: NewRequest) -> bool:
        """Whether another POST means this request."""
        fields = (self.sender, self.ref, self.email, self.given_names, self.birth_name, self.language)
        return fields == (new.sender, new.ref, new.email, new.given_names, new.birth_name, new.language)


# What `ask` may find. New is the only one after which something is stored.
@dataclass(frozen=True, slots=True)
class New:
    """Stored, with its message to `notify`."""

    request: RequestSeen


@dataclass(frozen=True, slots=True)
class Known:
    """A request of this sender has this ref; the caller compares."""

    request: RequestSeen


@dataclass(frozen=True, slots=True)
class RefTaken:
    """A consent of this sender has this ref."""


@dataclass(frozen=True, slots=True)
class StillOpen:
    """This sender has asked this address, and there is no answer yet."""

    ref: str


@dataclass(frozen=True, slots=True)
class TooOften:
    """This sender has asked this address as often as it may."""

    wait_seconds: int


Asked = New | Known | RefTaken | StillOpen | TooOften


@dataclass(frozen=True, slots=True)
class Earlier:
    """A request to the same address in the last ASKED_DAYS."""

    ref: str
    is_open: bool
    age_seconds: float


def objection(earlier: Sequence[Earlier]) -> StillOpen | TooOften | None:
    """Why this address may not be asked now; `earlier`: the newest first."""
    for e in earlier:
        if e.is_open:
            return StillOpen(e.ref)
    if len(earlier) < ASKED_MAX:
        return None
    return TooOften(max(1, round(ASKED_DAYS * 86400 - earlier[ASKED_MAX - 1].age_seconds)))


class ConsentStore(Protocol):
    """Consent requests, for senders and for the page that answers them."""

    async def ask(self, new: NewRequest) -> Asked:
        """The request and the message to `notify`, in one transaction or not at all. Of two at once one is New."""

    async def request_of(self, sender: UUID, ref: str) -> RequestSeen | None:
        """A sender's own."""

    async def linked(self, link_sha256: bytes) -> UUID | None:
        """The request that a mail's link points to."""

    async def request(self, request: UUID) -> RequestSeen | None:
        """By id, for the page behind the link."""

    async def answer(self, request: UUID, answer: str, language: str, text: str) -> None:
        """GIVEN makes the consent. The first answer stays; none is taken when the request has expired. May be called
        twice. Durable on return."""

    async def withdraw(self, request: UUID) -> None:
        """Of a consent that was given: for ever, by the consumer. May be called twice. Durable on return."""
