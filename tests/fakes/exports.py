"""Batches and exports in memory, for stages: what a test plants is what `archive` reads."""

from collections.abc import Sequence
from uuid import UUID

from pipeline.evidence.package.batch_proof import ProvenLine
from pipeline.exports.ports import BatchStanding, ExportRow, ExportStanding


class MemoryExportFacts:
    """pipeline.exports.ports.ExportFacts over dictionaries."""

    def __init__(self) -> None:
        self.batches: dict[UUID, tuple[BatchStanding, list[ProvenLine]]] = {}
        self.exports: dict[UUID, tuple[ExportStanding, list[ExportRow]]] = {}

    async def batch_standing(self, batch: UUID) -> BatchStanding | None:
        """As planted."""
        found = self.batches.get(batch)
        return None if found is None else found[0]

    async def batch_lines(self, batch: UUID, after: int, limit: int) -> Sequence[ProvenLine]:
        """As planted, a page of them."""
        return self.batches[batch][1][after : after + limit]

    async def export_standing(self, export: UUID) -> ExportStanding | None:
        """As planted."""
        found = self.exports.get(export)
        return None if found is None else found[0]

    async def export_rows(self, standing: ExportStanding, limit: int) -> Sequence[ExportRow]:
        """As planted, a page of them; a cursor is the number of rows before."""
        first = int(standing.cursor or "0")
        return self.exports[standing.export][1][first : first + limit]
