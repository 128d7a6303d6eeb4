"""Drawing at the edges: a whole file sent again, lines at their limit, a sender whose identification runs out."""

import json
from typing import Any

import asyncpg
import pytest

from pipeline.adapters.postgres.batches import PostgresBatchStore
from pipeline.adapters.postgres.queries import queries
from pipeline.stores.batches import BEGINNING, LineCursor, WaitingLine
from tests.drawing import ingest_process
from tests.worlds.one_batch import World, world

__all__ = ["world"]
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


async def explained(here: World, role: str, name: str, types: str, values: str) -> dict[str, Any]:
    """The plan of a statement, executed for real by that role."""
    connection = await asyncpg.connect(
        host=str(here.database.socket_dir),
        port=here.database.port,
        database=here.database.name,
        user=role,
        password=here.database.password(role),
    )
    try:
        await connection.execute(f"PREPARE q({types}) AS {queries()[name].rstrip(';')}")
        text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE q({values})")
    finally:
        await connection.close()
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


async def test_a_whole_file_sent_again_costs_no_walk_over_every_letter(world: World) -> None:
    """Each settle, every two seconds, and each question for the batch: whatever was deposited before, by anybody."""
    batch = await world.submit([world.line("r-1")])
    world.ask(
        f"""INSERT INTO qerds.delivery (id, number, sender, client_ref, request_sha256, lane, mode, config_version,
            recipient_kind, recipient_email, given_names, birth_name, language, subject, submitted_at, state)
        SELECT gen_random_uuid(), lpad(n::text, 14, '0'), '{world.sender}', 's-' || n, sha256(''), 2, 'm', 'c',
            'professional', 'p@example.org', 'P', 'M', 'fr', 's', now(), 'notified' FROM generate_series(1, 20000) n;
        INSERT INTO qerds.batch_result (batch, part, line, client_ref, delivery, replayed, was_undecided)
        SELECT '{batch}', 1, row_number() OVER (), client_ref, id, true, false FROM qerds.delivery;
        ANALYZE qerds.delivery; ANALYZE qerds.batch_result"""
    )
    for role, name, types, values in (
        ("qerds_ingest", "read_settlements", "uuid[]", f"'{{{batch}}}'"),
        ("qerds_gateway", "batch_states", "uuid", f"'{batch}'"),
    ):
        plan = await explained(world, role, name, types, values)
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 50, (name, json.dumps(plan))


async def test_a_batch_ends_by_letters_that_existed_before(world: World) -> None:
    """One that was undecided when its line was drawn is waited for, and its rejection counts; one that was deposited by
    then is not looked at again."""
    await world.submit([world.line("r-1"), world.line("r-2")])
    async with ingest_process(world.database) as process:
        await process.run()
        world.ask("UPDATE qerds.delivery SET state = 'deposited' WHERE client_ref = 'r-1'")
        again = await world.submit([world.line("r-1"), world.line("r-2")])
        await process.run()
        asked = f"SELECT was_undecided FROM qerds.batch_result WHERE batch = '{again}' ORDER BY line"
        assert world.ask(asked).split() == ["f", "t"]
        [one] = (await process.ports.draws.settlements([again])).values()
        assert (one.undecided, one.has_errors) == (True, False)
        world.ask("UPDATE qerds.delivery SET state = 'rejected' WHERE client_ref = 'r-2'")
        [one] = (await process.ports.draws.settlements([again])).values()
        assert (one.undecided, one.has_errors) == (False, True)


async def test_no_letter_is_made_when_the_senders_identification_has_run_out(world: World) -> None:
    """Its lines wait, as those of a sender that is held back, and go on when it was identified again."""
    batch = await world.submit([world.line("r-1")])
    world.ask("UPDATE qerds.sender SET identity_valid_until = qerds.legal_now()")
    async with ingest_process(world.database) as process:
        await process.run()
        assert world.told(batch) == []
        assert world.ask("SELECT kind, attempts FROM outbox.timer") == "draw|0"
        world.ask(
            "UPDATE qerds.sender SET identity_valid_until = qerds.legal_now() + interval '1 year'; "
            "UPDATE outbox.timer SET due_at = now()"
        )
        process.box._next_sweep = 0.0
        await process.run()
    assert world.told(batch) == ["accepted"]


async def test_a_page_of_waiting_lines_is_bounded_in_bytes(world: World) -> None:
    """Long lines come in short pages, each at least one line, and all of them in their order."""
    lines = [world.line(f"r-{n}", pad="x" * (60_000 if n % 3 else 10)) for n in range(90)]
    batch = await world.submit(lines[:50], lines[50:])
    store, found, after = PostgresBatchStore(world.gateway), list[WaitingLine](), BEGINNING
    while page := await store.waiting(batch, after, 1000):
        after = LineCursor(page[-1].part, page[-1].line)
        assert sum(len(line.body) for line in page) < 1024 * 1024 + 65_536
        found += page
    assert [line.body for line in found] == lines
    assert [line.number for line in found] == list(range(1, 91))


async def test_a_page_of_results_is_bounded_in_bytes(world: World) -> None:
    """Lines with as many mistakes as are told: a page holds less of them than of others."""
    wrong = {f"field-that-nobody-knows-{n}": 0 for n in range(100)}
    batch = await world.submit([world.line(f"r-{n}", **wrong) for n in range(150)])
    async with ingest_process(world.database) as process:
        await process.run()
    store, sizes, after = PostgresBatchStore(world.gateway), [], BEGINNING
    while page := await store.results(batch, after, 1000):
        assert [seen.line for seen in page] == list(range(after.line + 1, after.line + 1 + len(page)))
        after = LineCursor(page[-1].part, page[-1].line)
        sizes.append(len(page))
    assert (sum(sizes), len(sizes) > 1) == (150, True), sizes
