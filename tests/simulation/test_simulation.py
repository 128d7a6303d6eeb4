"""The seven real stages on a virtual clock, with everything going wrong that can. A failing seed is its own replay:

pytest tests/simulation --seed N
"""

from collections.abc import Sequence

import anyio
import pytest

from pipeline.ports.mailbox import Message
from tests.memory.database import MemoryTx
from tests.simulation.ledger import check_ledger
from tests.simulation.processes import DangerousMailbox, MailboxMaker
from tests.simulation.schedule import run_seeded
from tests.simulation.world import World

MUTANT_SEEDS = 40


class FencelessTx(MemoryTx):
    """Removes what it took and believes that all of it was still its own."""

    async def remove(self, batch: Sequence[Message]) -> frozenset[int]:
        await super().remove(batch)
        return frozenset(m.id for m in batch)


class FencelessMailbox(DangerousMailbox):
    """The loop without its fence."""

    tx = FencelessTx


def lived(seed: int, make_mailbox: MailboxMaker = DangerousMailbox) -> World:
    """The world at the end of this seed's run."""

    async def live() -> World:
        world = World(seed, make_mailbox)
        await world.run()
        return world

    return run_seeded(seed, live)


def test_whatever_dies_the_ledger_is_right(seed: int) -> None:
    """Deaths, stalls, outages, lost answers and a jumping clock lose nothing, double nothing and end every letter."""
    violations = check_ledger(lived(seed))
    assert not violations, f"replay: pytest tests/simulation --seed {seed}"


def test_without_the_fence_a_seed_fails() -> None:
    """The ledger sees what the fence prevents: without it, a process taken for dead doubles its batch."""
    for seed in range(MUTANT_SEEDS):
        if violations := check_ledger(lived(seed, FencelessMailbox)):
            assert any("was emitted" in violation for violation in violations)
            return
    pytest.fail(f"{MUTANT_SEEDS} seeds did not notice that the fence is gone")


def story(world: World) -> list[object]:
    """What happened, in order."""
    counts = [process.recorder.counts for process in world.processes]
    mails = [(mail.recipient, mail.message_id) for mail in world.mailer.taken]
    proofs = [(e.evidence, e.event_time) for m in world.letters for e in world.database.tables.drafts(m.delivery)]
    return [counts, mails, proofs, list(world.database.births.items()), world.faults.count]


def test_a_seed_replays_exactly() -> None:
    """The same seed gives the same run, step for step; another seed another."""
    first, again, other = (story(lived(seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_seeds_are_different_schedules() -> None:
    """Six tasks that race: each seed has its own order, and keeps it."""

    def order(seed: int) -> list[int]:
        async def race() -> list[int]:
            seen: list[int] = []

            async def run(number: int) -> None:
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
                    seen.append(number)

            async with anyio.create_task_group() as tasks:
                for number in range(6):
                    tasks.start_soon(run, number)
            return seen

        return run_seeded(seed, race)

    assert [order(seed) for seed in range(10)] == [order(seed) for seed in range(10)]
    assert len({tuple(order(seed)) for seed in range(10)}) > 5
