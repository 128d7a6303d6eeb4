"""What the sequencer, the webhook stage and the gateway ask of the outside, and the rows that come back.

Rules    every method raises Transient when the database is away, but those that say otherwise; a question about
         something of a sender names the sender: another one's is not there
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pipeline.feed.attempts import Answer, Job, Webhook
from pipeline.feed.payload import Event
from pipeline.ports.bridge import PublishedKey


# ------------------------------------------------------------------ the sequencer
class EventLog(Protocol):
    """The unsequenced events, seen by one session that is elected or not. Losing the session loses the election."""

    async def elect(self) -> bool:
        """Whether this session is the elected one; opens it when need be."""

    async def sequence(self, count_max: int) -> int:
        """Gives committed events their places; how many. Durable on return."""

    async def wake(self) -> int:
        """Messages to webhooks that have something to do and do not know it; how many. Durable on return."""

    async def forget(self, count_max: int) -> int:
        """Deletes what is older than it is kept, the oldest first; how many."""

    async def doorbell(self, seconds: float) -> None:
        """Waits for a ring, at most so long."""

    def awake(self) -> None:
        """Ends this process's own wait at the doorbell."""

    async def stop(self) -> None:
        """Gives the election up."""


# ------------------------------------------------------------------ the stage `webhook`
class WebhookFacts(Protocol):
    """Webhooks and what is to be sent to each."""

    async def webhooks(self, ids: Sequence[UUID]) -> Mapping[UUID, Webhook]:
        """Those that are there, each with its next events."""

    async def claim(self, ids: Sequence[UUID]) -> frozenset[UUID]:
        """Those that no other process is speaking to; ours until released, or until this session ends."""

    async def release(self, ids: Sequence[UUID]) -> None:
        """Gives claims back."""


@dataclass(frozen=True, slots=True)
class Post:
    """One request."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Flight:
    """A job on its way; the courier adds answers and says when it is over. seen: answers when it was last looked at."""

    kind: str
    webhook: Webhook
    job: Job
    answers: list[Answer] = field(default_factory=list)
    is_over: bool = False
    seen: int = 0
    is_moving: bool = True  # new, or it had more answers at the last look than at the one before

    def look(self) -> None:
        """Whether it moves: one that does is worth waiting for."""
        self.is_moving = len(self.answers) > self.seen
        self.seen = len(self.answers)


class Courier(Protocol):
    """Posts to endpoints, one flight at a time to each, in the background. Never raises what an endpoint does."""

    def start(self, flight: Flight, posts: Sequence[Post]) -> bool:
        """Begins a flight; False when there is no room now. Posts go one after the other, until one fails."""

    def flight(self, webhook: UUID) -> Flight | None:
        """The flight to this endpoint, under way or over."""

    def land(self, webhook: UUID) -> None:
        """Forgets a flight that is over."""

    async def settle(self, webhooks: Sequence[UUID], seconds: float) -> None:
        """Waits until these are over, at most so long."""


class Clock(Protocol):
    """The real clock: the time in signatures."""

    def now(self) -> datetime: ...


class Ids(Protocol):
    """Identifiers of trial events."""

    def uuid7(self) -> UUID: ...


# ------------------------------------------------------------------ the gateway
@dataclass(frozen=True, slots=True)
class EventQuestion:
    """Which events a sender asks for: after a place, of these types (none: all), about this delivery (None: any)."""

    sender: UUID
    after: int
    types: tuple[str, ...]
    delivery: UUID | None
    limit: int


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in order; read_through: where to go on; has_more: there was more to look at."""

    events: tuple[Event, ...]
    read_through: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class WebhookSeen:
    """A webhook as its sender sees it."""

    id: UUID
    url: str
    types: tuple[str, ...]
    signature: str
    enabled: bool
    disabled_reason: str | None
    read_through: int
    failures: int
    paused_until: datetime | None
    last_success_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """What is written down. secret: of v1 only."""

    id: UUID
    sender: UUID
    url: str
    types: tuple[str, ...]
    signature: str
    secret: bytes | None


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """What PATCH changes; None leaves it. is_off: True disables."""

    url: str | None = None
    types: tuple[str, ...] | None = None
    is_off: bool = False


@dataclass(frozen=True, slots=True)
class AttemptSeen:
    """One request that was made. next_try_at: None when it was delivered or given up."""

    id: int
    event: UUID
    type: str
    attempt: int
    outcome: str
    status: int | None
    milliseconds: int
    next_try_at: datetime | None
    at: datetime


class EventStore(Protocol):
    """Events and webhooks of senders."""

    async def head(self) -> int:
        """The last place that was given."""

    async def events(self, question: EventQuestion) -> EventPage: ...

    async def add_webhook(self, webhook: NewWebhook) -> bool:
        """From the next event on. False: this sender has as many as it may. Durable on return."""

    async def webhooks(self, sender: UUID, webhook: UUID | None = None) -> Sequence[WebhookSeen]:
        """All of a sender's, oldest first, or this one."""

    async def change_webhook(self, sender: UUID, webhook: UUID, change: WebhookChange) -> None: ...

    async def enable_webhook(self, sender: UUID, webhook: UUID) -> None:
        """It goes on where it stopped."""

    async def replay_webhook(self, sender: UUID, webhook: UUID, after: int) -> None:
        """Its cursor goes back (or on) to this place."""

    async def test_webhook(self, sender: UUID, webhook: UUID) -> bool:
        """Has a trial event sent; False when the last one was a moment ago."""

    async def delete_webhook(self, sender: UUID, webhook: UUID) -> None: ...

    async def attempts(self, webhook: UUID, before: int | None, limit: int) -> Sequence[AttemptSeen]:
        """The newest first."""

    async def webhook_keys(self) -> Sequence[PublishedKey]:
        """The keys that sign or have signed, newest first."""
