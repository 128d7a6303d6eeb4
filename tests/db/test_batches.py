"""Drawing over real PostgreSQL: exactly once, whatever dies and whoever else draws (what it costs: tests/scale)."""

import random
from dataclasses import replace
from typing import Any

import anyio
import pytest

from pipeline.intake import drawing
from pipeline.stores.batches import References
from tests.drawing import Ingest, ingest_process
from tests.worlds.one_batch import World, world

__all__ = ["world"]
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
LINES = 400


class Interrupted:
    """The reading port of one process; something happens before it has read what lines refer to."""

    def __init__(self, draws: Any, meanwhile: Any) -> None:
        self._draws = draws
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._draws, name)

    async def references(self, *arguments: Any) -> References:
        found: References = await self._draws.references(*arguments)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return found


def interrupted(process: Ingest, meanwhile: Any) -> None:
    process.ports = replace(process.ports, draws=Interrupted(process.ports.draws, meanwhile))


async def test_a_process_taken_for_dead_draws_nothing_twice(world: World) -> None:
    """It judged its lines, stood still, and another one was rescued onto them: its commit changes nothing."""
    batch = await world.submit([world.line(f"r-{n}") for n in range(10)])
    async with ingest_process(world.database) as late, ingest_process(world.database) as quick:

        async def meanwhile() -> None:
            world.ask("UPDATE outbox.process SET seen_at = seen_at - interval '1 min' WHERE epoch = 1")
            quick.box._next_sweep = 0.0
            assert await quick.turn()

        interrupted(late, meanwhile)
        assert await late.turn()
        await quick.run()
    assert world.told(batch) == ["accepted"] * 10
    assert world.ask("SELECT count(*) FROM qerds.delivery") == "10"
    assert world.ask("SELECT count(*), count(DISTINCT subject) FROM outbox.encrypt") == "10|10"
    assert world.is_sound()


async def test_a_letter_on_its_own_may_take_a_client_ref_meanwhile(world: World) -> None:
    """Judged free, taken before the commit: replayed when it is the same letter, a conflict when it is not."""
    first = await world.submit([world.line("r-1"), world.line("r-2"), world.line("r-3")])
    async with ingest_process(world.database) as process:

        async def meanwhile() -> None:
            world.ask("UPDATE qerds.batch SET state = 'cancelled'")  # so that only the rival is drawn
            rival = await world.submit([world.line("r-1"), world.line("r-3", subject="other")])
            world.ask(f"UPDATE outbox.ingest SET lane = 0 WHERE subject = '{rival}'")
            async with ingest_process(world.database) as other:
                await other.turn()
            world.ask(f"UPDATE qerds.batch SET state = 'submitted' WHERE id = '{first}'")

        interrupted(process, meanwhile)
        await process.run()
    assert world.told(first) == ["replayed", "accepted", "client_ref_conflict"]
    assert world.is_sound()


async def test_processes_that_draw_at_once(world: World) -> None:
    """Three processes, six batches with the same references in other orders: one letter each, no deadlock, all told."""
    refs = [f"r-{n}" for n in range(LINES)]
    orders = [random.Random(seed).sample(refs, LINES) for seed in range(6)]
    batches = [await world.submit([world.line(ref) for ref in order]) for order in orders]

    async def work() -> None:
        async with ingest_process(world.database) as process:
            await process.run()

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(work)
    async with ingest_process(world.database) as process:  # what the last to leave put back
        world.ask("UPDATE outbox.timer SET due_at = now() WHERE kind = 'draw'")
        await process.run()
    told = [one for batch in batches for one in world.told(batch)]
    assert (told.count("accepted"), told.count("replayed")) == (LINES, 5 * LINES)
    assert world.ask("SELECT count(*) FROM qerds.delivery") == str(LINES)
    assert world.is_sound()


async def test_a_draw_that_is_killed_anywhere_is_drawn_again_once(world: World) -> None:
    """Cancelled at random moments, again and again: in the end each line has one result and one letter."""
    batch = await world.submit([world.line(f"r-{n}") for n in range(LINES)], [world.line("last", subject="")])
    dice = random.Random(1)
    for _ in range(25):
        async with ingest_process(world.database) as process:
            with anyio.move_on_after(dice.uniform(0.002, 0.05)):
                await process.run()
        world.ask("UPDATE outbox.timer SET due_at = now()")
        world.ask(
            "UPDATE outbox.ingest SET rescues = 0; UPDATE outbox.ingest_running SET rescues = 0"
        )  # no dead letter
    async with ingest_process(world.database) as process:
        await process.run()
    assert world.told(batch) == ["accepted"] * LINES + ["field_invalid"]
    assert world.ask("SELECT count(*) FROM qerds.delivery") == str(LINES)
    assert world.ask("SELECT count(*), count(DISTINCT subject) FROM outbox.encrypt") == f"{LINES}|{LINES}"
    assert world.ask("SELECT count(*) FROM qerds.batch_line") == "0"
    assert world.is_sound()


async def test_a_batch_ends_when_its_letters_are_decided(world: World) -> None:
    """Also those that existed before: while one is neither deposited nor rejected, it is looked at again."""
    first = await world.submit([world.line("r-1")])
    again = await world.submit([world.line("r-1")])
    async with ingest_process(world.database) as process:
        for decided in (False, True):
            await process.run()
            states = world.ask("SELECT DISTINCT state FROM qerds.batch").split()
            assert states == (["completed"] if decided else ["processing"])
            world.ask("SET session_replication_role = replica; UPDATE qerds.delivery SET state = 'deposited'")
            world.ask("UPDATE outbox.timer SET due_at = now() WHERE kind = 'settle'")
            process.box._next_sweep = 0.0
    assert (world.told(first), world.told(again)) == (["accepted"], ["replayed"])
    assert world.ask("SELECT count(*) FROM outbox.timer") == "0"


@pytest.mark.parametrize("scope", ["batch", "sender"])
async def test_a_paused_batch_waits(world: World, scope: str) -> None:
    """Held back by itself or through its sender, it spends no attempt; what was drawn goes on."""
    batch = await world.submit([world.line("r-1")])
    subject = batch if scope == "batch" else world.sender
    world.ask(f"INSERT INTO outbox.pause (scope, subject, reason) VALUES ('{scope}', '{subject}', 'r')")
    async with ingest_process(world.database) as process:
        await process.run()
    assert world.told(batch) == []
    assert world.ask("SELECT kind, attempts FROM outbox.timer") == "draw|0"
    world.ask("UPDATE outbox.pause SET resumed_at = now()")
    world.ask("UPDATE outbox.timer SET due_at = '-infinity'")
    async with ingest_process(world.database) as process:
        await process.run()
    assert world.told(batch) == ["accepted"]


async def test_nothing_is_drawn_while_the_next_stages_are_full(world: World) -> None:
    """The depth is counted by a function: `ingest` sees no message of another stage."""
    world.ask(
        "INSERT INTO outbox.seal (lane, kind, subject) "
        f"SELECT n % 4, 'draft', gen_random_uuid() FROM generate_series(1, {drawing.BACKLOG_MAX}) n"
    )
    batch = await world.submit([world.line("r-1")])
    async with ingest_process(world.database) as process:
        await process.run()
    assert world.told(batch) == []
    assert world.ask("SELECT kind, attempts FROM outbox.timer") == "draw|0"
