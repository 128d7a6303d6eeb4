"""What proofs of batches and exports are made of: committed rows, read page by page.

Owns     the rows and the protocol that reads them; adapters/postgres/export_facts.py implements it
Rules    every page is bounded, so that a million letters need the memory of one page. Raises Transient when the
         database is away
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pipeline.evidence.package.batch_proof import BatchHead, ProvenLine
from pipeline.ports.bridge import Keys
from pipeline.ports.outside import Objects, Randomness
from pipeline.ports.rows import Facts
from pipeline.retention.packages import ArchiveBridge


@dataclass(frozen=True, slots=True)
class BatchStanding:
    """A batch, and whether its proof was made. head: None until every line is deposited or rejected."""

    head: BatchHead | None
    is_proven: bool


@dataclass(frozen=True, slots=True)
class ExportStanding:
    """An order, and how far it was carried out. Either batch, or both times, are given."""

    export: UUID
    sender: UUID
    batch: UUID | None
    from_time: datetime | None
    to_time: datetime | None
    kinds: frozenset[str]
    steps: int
    cursor: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class StoredPackage:
    """The newest snapshot of a delivery."""

    snapshot: int
    object: str
    package_bytes: int
    sha256: bytes
    sequence_through: int


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One row that a step goes through. delivery: None where a line of a batch was rejected before it was one."""

    cursor: str
    delivery: UUID | None
    number: str | None
    client_ref: str | None
    decided_at: datetime | None  # its A.1 or A.2; None while it has neither
    stamped_through: int
    package: StoredPackage | None


class ExportFacts(Protocol):
    """Reading for `archive`; everything here may be asked as often as one likes."""

    async def batch_standing(self, batch: UUID) -> BatchStanding | None: ...
    async def batch_lines(self, batch: UUID, after: int, limit: int) -> Sequence[ProvenLine]:
        """The lines after that number, in order, at most `limit`. What has no evidence yet is a ProvenLine without
        evidence and without reason."""

    async def export_standing(self, export: UUID) -> ExportStanding | None: ...
    async def export_rows(self, standing: ExportStanding, limit: int) -> Sequence[ExportRow]:
        """The rows after the cursor, in its order, at most `limit`; fewer means that there are no more."""


class ExportPorts(Protocol):
    """What making them may ask of the outside: `archive` has it."""

    @property
    def facts(self) -> Facts: ...
    @property
    def exports(self) -> ExportFacts: ...
    @property
    def bridge(self) -> ArchiveBridge: ...
    @property
    def objects(self) -> Objects: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def randomness(self) -> Randomness: ...
