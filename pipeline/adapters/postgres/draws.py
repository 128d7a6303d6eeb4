"""pipeline.stores.batches.DrawFacts over a stage's work link, and what a draw writes inside its transaction.

Owns     the mapping between rows and the dataclasses of pipeline/stores/batches.py; one statement per table for a
         whole turn
Elsewhere: what becomes of a line (pipeline/intake/batches.py), the transaction itself (tx.py)
"""

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.orders import columns_of
from pipeline.delivery.routes import AFTER_INGEST
from pipeline.errors import Invariant
from pipeline.stores.batches import Draw, DrawRecord, KnownDelivery, LineCursor, References, Settlement, StoredLine
from pipeline.stores.senders import Consent, Order, SenderUpload

ALL_LANES = (0, 1, 2, 3)

Row = Mapping[str, Any]
Fetch = Callable[..., Awaitable[Sequence[Row]]]


class PostgresDraws:
    """Reads as the role of its link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def backlog(self, at_most: int) -> int:
        """How many messages wait after `ingest`."""
        [row] = await self._link.call("backlog", list(AFTER_INGEST), list(ALL_LANES), at_most)
        return int(row["waiting"])

    async def draws(self, batches: Sequence[UUID], lines_max: int) -> Mapping[UUID, Draw]:
        """The next lines of each."""
        heads = {r["batch"]: r for r in await self._link.call("draw_heads", list(batches))}
        rows: dict[UUID, list[Row]] = defaultdict(list)
        for r in await self._link.call("draw_lines", list(heads), lines_max):
            rows[r["batch"]].append(r)
        return {batch: _draw(heads[batch], lines) for batch, lines in rows.items()}

    async def references(
        self, sender: UUID, uploads: Sequence[UUID], consents: Sequence[str], client_refs: Sequence[str]
    ) -> References:
        """What lines refer to."""
        return await read_references(self._link.call, sender, uploads, consents, client_refs)

    async def settlements(self, batches: Sequence[UUID]) -> Mapping[UUID, Settlement]:
        """Where drawn batches stand."""
        return {r["batch"]: Settlement(**r) for r in await self._link.call("read_settlements", list(batches))}


async def read_references(
    fetch: Fetch, sender: UUID, uploads: Sequence[UUID], consents: Sequence[str], client_refs: Sequence[str]
) -> References:
    """A statement for each kind that is named. `fetch(name, *arguments)` is a Link's or a Database's."""
    found_uploads = await fetch("sender_uploads", sender, list(uploads)) if uploads else []
    found_consents = await fetch("batch_consents", sender, list(consents)) if consents else []
    taken = await fetch("taken_client_refs", [sender] * len(client_refs), list(client_refs)) if client_refs else []
    return References(
        uploads={r["id"]: SenderUpload(**r) for r in found_uploads},
        consents={r["ref"]: Consent(**r) for r in found_consents},
        deliveries={r["client_ref"]: KnownDelivery(r["delivery"], r["request_sha256"]) for r in taken},
    )


def _draw(head: Row, rows: Sequence[Row]) -> Draw:
    first = rows[0]
    return Draw(
        batch=head["batch"],
        sender=head["sender"],
        state=first["state"],
        defaults=json.loads(head["defaults"]),
        cursor=LineCursor(first["drawn_part"], first["drawn_line"]),
        lines=first["lines"],
        drawn=first["drawn"],
        stored=tuple(StoredLine(r["part"], r["line"], r["body"]) for r in rows if r["line"] is not None),
        read_at=first["read_at"],
        is_paused=head["is_paused"],
        birth_date_demanded=head["birth_date_demanded"],
    )


# ------------------------------------------------------------------ inside the transaction
async def lock_batches(link: Link, batches: Sequence[UUID]) -> Mapping[UUID, tuple[str, LineCursor]]:
    """State and cursor, under the row locks."""
    rows = await link.fetch("lock_batches", list(batches))
    return {r["batch"]: (r["state"], LineCursor(r["drawn_part"], r["drawn_line"])) for r in rows}


async def add_orders(link: Link, orders: Sequence[tuple[UUID, Order]]) -> frozenset[UUID]:
    """Deliveries and their documents; which were inserted."""
    in_order = sorted(orders, key=lambda pair: (pair[1].sender, pair[1].submission.client_ref or ""))
    columns = [list(column) for column in zip(*[(*columns_of(order), batch) for batch, order in in_order], strict=True)]
    added = frozenset(r["id"] for r in await link.fetch("add_drawn_deliveries", *columns))
    documents = [
        (order.delivery, d.part, d.upload, d.file_name, d.sha256)
        for _, order in in_order
        if order.delivery in added
        for d in order.submission.documents
    ]
    if documents:
        await link.fetch("add_drawn_documents", *[list(column) for column in zip(*documents, strict=True)])
    return added


async def taken_refs(link: Link, refs: Sequence[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], KnownDelivery]:
    """Who has a client_ref."""
    rows = await link.fetch("taken_client_refs", [sender for sender, _ in refs], [ref for _, ref in refs])
    return {(r["sender"], r["client_ref"]): KnownDelivery(r["delivery"], r["request_sha256"]) for r in rows}


async def record_draws(link: Link, draws: Sequence[DrawRecord]) -> None:
    """Results in, lines out, cursors on."""
    results = [(d.batch, r) for d in draws for r in d.results]
    await link.fetch(
        "add_batch_results",
        [batch for batch, _ in results],
        [r.part for _, r in results],
        [r.line for _, r in results],
        [r.client_ref for _, r in results],
        [r.delivery for _, r in results],
        [r.replayed for _, r in results],
        [None if r.problem is None else json.dumps(r.problem, ensure_ascii=False) for _, r in results],
    )
    batches, parts = [d.batch for d in draws], [d.results[-1].part for d in draws]
    afters = [d.before.line if d.before.part == part else 0 for d, part in zip(draws, parts, strict=True)]
    throughs = [d.results[-1].line for d in draws]
    [gone] = await link.fetch("remove_drawn_lines", batches, parts, afters, throughs)
    if gone["lines"] != len(results):
        raise Invariant("lines of a locked batch changed under its lock")
    accepted = [sum(r.delivery is not None for r in d.results) for d in draws]
    rejected = [sum(r.delivery is None for r in d.results) for d in draws]
    await link.fetch("move_cursors", batches, parts, throughs, accepted, rejected)


async def close_batches(link: Link, states: Mapping[UUID, str]) -> None:
    """Final states."""
    await link.fetch("close_batches", list(states), list(states.values()))
