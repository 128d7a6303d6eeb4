"""What the sender API keeps of proofs of batches and of exports; every question names the sender."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StoredBatchProof:
    """A proof that is in the object store."""

    object: str
    proof_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class BatchProofSeen:
    """A batch as the question for its proof sees it."""

    state: str
    proof: StoredBatchProof | None


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What is to be exported: a batch, or what was deposited from one time up to another."""

    id: UUID
    sender: UUID
    batch: UUID | None
    from_time: datetime | None
    to_time: datetime | None
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExportPart:
    """One part. number: its step, which is its name for ever."""

    number: int
    object: str
    part_bytes: int
    sha256: bytes
    deliveries: int


@dataclass(frozen=True, slots=True)
class ExportSeen:
    """An export, and its parts as far as they are made."""

    order: ExportOrder
    asked_at: datetime
    is_ready: bool
    parts: tuple[ExportPart, ...]


class ExportStore(Protocol):
    """Raises Transient when the database is away."""

    async def batch_proof(self, sender: UUID, batch: UUID) -> BatchProofSeen | None:
        """None: no batch of this sender."""

    async def ask_batch_proof(self, batch: UUID) -> None:
        """Tells `archive`, once however often it is asked; durable on return."""

    async def has_batch(self, sender: UUID, batch: UUID) -> bool:
        """Whether this batch is theirs."""

    async def order_export(self, order: ExportOrder) -> None:
        """Recorded, with its message to `archive`; nothing happens when the id is there already."""

    async def export(self, sender: UUID, export: UUID) -> ExportSeen | None:
        """None: no export of this sender."""

    async def export_parts(self, export: UUID) -> Sequence[ExportPart]:
        """In order."""
