"""Carry out one step of an export: go through a bounded page of rows, pack what is in it, store one part.

Owns     what a part holds, the two passes when packages are missing, when an export is at its end
Rules    a step is one page, so any export needs the memory of one package; the same rows give the same bytes
         packages are made by `preserve` as ever: a step that finds one missing or old has it made, and comes again; the
         second time it takes what is there, and waits only for what is not there at all
Crash    before the commit leaves an object that no row names; the step is done again
Elsewhere: orders and what is handed out (gateway/sender/exports.py), which rows (adapters/postgres/export_facts.py)
"""

import csv
import hashlib
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

from pipeline.actors.contract import Bury, Done, Outcome, Retry
from pipeline.delivery.routes import BULK, EXPORT, PRESERVE, Emission
from pipeline.errors import Transient
from pipeline.evidence.form.xades import assemble_stored
from pipeline.evidence.package.container import Packer
from pipeline.exports.facts import ExportStep
from pipeline.exports.ports import ExportPorts, ExportRow, ExportStanding, StoredPackage
from pipeline.formats.instants import time_text
from pipeline.ports.mailbox import Message
from pipeline.retention.storing import store

PACKAGE, EVIDENCE = "package", "evidence"
KINDS = (PACKAGE, EVIDENCE)
STEP_ROWS = 500  # some 30 MB of packages
EVIDENCE_DELIVERIES = 50  # read at once, some 6 evidences of 6 KiB each
INDEX = "index.csv"
INDEX_COLUMNS = ("number", "client_ref", "decided_at", "snapshot", "package_sha256")


@dataclass(frozen=True, slots=True)
class PackagesWanted:
    """What a step found missing: not a fact, but what has to be made before it can go on."""

    export: UUID
    deliveries: tuple[UUID, ...]


async def step(message: Message, ports: ExportPorts) -> Outcome[ExportStep | PackagesWanted | None]:
    """The next step of the export that the message names."""
    standing = await ports.exports.export_standing(message.subject)
    if standing is None:
        return Bury(message, "no such export")
    if standing.is_done:
        return Done(message, None)
    rows = await ports.exports.export_rows(standing, STEP_ROWS)
    chosen = [row for row in rows if _is_in(row, standing)]
    if PACKAGE in standing.kinds:
        is_second = message.ordinal > 0
        missing = [row for row in chosen if row.package is None]
        old = [row for row in chosen if row.package and row.package.sequence_through < row.stamped_through]
        if missing and is_second:
            return Retry(message, f"{len(missing)} packages are being made")
        if (missing or old) and not is_second:
            deliveries = tuple(row.delivery for row in [*missing, *old] if row.delivery is not None)
            return Done(message, PackagesWanted(message.subject, deliveries))
    return Done(message, await _fact(standing, rows, chosen, ports))


def follows(fact: object) -> list[Emission]:
    """What a step sets going: the packages it wants and itself again, or the next step."""
    match fact:
        case PackagesWanted(export, deliveries):
            packages = [Emission(PRESERVE, delivery, lane=BULK) for delivery in deliveries]
            return [*packages, Emission(EXPORT, export, ordinal=1, lane=BULK)]
        case ExportStep(is_last=False):
            return [Emission(EXPORT, fact.export, lane=BULK)]
        case _:
            return []


def _is_in(row: ExportRow, standing: ExportStanding) -> bool:
    """Has evidence, and of the period if one was given."""
    if row.delivery is None or row.decided_at is None:
        return False
    if standing.from_time is None or standing.to_time is None:
        return True
    return standing.from_time <= row.decided_at < standing.to_time


async def _fact(
    standing: ExportStanding, rows: Sequence[ExportRow], chosen: Sequence[ExportRow], ports: ExportPorts
) -> ExportStep:
    cursor = rows[-1].cursor if rows else standing.cursor
    pieces = _pieces(standing.kinds, chosen, ports)
    stored = await store(pieces, ports.objects, ports.randomness) if chosen else None
    return ExportStep(
        export=standing.export,
        step=standing.steps + 1,
        cursor=cursor,
        is_last=len(rows) < STEP_ROWS,
        deliveries=len(chosen),
        object=None if stored is None else stored.object,
        part_bytes=None if stored is None else stored.object_bytes,
        sha256=None if stored is None else stored.sha256,
    )


async def _pieces(kinds: frozenset[str], rows: Sequence[ExportRow], ports: ExportPorts) -> AsyncIterator[bytes]:
    packer = Packer()
    yield packer.entry(INDEX, _index(rows))
    if PACKAGE in kinds:
        for row in rows:
            if row.package is not None:
                content = await _read(row.package, ports)
                yield packer.entry(f"{row.number}/{row.number}-{row.package.snapshot}.asice", content)
    if EVIDENCE in kinds:
        for first in range(0, len(rows), EVIDENCE_DELIVERIES):
            async for name, document in _evidences(rows[first : first + EVIDENCE_DELIVERIES], ports):
                yield packer.entry(name, document)
    yield packer.end()


def _index(rows: Sequence[ExportRow]) -> bytes:
    """Which folder is which of the sender's references."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(INDEX_COLUMNS)
    for row in rows:
        decided = "" if row.decided_at is None else time_text(row.decided_at)
        package = ("", "") if row.package is None else (str(row.package.snapshot), row.package.sha256.hex())
        table.writerow((row.number, row.client_ref or "", decided, *package))
    return text.getvalue().encode()


async def _read(package: StoredPackage, ports: ExportPorts) -> bytes:
    """A package as it was stored, or not at all."""
    async with aclosing(ports.objects.read(package.object)) as stream:
        content = b"".join([piece async for piece in stream])
    if hashlib.sha256(content).digest() != package.sha256:
        raise Transient(f"the object {package.object} is not what was stored")
    return content


async def _evidences(rows: Sequence[ExportRow], ports: ExportPorts) -> AsyncIterator[tuple[str, bytes]]:
    proofs = await ports.facts.proofs([row.delivery for row in rows if row.delivery is not None])
    for row in rows:
        delivery_proofs = None if row.delivery is None else proofs.get(row.delivery)
        for e in delivery_proofs.evidences if delivery_proofs else ():
            document = assemble_stored(e.canonical, e.certificate, e.signature, e.token)
            yield f"{row.number}/{e.sequence:02d}-{e.event}.xml", document
