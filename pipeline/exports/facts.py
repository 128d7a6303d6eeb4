"""Facts about what was made for a sender to take home; one row each, as in pipeline/delivery/facts.py."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class BatchProof:
    """The sealed list of a batch's lines, durable in the object store. Unique per batch."""

    batch: UUID
    object: str
    proof_bytes: int
    sha256: bytes
    lines: int


@dataclass(frozen=True, slots=True)
class ExportStep:
    """One step of an export, with its part if it packed anything. Unique per (export, step).

    cursor: the last row it went through; the next step begins after it.
    """

    export: UUID
    step: int
    cursor: str
    is_last: bool
    deliveries: int
    object: str | None
    part_bytes: int | None
    sha256: bytes | None
