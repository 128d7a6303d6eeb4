"""What the sequencer and the stage `webhook` ask of the outside.

Rules    every method raises Transient when the database is away, but those that say otherwise
Elsewhere: what a sender asks about events and webhooks (pipeline/stores/feed.py)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from pipeline.feed.attempts import Answer, Job, Webhook
from pipeline.process.elected import CandidateSession


# ------------------------------------------------------------------ the sequencer
class EventLog(CandidateSession, Protocol):
    """The unsequenced events, over the session that may be elected."""

    async def sequence(self, count_max: int) -> int:
        """Gives committed events their places; how many. Durable on return."""

    async def wake(self) -> int:
        """Messages to webhooks that have something to do and do not know it; how many. Durable on return."""

    async def forget(self, count_max: int) -> int:
        """Deletes what is older than it is kept, the oldest first; how many."""

    async def doorbell(self, seconds: float) -> None:
        """Waits for a ring, at most so long."""


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
