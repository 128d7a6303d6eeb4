"""What bulk submission asks of the database, and the rows that come back.

Owns     the ports: of `ingest`, which draws (DrawFacts, BatchTx), and of the gateway, which takes in (BatchStore)
Rules    every question of the gateway names the sender: another one's batch is not there
         a line counts once its part is there; the cursor of a batch moves only with what became of its lines
Elsewhere: what is decided (pipeline/intake/batches.py), what a line must say (pipeline/intake)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from pipeline.ports.mailbox import Tx
from pipeline.stores.senders import Consent, Order, PackRows, SenderUpload

BATCH_LINES_MAX = 1_000_000
BATCH_DAYS = 7  # an unsubmitted batch
OPEN, SUBMITTED, PROCESSING = "open", "submitted", "processing"
COMPLETED, COMPLETED_WITH_ERRORS, CANCELLED = "completed", "completed_with_errors", "cancelled"
RUNNING = frozenset({SUBMITTED, PROCESSING})


# ------------------------------------------------------------------ drawing
@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line of a batch: its part, its number in the part, and its JSON object as it was written."""

    part: int
    line: int
    body: bytes


@dataclass(frozen=True, slots=True)
class LineCursor:
    """The last line that was drawn."""

    part: int
    line: int


BEGINNING = LineCursor(0, 0)


@dataclass(frozen=True, slots=True)
class Draw:
    """The next lines of a batch, and the cursor that they come after."""

    batch: UUID
    sender: UUID
    state: str
    defaults: Mapping[str, Any]
    cursor: LineCursor
    lines: int
    drawn: int
    stored: tuple[StoredLine, ...]
    read_at: datetime
    is_paused: bool = False  # an operator holds batch or sender back, or the sender's identification has run out
    birth_date_demanded: bool = False  # of consumers, by the operator's policy for the sender


@dataclass(frozen=True, slots=True)
class KnownDelivery:
    """A delivery that has a client_ref already."""

    delivery: UUID
    request_sha256: bytes


@dataclass(frozen=True, slots=True)
class References:
    """What the lines of one draw refer to, as far as it is there and the sender's."""

    uploads: Mapping[UUID, SenderUpload]
    consents: Mapping[str, Consent]
    deliveries: Mapping[str, KnownDelivery]


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where a drawn batch stands. undecided: some delivery is neither deposited nor rejected yet."""

    batch: UUID
    state: str
    has_errors: bool
    undecided: bool
    read_at: datetime


@dataclass(frozen=True, slots=True)
class LineResult:
    """What became of a drawn line: a delivery, or a problem."""

    part: int
    line: int
    client_ref: str | None
    delivery: UUID | None
    replayed: bool
    problem: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class DrawRecord:
    """One draw, finished: the results of its lines, all after `before`."""

    batch: UUID
    before: LineCursor
    results: tuple[LineResult, ...]


class DrawFacts(Protocol):
    """Committed rows that `ingest` draws from. Raises Transient when the database is away."""

    async def backlog(self, at_most: int) -> int:
        """How many messages wait in the stages after `ingest`, counted up to `at_most`."""

    async def draws(self, batches: Sequence[UUID], lines_max: int) -> Mapping[UUID, Draw]:
        """The next lines of each, up to lines_max of each."""

    async def references(
        self, sender: UUID, uploads: Sequence[UUID], consents: Sequence[str], client_refs: Sequence[str]
    ) -> References: ...

    async def settlements(self, batches: Sequence[UUID]) -> Mapping[UUID, Settlement]: ...


class BatchTx(Tx, Protocol):
    """The transaction of `ingest`. Lock order: running rows, deliveries, batches, then new rows."""

    async def lock_batches(self, batches: Sequence[UUID]) -> Mapping[UUID, tuple[str, LineCursor]]:
        """State and cursor under the row locks, taken in id order."""

    async def add_orders(self, orders: Sequence[tuple[UUID, Order]]) -> frozenset[UUID]:
        """Insert deliveries, each of its batch, with their documents; those whose client_ref is free. Which ones."""

    async def taken_refs(self, refs: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], KnownDelivery]:
        """By (sender, client_ref): who has what add_orders could not insert."""

    async def record_draws(self, draws: Sequence[DrawRecord]) -> None:
        """Results in, lines out, the cursor and the counters of locked batches on."""

    async def close_batches(self, states: Mapping[UUID, str]) -> None:
        """Give batches that are being processed their final state."""


# ------------------------------------------------------------------ taking in
@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be opened."""

    id: UUID
    sender: UUID
    name: str
    format: str
    csv_mapping: Mapping[str, str]
    defaults: Mapping[str, object]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """A batch as its sender may see it. parts and lines: of what is stored, until they are fixed at submit."""

    id: UUID
    name: str
    format: str
    csv_mapping: Mapping[str, str]
    defaults: Mapping[str, Any]
    state: str
    parts: int
    lines: int
    accepted: int
    rejected: int
    created_at: datetime
    expires_at: datetime
    submitted_at: datetime | None
    completed_at: datetime | None
    read_at: datetime

    @property
    def expired(self) -> bool:
        """Not submitted in time."""
        return self.state == OPEN and self.expires_at <= self.read_at


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """What became of a batch's deliveries. by_state: of its own; replayed_rejected: of those that existed before."""

    by_state: Mapping[str, int]
    replayed_rejected: int


@dataclass(frozen=True, slots=True)
class NewPart:
    """A body that was taken in whole, under `intake`."""

    batch: UUID
    part: int
    intake: UUID
    sha256: bytes
    body_bytes: int
    lines: int


@dataclass(frozen=True, slots=True)
class BatchPart:
    """A part of a batch."""

    part: int
    sha256: bytes
    lines: int


# What `add_part` and `submit` may find.
@dataclass(frozen=True, slots=True)
class PartAdded:
    """Stored, or it was there with the same digest. is_new tells which."""

    part: BatchPart
    is_new: bool


@dataclass(frozen=True, slots=True)
class PartConflict:
    """Another body was stored under this part number."""


@dataclass(frozen=True, slots=True)
class TooManyLines:
    """With this part the batch would have more than BATCH_LINES_MAX lines."""


@dataclass(frozen=True, slots=True)
class NotOpen:
    """The batch takes nothing in any more."""

    batch: BatchSeen


@dataclass(frozen=True, slots=True)
class Closing:
    """What a sender says that a batch is, when it submits it."""

    parts: int
    lines: int
    sha256_of_parts: bytes


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The batch is something else."""

    stored: Closing
    contiguous: bool


@dataclass(frozen=True, slots=True)
class ResultSeen:
    """A result as the sender may see it. number: of the line in the whole batch. state: the delivery's."""

    part: int
    line: int
    number: int
    client_ref: str | None
    delivery: UUID | None
    delivery_number: str | None
    state: str | None
    replayed: bool
    problem: Mapping[str, Any] | None
    rejection: bytes | None  # canonical bytes of the stamped A.2, where there is one


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """A line that was not drawn."""

    number: int
    part: int
    line: int
    body: bytes


class BatchStore(Protocol):
    """Rows of batches, for the gateway. Raises Transient when the database is away."""

    async def open(self, batch: NewBatch) -> BatchSeen:
        """Durable on return."""

    async def batch(self, sender: UUID, batch: UUID) -> BatchSeen | None: ...

    async def batches(self, sender: UUID, after: UUID | None, limit: int) -> Sequence[BatchSeen]:
        """In the order of their ids, which is that of their opening."""

    async def progress(self, batch: UUID) -> BatchProgress: ...

    async def part(self, batch: UUID, part: int) -> BatchPart | None: ...

    async def begin_intake(self, intake: UUID, batch: UUID) -> None:
        """Say that lines will be stored under `intake`."""

    async def add_lines(self, intake: UUID, lines: Sequence[tuple[int, bytes]]) -> None:
        """Store lines. They count once their part is added; until then `drop_intake` removes them."""

    async def drop_intake(self, intake: UUID) -> None:
        """Remove the lines of a body that was not whole. May be called again."""

    async def add_part(
        self, sender: UUID, part: NewPart, pack: PackRows | None
    ) -> PartAdded | PartConflict | TooManyLines | NotOpen:
        """The lines of an intake become a part, together with the contents that were taken out of them, or nothing."""

    async def submit(self, sender: UUID, batch: UUID, closing: Closing) -> BatchSeen | Mismatch | NotOpen | None:
        """Fix the parts, and emit the first draw; None when there is no such batch. Durable on return."""

    async def cancel(self, sender: UUID, batch: UUID) -> BatchSeen | NotOpen | None:
        """Draw no more. May be called again."""

    async def results(self, batch: UUID, after: LineCursor, limit: int) -> Sequence[ResultSeen]:
        """Of drawn lines, in order."""

    async def waiting(self, batch: UUID, after: LineCursor, limit: int) -> Sequence[WaitingLine]:
        """Lines that are stored and not drawn, in order."""

    async def references(
        self, sender: UUID, uploads: Sequence[UUID], consents: Sequence[str], client_refs: Sequence[str]
    ) -> References: ...

    async def backlog(self, *, interactive_only: bool, at_most: int) -> int:
        """How many messages wait, counted up to at_most: of letters on their own at every stage up to the notice; else
        for `ingest`, which holds batches back while the stages after it are full."""

    async def forget_expired(self) -> None:
        """Deletes lines of bodies that broke off, and of batches that were not submitted in time; some at a time. Lines
        of a batch that was cancelled a week ago stay in number, and are emptied."""
