"""What else a process may ask of the outside: objects, the relay, the identity provider, a check, randomness, time.

Adapters implement them, one file per outside thing. Every method says what is durable when it returns, whether it may
be called twice and which errors it raises.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from pipeline.evidence.verification import ContentDigests, Report
from pipeline.ports.bridge import wire


@dataclass(frozen=True, slots=True)
class ExchangeRefused:
    """The identity provider refuses the code: unknown, late, used. code: its error code."""

    code: str


class BackChannel(Protocol):
    """What the portal asks an identity provider behind the browser's back (OpenID Connect)."""

    async def authorization_endpoint(self) -> str:
        """Where a sign-in begins. Raises Transient while the provider's discovery document cannot be had."""

    async def exchange(
        self, code: str, redirect_uri: str, code_verifier: str | None
    ) -> wire.IdentityTokens | ExchangeRefused:
        """Redeem a code (with a verifier: PKCE) and fetch the userinfo, where the person is there. A code is good once,
        so never called twice. Raises Transient."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing tells of it; age by the store's own clock, since it became visible."""

    name: str
    bytes: int
    age_seconds: float


class Objects(Protocol):
    """Immutable objects under random names. Errors: Transient."""

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Store; durable on return, nothing visible before. The length in bytes. A name is used once."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes, in chunks. Whoever stops before the end closes it (contextlib.aclosing)."""

    async def size(self, name: str) -> int | None:
        """Length in bytes, None when there is no such object."""

    async def delete(self, name: str) -> None:
        """Gone on return; no error when it was gone already."""

    def list(self, older_seconds: float) -> AsyncGenerator[ListedObject, None]:
        """Every object that is at least so old, in no order, whole objects only; one that comes or goes meanwhile may
        be told or not. Memory does not grow with the store. Whoever stops before the end closes it."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """The relay took the mail; its word for it."""

    code: int
    text: str
    tls: str | None


@dataclass(frozen=True, slots=True)
class MailRefused:
    """The relay refuses for ever, and says that it is for the recipient's mailbox or domain: a fact about them."""

    code: int
    text: str


SmtpPhase = Literal["connect", "ehlo", "tls", "auth", "mail", "rcpt", "data"]
Cause = Literal["later", "ours", "message"]


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The relay does not take the mail, and that is no fact about its recipient. Ids only: it may be logged.

    cause   later: not now. ours: us, our domain, our login, the relay's policy, or nobody knows. message: the mail
    status  RFC 3463, or "bare"
    """

    cause: Cause
    phase: SmtpPhase
    code: int
    status: str

    @property
    def is_for_everybody(self) -> bool:
        """Whether any other recipient would have been answered the same: they were not named, or are not why."""
        return self.phase not in ("rcpt", "data") or self.cause != "later"

    def __str__(self) -> str:
        return f"relay: {self.cause}, {self.phase} {self.code} {self.status}"


MailAnswer = Relayed | MailRefused | NotTaken


class Mailer(Protocol):
    """The relay. A mail may arrive twice when its answer was lost: same bytes, same Message-ID."""

    at_once: int  # how many sends may be under way

    async def send(self, recipient: str, mail: bytes) -> MailAnswer:
        """Hand one mail to the relay. Raises Transient when it is away, slow or breaks off: it did not answer."""


@dataclass(frozen=True, slots=True)
class CheckTooCostly:
    """The check would have taken more memory or time than a stranger's proof may."""


class Checker(Protocol):
    """Judges a proof that anybody sent, without danger for whoever asks. May be asked again."""

    async def check(
        self,
        proof: bytes,
        anchors: Sequence[bytes],
        contents: Sequence[ContentDigests],
        revocation_lists: Sequence[bytes],
    ) -> Report | CheckTooCostly:
        """The verifier's report (pipeline/evidence/verification). Raises Transient when there is no room for it."""


class Ids(Protocol):
    """Identifiers of rows, requests and events."""

    def uuid7(self) -> UUID:
        """RFC 9562 version 7."""


class Clock(Protocol):
    """The machine's clock: tokens, assertions, deadlines. Legal time comes from the database."""

    def now(self) -> datetime:
        """UTC."""


class Randomness(Protocol):
    """Random bytes; seeded in a simulation."""

    def random_bytes(self, count: int) -> bytes: ...
    def unit(self) -> float:
        """A number in [0, 1), for jitter."""
