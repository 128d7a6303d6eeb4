"""pipeline.exports.ports.ExportFacts over the work link of `archive`: batches and exports, page by page.

Owns     the mapping from rows to the dataclasses of pipeline/exports/ports.py, and the two forms of a cursor: PART.LINE
         of a batch, or MICROSECONDS.ID of a delivery, since 1970
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pipeline.adapters.postgres.link import Link
from pipeline.delivery.states import STATES, SUBMITTED
from pipeline.evidence.package.batch_proof import DEPOSITED, REJECTED, BatchHead, Evidenced, ProvenLine
from pipeline.exports.ports import BatchStanding, ExportRow, ExportStanding, StoredPackage
from pipeline.formats.configuration import Provider
from pipeline.stores.lists import EPOCH

BEFORE_ALL = UUID(int=0)
FIRST_PLACE = (0, 0)
SETTLED = sorted(STATES - {SUBMITTED})


class PostgresExportFacts:
    """Reads as the role of its link."""

    def __init__(self, link: Link, provider: Provider) -> None:
        self._link = link
        self._provider = provider

    async def batch_standing(self, batch: UUID) -> BatchStanding | None:
        """What a proof says of the whole batch."""
        rows = await self._link.call("batch_standing", batch)
        if not rows:
            return None
        row = dict(rows[0])
        is_settled, is_proven = row.pop("is_settled"), row.pop("is_proven")
        return BatchStanding(BatchHead(**row, issuer=self._provider.name) if is_settled else None, is_proven)

    async def batch_lines(self, batch: UUID, after: int, limit: int) -> Sequence[ProvenLine]:
        """In the order of the batch."""
        places = await self._link.call("batch_place", batch, after) if after else []
        part, line = (places[0]["part"], places[0]["line"]) if places else FIRST_PLACE
        return [_proven(r) for r in await self._link.call("batch_proof_lines", batch, part, line, limit)]

    async def export_standing(self, export: UUID) -> ExportStanding | None:
        """The order and its last step."""
        rows = await self._link.call("export_standing", export)
        return ExportStanding(**{**rows[0], "kinds": frozenset(rows[0]["kinds"])}) if rows else None

    async def export_rows(self, standing: ExportStanding, limit: int) -> Sequence[ExportRow]:
        """The lines of the batch, or what the sender had deposited or rejected in the period; after the cursor."""
        if standing.batch is not None:
            part, _, line = (standing.cursor or "0.0").partition(".")
            rows = await self._link.call("export_rows_of_batch", standing.batch, int(part), int(line), limit)
        else:
            at, delivery = _place(standing.cursor) if standing.cursor else (standing.from_time, BEFORE_ALL)
            order = (standing.sender, SETTLED, at, delivery, standing.to_time)
            rows = await self._link.call("export_rows_of_sender", *order, limit)
        return [_row(r) for r in rows]


def _place(cursor: str) -> tuple[datetime, UUID]:
    microseconds, _, delivery = cursor.partition(".")
    return EPOCH + timedelta(microseconds=int(microseconds)), UUID(delivery)


def _proven(row: Mapping[str, Any]) -> ProvenLine:
    if row["delivery"] is None:
        return ProvenLine(row["line"], row["client_ref"], REJECTED, None, row["reason"] or "field_invalid")
    outcome = DEPOSITED if row["event"] == "A.1" else REJECTED
    evidence = Evidenced(row["number"], row["event_time"], row["sha256"]) if row["event"] else None
    return ProvenLine(row["line"], row["client_ref"], outcome, evidence)


def _row(row: Mapping[str, Any]) -> ExportRow:
    package = None
    if row["object"] is not None:
        package = StoredPackage(
            row["snapshot"], row["object"], row["package_bytes"], row["sha256"], row["sequence_through"]
        )
    return ExportRow(
        cursor=row["cursor"],
        delivery=row["delivery"],
        number=row["number"],
        client_ref=row["client_ref"],
        decided_at=row["decided_at"],
        stamped_through=row["stamped_through"],
        package=package,
    )
