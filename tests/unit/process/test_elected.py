"""Elections in memory, in virtual time: whatever happens to whom, one acts, and who has lost it stops in time."""

import random
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from pipeline.errors import Invariant, Transient
from pipeline.process import elected
from pipeline.process.elected import PAUSE_SECONDS_MAX, SILENT_SECONDS, STANDBY_SECONDS, TRUST_SECONDS, Term
from pipeline.process.measures import ELECTIONS_LOST
from pipeline.process.recorder import Recorder
from tests.memory.election import Judge, MemorySession
from tests.simulation.schedule import run_seeded

CANDIDATES = 3
FAULTS = 10
SEEDS = range(50)
OF_ELECTED = 0.7  # of all faults; the others happen to anybody
REST_SECONDS = 1.0  # between two acts
NOTICED_SECONDS = 0.1  # how often the judge looks for silence


class Candidate:
    """A process that stands, acts over its session, and shows its term to whoever looks."""

    def __init__(self, judge: Judge, name: str, act: Callable[[], Awaitable[None]] | None = None) -> None:
        self.session = MemorySession(judge, name, self.step)
        self.recorder = Recorder(name, write=lambda _: None)
        self.draining = anyio.Event()
        self.scope = anyio.CancelScope()
        self.term: Term | None = None
        self._act = act or self.session.act
        self._goes = anyio.Event()
        self._goes.set()

    def shows(self) -> bool:
        """Whether who looks sees it act."""
        return self.term is not None and self.term.is_trusted

    async def step(self) -> None:
        await anyio.lowlevel.checkpoint()
        await self._goes.wait()

    async def live(self) -> None:
        """Until it drains or is killed."""
        with self.scope:
            await elected.run(self.session, self._lead, self.draining, lambda: 0.5, self.recorder)

    def stand_still(self) -> None:
        """As if stopped: nothing of it goes on, but what it has shown is still there to be seen."""
        self._goes = anyio.Event()

    def go_on(self) -> None:
        self._goes.set()

    async def _lead(self, term: Term) -> None:
        self.term = term
        while True:
            await self._act()
            await anyio.sleep_until(anyio.current_time() + REST_SECONDS)
            await self.step()


async def until(holds: Callable[[], bool], seconds: float) -> float:
    """Virtual seconds until then; TimeoutError after so many."""
    began = anyio.current_time()
    with anyio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep_until(anyio.current_time() + 0.01)
    return anyio.current_time() - began


def in_virtual_time(story: Callable[..., Awaitable[None]], seed: int = 0, *arguments: object) -> None:
    run_seeded(seed, story, *arguments)


async def whoever_dies(seed: int) -> None:
    chance, judge = random.Random(seed), Judge()
    candidates = [Candidate(judge, f"first {n}") for n in range(CANDIDATES)]

    def shown() -> int:
        return sum(candidate.shows() for candidate in candidates)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge.watch)
        for candidate in candidates:
            tasks.start_soon(candidate.live)
        for number in range(FAULTS):
            await until(lambda: judge.holder is not None and shown() == 1, 60)
            end = anyio.current_time() + chance.uniform(0, 3)
            await anyio.sleep_until(end)
            of_elected = [n for n, candidate in enumerate(candidates) if candidate.session is judge.holder]
            slot = of_elected[0] if of_elected and chance.random() < OF_ELECTED else chance.randrange(CANDIDATES)
            fault = chance.choice(["killed", "ended", "stands"])
            victim = candidates[slot]
            if fault == "killed":
                victim.scope.cancel()
                candidates[slot] = Candidate(judge, f"{number} {slot}")
                tasks.start_soon(candidates[slot].live)
            elif fault == "ended":
                judge.end(victim.session)
            else:
                victim.stand_still()
                await anyio.sleep_until(anyio.current_time() + chance.uniform(0, 2 * SILENT_SECONDS))
                victim.go_on()
        await until(lambda: shown() == 1, 60)
        tasks.cancel_scope.cancel()
    terms = [term for term, _ in judge.acts]
    assert terms == sorted(terms), seed
    assert len({(term, name) for term, name in judge.acts}) == len(set(terms)), seed
    assert judge.terms > 1


@pytest.mark.parametrize("seed", SEEDS)
def test_terms_never_act_across_each_other(seed: int) -> None:
    """Killed, ended by the judge, standing still at any instant: acts of one term are all before those of the next."""
    in_virtual_time(whoever_dies, seed, seed)


async def a_leader_that_stands_still() -> None:
    judge = Judge()
    old, new = Candidate(judge, "old"), Candidate(judge, "new")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge.watch)
        tasks.start_soon(old.live)
        await until(old.shows, 1)
        tasks.start_soon(new.live)
        old.stand_still()
        assert TRUST_SECONDS - REST_SECONDS <= await until(lambda: not old.shows(), 60) <= TRUST_SECONDS + 0.01
        assert not new.shows()
        least, most = SILENT_SECONDS - TRUST_SECONDS, SILENT_SECONDS - TRUST_SECONDS + REST_SECONDS + STANDBY_SECONDS
        assert least - 0.02 <= await until(new.shows, 60) <= most + NOTICED_SECONDS + 0.02
        old.go_on()
        await until(lambda: old.recorder.counts.get(ELECTIONS_LOST.of()) == 1, 2)
        assert not old.shows()
        assert new.shows()
        tasks.cancel_scope.cancel()


def test_who_stands_still_is_trusted_no_more_before_another_is_elected() -> None:
    """Stopped, or without processor time: what it showed goes at TRUST_SECONDS, its term at SILENT_SECONDS."""
    in_virtual_time(a_leader_that_stands_still)


async def a_leader_that_is_cut_off() -> None:
    judge = Judge()
    old, new = Candidate(judge, "old"), Candidate(judge, "new")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(old.live)
        await until(old.shows, 1)
        tasks.start_soon(new.live)
        old.session.is_cut_off = True
        judge.end(old.session)
        old.session.is_ended = False
        assert await until(new.shows, 60) <= STANDBY_SECONDS + 0.02
        assert await until(lambda: not old.shows(), 60) <= TRUST_SECONDS
        tasks.cancel_scope.cancel()
    assert {name for term, name in judge.acts if term == 2} == {"new"}


def test_who_is_cut_off_stops_without_hearing_of_it() -> None:
    """Its questions get no answer, not even a refusal; another acts meanwhile, over a session of its own."""
    in_virtual_time(a_leader_that_is_cut_off)


async def a_drain() -> None:
    judge = Judge()
    old, new = Candidate(judge, "old"), Candidate(judge, "new")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(old.live)
        await until(old.shows, 1)
        tasks.start_soon(new.live)
        await new.recorder.ready.wait()
        old.draining.set()
        assert await until(new.shows, 5) <= STANDBY_SECONDS + 0.02
        assert (old.shows(), old.session.stops) == (False, 1)
        tasks.cancel_scope.cancel()


def test_a_drain_hands_over_at_once() -> None:
    """The session is closed in good order: the next one is elected at its next asking, and nobody waits for silence."""
    in_virtual_time(a_drain)


async def an_act_that_fails(error: Exception) -> None:
    judge = Judge()
    failing = True

    async def act() -> None:
        if failing:
            raise error

    it = Candidate(judge, "it", act)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(it.live)
        await until(lambda: it.session.stops == 2, 3 * PAUSE_SECONDS_MAX)
        assert not it.shows()
        assert not it.recorder.is_ready
        failing = False
        await until(lambda: it.shows() and it.recorder.is_ready, 2 * PAUSE_SECONDS_MAX)
        assert judge.terms == 3
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("error", [Transient("away"), TimeoutError()])
def test_a_failed_act_ends_the_term(error: Exception) -> None:
    """The session goes with it, so that another one may try; after a pause this one stands again."""
    in_virtual_time(an_act_that_fails, 0, error)


async def a_broken_promise() -> None:
    judge = Judge()

    async def act() -> None:
        raise Invariant("two events have one place")

    it = Candidate(judge, "it", act)
    try:
        await it.live()
    except* Invariant:
        assert it.session.stops == 1
    else:
        pytest.fail("it went on")


def test_a_broken_promise_ends_the_process_and_its_term() -> None:
    """Going on would make it worse; the next one need not wait to find out."""
    in_virtual_time(a_broken_promise)
