"""What the sender's face asks about events and webhooks, and the rows that come back.

Rules    a question about something of a sender names the sender: another one's is not there
         every method raises Transient when the database is away; then nothing was stored, or the answer was lost
Elsewhere: what the sequencer and the stage `webhook` ask (pipeline/feed/ports.py)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pipeline.feed.payload import FeedEvent


@dataclass(frozen=True, slots=True)
class EventQuestion:
    """Which events a sender asks for: after a place, of these types (none: all), about this delivery (None: any)."""

    sender: UUID
    after: int
    types: tuple[str, ...]
    delivery: UUID | None
    limit: int


@dataclass(frozen=True, slots=True)
class EventsSeen:
    """Events in order; read_through: where to go on; has_more: there was more to look at."""

    events: tuple[FeedEvent, ...]
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

    async def events(self, question: EventQuestion) -> EventsSeen: ...

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
