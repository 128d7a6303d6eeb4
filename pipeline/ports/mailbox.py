"""The mailbox of a stage: messages, what a lock tells, and the one transaction of a batch.

Every method says what is durable when it returns, whether it may be called twice and which errors it raises. Adapters
implement it (adapters/postgres), the simulation has its own in memory; one contract suite runs over both.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from pipeline.delivery.facts import AcceptanceWindow
from pipeline.delivery.routes import Emission
from pipeline.delivery.states import EvidenceStanding
from pipeline.delivery.windows import windows_of
from pipeline.errors import ClockBehind
from pipeline.evidence.draft import Head
from pipeline.evidence.facts import EvidenceDraft

AHEAD_MAX = timedelta(seconds=1)  # EN 319 421 clause 7.7.2: as far as two clocks that are right may be apart


@dataclass(frozen=True, slots=True)
class Message:
    """An address in a mailbox: what it is about, which evidence, and the history of getting it done."""

    id: int
    lane: int
    kind: str
    subject: UUID
    evidence: UUID | None
    ordinal: int
    attempts: int
    rescues: int
    enqueued_at: datetime
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """A delivery under its row lock, read after the lock was got. legal_time becomes EventTime."""

    delivery: UUID
    head: Head
    state: str
    stamped_through: int
    drafted: frozenset[str]
    stamped: frozenset[str]
    expires_at: datetime | None
    intent_alive: bool
    consent_stands: bool  # not withdrawn; true where none is needed
    legal_time: datetime
    not_before: datetime | None = None  # when the last event was, to which nothing may be prior

    def is_behind(self, event_time: datetime) -> bool:
        """An event of this time would be before the last one."""
        return self.not_before is not None and event_time < self.not_before


def check_clock(facts: Sequence[Any], locked: Mapping[UUID, Locked]) -> None:
    """Raises ClockBehind, with every delivery it is about, when drafts among the facts would be before what happened
    last to their letters."""
    drafts = [fact for fact in facts if isinstance(fact, EvidenceDraft) and fact.delivery in locked]
    behind = {d.delivery for d in drafts if locked[d.delivery].is_behind(d.event_time)}
    if behind:
        raise ClockBehind(f"the clock is behind what happened last to {len(behind)} deliveries", behind)


def check_tokens(standings: Mapping[UUID, Sequence[EvidenceStanding]], locked: Mapping[UUID, Locked]) -> None:
    """Raises ClockBehind, with every delivery it is about, when tokens are later than now: an authority is ahead of the
    database. What they prove would be proved by a time that has not come, and nothing could follow before it."""
    ahead = {
        delivery
        for delivery, own in standings.items()
        for standing in own
        if standing.proved_at is not None and standing.proved_at > locked[delivery].legal_time + AHEAD_MAX
    }
    if ahead:
        raise ClockBehind(f"the clock is behind the tokens of {len(ahead)} deliveries", ahead)


@dataclass(frozen=True, slots=True)
class Advanced:
    """What one delivery gained by newly stamped evidence."""

    delivery: UUID
    state: str
    reached: tuple[EvidenceStanding, ...]

    @property
    def windows(self) -> list[AcceptanceWindow]:
        """Those that it opens, to be written with it."""
        return windows_of(self.delivery, self.reached)


class Tx(Protocol):
    """The one transaction of a batch. Everything in it becomes durable together or not at all."""

    async def lock(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Locked]:
        """Lock in id order, then read. Lock order in every transaction: running rows, deliveries, the rest."""

    async def add(self, facts: Sequence[Any]) -> None:
        """Insert facts. A seal, token or wrap that exists wins silently; any other conflict is like a crash."""

    async def advance(self, deliveries: Sequence[UUID]) -> Sequence[Advanced]:
        """Extend the stamped prefix of locked deliveries and their state. Only `timestamp` may. Raises ClockBehind for
        tokens that are later than now."""

    async def emit(self, emissions: Sequence[Emission]) -> None:
        """Add messages to the outboxes or timers of their receivers."""


class MailboxTx(Tx, Protocol):
    """The transaction of a batch, as the loop sees it: the stage's Tx, the fence, and the ways back."""

    async def remove(self, batch: Sequence[Message]) -> frozenset[int]:
        """The fence: delete the running rows of this epoch; the ids that were still ours. Others: drop silently."""

    async def postpone(self, later: Sequence[tuple[Message, float]]) -> None:
        """Put removed messages back, as they now are, after so many seconds of real time; 0: at once."""

    async def bury(self, dead: Sequence[tuple[Message, str]]) -> None:
        """Make dead letters of removed messages."""


Transaction = TypeVar("Transaction", bound=MailboxTx, covariant=True)


class Mailbox(Protocol[Transaction]):
    """The rows waiting for one stage, taken under an epoch. Every method raises LeaseLost when the epoch is over."""

    async def start(self) -> None:
        """Begin a new epoch: durable on return. Raises Transient when the database is away."""

    async def heartbeat(self) -> None:
        """Keep the epoch alive, listen and ring, until cancelled. Raises LeaseLost when the epoch was rescued."""

    async def take(
        self, limit: int, *, interactive_only: bool = False, beside_commit: bool = False
    ) -> Sequence[Message]:
        """Up to `limit` messages, interactive first; [] when none wait or an operator holds the stage back. Losing it
        returns the rows. `beside_commit`: a transaction may be open meanwhile."""

    async def sweep(self) -> None:
        """When it is time: rescue the rows of dead epochs, fire due timers. Any process may, as often as it likes."""

    def transaction(self, batch: Sequence[Message]) -> AbstractAsyncContextManager[Transaction]:
        """One transaction: durable when the block is left, rolled back by any exception in it."""

    async def doorbell(self, seconds: float) -> None:
        """Wait for a ring, at most `seconds`. A ring is a hint; it may be lost or merged."""

    def ring(self, stages: frozenset[str]) -> None:
        """Ring at those stages after a commit, soon, merged. Never raises; a lost ring costs one sweep."""

    def wake(self) -> None:
        """End this process's own wait at the doorbell."""

    async def stop(self) -> None:
        """Give the epoch up in good order; whatever is still running under it is rescued at once."""
