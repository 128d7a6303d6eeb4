"""Proofs of batches and exports over real PostgreSQL: read by `archive` under its own role, found by the sender."""

import io
import shutil
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import pytest

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.export_facts import PostgresExportFacts
from pipeline.adapters.postgres.exports import PostgresExportStore
from pipeline.adapters.postgres.link import Link
from pipeline.evidence.package.batch_proof import ProvenLine, open_batch_proof
from pipeline.evidence.verification import Verdict, verify
from pipeline.formats.configuration import DatabaseSettings
from pipeline.operate.ledger import check_ledger
from pipeline.stores.exports import ExportOrder
from tests.db import small_ledger
from tests.servers import short_directory
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
BATCH = UUID(int=5)
PARTS = (2, 5)  # numbers may have gaps
EVER = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@dataclass
class World:
    """Three letters of one batch: notified, refused and rejected; and a line that became none."""

    it: small_ledger.Installation
    store: PostgresExportStore
    letters: list[UUID]

    async def rows(self, sql: str, *arguments: object) -> list[tuple[object, ...]]:
        return [tuple(row) for row in await self.it.owner.fetch(sql, *arguments)]

    async def prove(self) -> bytes:
        """Asked for, made, and read from the store."""
        await self.store.ask_batch_proof(BATCH)
        await self.it.drain()
        seen = await self.store.batch_proof(self.it.sender, BATCH)
        assert seen is not None and seen.proof is not None
        container = self.it.objects.objects[seen.proof.object]
        assert (seen.proof.proof_bytes, seen.proof.sha256) == (len(container), sha256(container).digest())
        return container

    async def order(self, **changes: object) -> ExportOrder:
        given = {"batch": None, "from_time": None, "to_time": None, "kinds": ("package",), **changes}
        order = ExportOrder(id=uuid4(), sender=self.it.sender, **given)  # type: ignore[arg-type]
        await self.store.order_export(order)

        async def is_ready() -> bool:
            await self.it.drain()  # a step that waits for packages comes back on a timer
            seen = await self.store.export(self.it.sender, order.id)
            return seen is not None and seen.is_ready

        await until(is_ready, 20)
        return order

    async def names(self, order: ExportOrder) -> list[str]:
        """Of the entries of all parts."""
        seen = await self.store.export(self.it.sender, order.id)
        assert seen is not None and seen.is_ready
        found = []
        for part in seen.parts:
            content = self.it.objects.objects[part.object]
            assert (part.part_bytes, part.sha256) == (len(content), sha256(content).digest())
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                found += archive.namelist()
        return found


async def plant_batch(it: small_ledger.Installation, letters: list[UUID], state: str = "completed_with_errors") -> None:
    """As intake and draw leave it: two parts, four lines, the third became no letter."""
    await it.owner.execute(
        "INSERT INTO qerds.batch (id, sender, name, format, state, parts, lines, drawn_part, drawn_line, accepted,"
        " rejected, expires_at, submitted_at)"
        " VALUES ($1, $2, 'March', 'ndjson', $3, 2, 4, 5, 2, 3, 1, 'infinity', clock_timestamp())",
        *(BATCH, it.sender, state),
    )
    gateway = await small_ledger.connect(it.config.database, "qerds_gateway")  # whose parts are stated
    for part, first_line in zip(PARTS, (0, 2), strict=True):
        await gateway.execute(
            "INSERT INTO qerds.batch_part (batch, part, intake, sha256, bytes, lines, first_line)"
            " VALUES ($1, $2, $3, $4, 1, 2, $5)",
            *(BATCH, part, uuid4(), sha256(b"%d" % part).digest(), first_line),
        )
    await gateway.close()
    places = [(2, 1), (2, 2), (5, 1), (5, 2)]
    for (part, line), letter in zip(places, [letters[0], letters[1], None, letters[2]], strict=True):
        await it.owner.execute(
            "INSERT INTO qerds.batch_result (batch, part, line, client_ref, delivery, problem)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            *(BATCH, part, line, f"r-{part}-{line}", letter, None if letter else '{"code": "email_invalid"}'),
        )
    await it.owner.execute("UPDATE qerds.delivery SET batch = $1 WHERE id = ANY ($2)", BATCH, letters)


@pytest.fixture
async def world(database: DatabaseSettings) -> AsyncIterator[World]:
    state = short_directory()
    async with small_ledger.installation(database, state) as it:
        notified, refused = await it.deposit(), await it.deposit()
        await it.decide(refused, "refuse", ["C.4"])
        rejected = await it.submit()
        await it.draft("ingest", rejected, [("A.2", None)])
        await it.drain()
        await plant_batch(it, [notified, refused, rejected])
        gateway = Database(it.config.database.dsn("qerds_gateway"))
        yield World(it, PostgresExportStore(gateway), [notified, refused, rejected])
        await gateway.close()
    shutil.rmtree(state)


async def test_the_proof_lists_every_line_with_its_evidence(world: World) -> None:
    """Line by line what the database holds, in the order of the file; a verifier accepts it."""
    container = await world.prove()
    report = verify(container, [world.it.bridge.authority])
    assert report.verdict is Verdict.VALID, report.steps
    opened = open_batch_proof(container)
    assert (opened.counts.deposited, opened.counts.rejected, opened.head.parts) == (2, 2, 2)
    expected = sha256(b"".join(sha256(b"%d" % part).digest() for part in PARTS)).digest()
    assert opened.head.parts_sha256 == expected
    with zipfile.ZipFile(io.BytesIO(container)) as archive:
        lines = [row.split(",") for row in archive.read("lines/001.csv").decode().splitlines()[1:]]
    assert [row[0] for row in lines] == ["1", "2", "3", "4"]
    assert [row[2] for row in lines] == ["deposited", "deposited", "rejected", "rejected"]
    assert lines[2][1:] == ["r-5-1", "rejected", "", "", "", "email_invalid"]
    known = await world.rows(
        "SELECT d.number, e.sha256 FROM qerds.delivery d JOIN qerds.evidence e ON e.delivery = d.id"
        " AND e.event IN ('A.1', 'A.2') WHERE d.id = ANY ($1)",
        world.letters,
    )
    assert {(row[3], row[5]) for row in lines if row[3]} == {(number, digest.hex()) for number, digest in known}  # type: ignore[attr-defined]


async def test_a_proof_is_made_once(world: World) -> None:
    """Asked for again and again: one message, one object, one log leaf."""
    first = await world.prove()
    assert await world.prove() == first
    assert await world.rows("SELECT count(*) FROM qerds.batch_proof") == [(1,)]
    assert await world.rows("SELECT count(*) FROM qerds.log_leaf WHERE what = 'batch_proof'") == [(1,)]


async def test_a_batch_that_is_not_completed_has_no_proof_yet(world: World) -> None:
    """The message waits on a timer until the batch is completed."""
    await world.it.owner.execute("UPDATE qerds.batch SET state = 'processing'")
    await world.store.ask_batch_proof(BATCH)
    await world.it.drain()
    seen = await world.store.batch_proof(world.it.sender, BATCH)
    assert seen is not None
    assert (seen.state, seen.proof) == ("processing", None)
    assert await world.rows("SELECT kind, attempts FROM outbox.timer WHERE stage = 'archive'") == [("batch_proof", 0)]


async def test_lines_are_read_page_by_page(world: World) -> None:
    """Whatever the size of a page, every line comes once and in order, across parts."""
    link = Link(world.it.config.database.dsn("qerds_archive"))
    await link.open()
    facts = PostgresExportFacts(link, world.it.config.provider)
    for size in (1, 2, 3, 4):
        found: list[ProvenLine] = []
        while page := await facts.batch_lines(BATCH, len(found), size):
            found += page
        assert [line.line for line in found] == [1, 2, 3, 4]
    assert await facts.batch_standing(uuid4()) is None
    assert await facts.export_standing(uuid4()) is None
    await link.close()


@pytest.mark.parametrize("by", ["batch", "time"])
async def test_an_export_has_every_package_of_its_order(world: World, by: str) -> None:
    """By batch and by period; the package of the letter that rests is made for it; another sender sees nothing."""
    scope = {"batch": BATCH} if by == "batch" else {"from_time": EVER[0], "to_time": EVER[1]}
    order = await world.order(**scope, kinds=("package", "evidence"))
    numbers = {number for [number] in await world.rows("SELECT number FROM qerds.delivery")}
    names = await world.names(order)
    assert {name.split("/")[0] for name in names} == {"index.csv", *numbers}
    assert len([name for name in names if name.endswith(".asice")]) == 3
    assert len([name for name in names if name.endswith(".xml")]) == 2 + 3 + 1
    assert await world.store.export(uuid4(), order.id) is None
    events = await world.rows("SELECT type, subject FROM qerds.event_unsequenced WHERE type = 'export.ready'")
    assert events == [("export.ready", order.id)]


async def test_a_period_without_letters_is_an_export_without_parts(world: World) -> None:
    """Ready, and empty."""
    order = await world.order(from_time=EVER[0], to_time=EVER[0] + timedelta(days=1))
    seen = await world.store.export(world.it.sender, order.id)
    assert seen is not None
    assert (seen.is_ready, seen.parts) == (True, ())


async def test_an_order_given_twice_is_carried_out_once(world: World) -> None:
    """The id is the memory."""
    order = await world.order(batch=BATCH)
    await world.store.order_export(order)
    assert await world.rows("SELECT count(*) FROM outbox.archive") == [(0,)]
    assert await world.rows("SELECT count(*) FROM qerds.export_step") == [(1,)]


async def test_the_ledger_is_sound_with_proofs_and_exports_in_it(world: World) -> None:
    """No predicate takes a message about a batch or an export for one about a letter that is not there."""
    await world.prove()
    await world.order(batch=BATCH)
    await world.store.order_export(
        ExportOrder(uuid4(), world.it.sender, BATCH, None, None, ("package",))
    )  # its message waits
    operator = Database(world.it.config.database.dsn("qerds_operate"))
    try:
        assert await check_ledger(operator, (world.it.bridge.authority,)) == []
    finally:
        await operator.close()
