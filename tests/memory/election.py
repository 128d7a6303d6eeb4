"""pipeline.process.elected.CandidateSession in memory: a judge, candidates' sessions, and what goes wrong between them.

Owns     who holds the term; sessions that end, fall silent or are cut off without a word
Rules    as PostgreSQL judges (pipeline/adapters/postgres/elected.py): the term goes with the session, a silent one is
         ended. Time is anyio's, virtual in the tests
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from pipeline.errors import Transient
from pipeline.process.elected import SILENT_SECONDS

T = TypeVar("T")
GUARD_SECONDS = 10.0  # pipeline/adapters/postgres/link.py


@dataclass(slots=True)
class Judge:
    """The one that all sessions ask, and the table that only grows."""

    holder: "MemorySession | None" = None
    terms: int = 0
    acts: list[tuple[int, str]] = field(default_factory=list)  # term, candidate

    async def watch(self) -> None:
        """For ever: ends who is silent."""
        while True:
            await anyio.sleep_until(anyio.current_time() + 0.1)
            holder = self.holder
            if holder is not None and anyio.current_time() > holder.asked_at + SILENT_SECONDS:
                self.end(holder)

    def end(self, session: "MemorySession") -> None:
        """Its term is free; the candidate hears of it when it asks next."""
        session.is_ended = True
        if self.holder is session:
            self.holder = None


class MemorySession:
    """One candidate's. step: called before and after each question; there it may be killed, or stand still."""

    def __init__(self, judge: Judge, name: str, step: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self.proven_at = float("-inf")
        self.asked_at = float("-inf")
        self.is_ended = True
        self.is_cut_off = False
        self.stops = 0
        self.number = 0
        self._judge = judge
        self._step = step

    async def elect(self) -> int | None:
        if self.is_ended:
            self.is_ended = self.is_cut_off = False

        def judged() -> int | None:
            judge = self._judge
            if judge.holder is not None:
                return None
            judge.holder = self
            judge.terms = self.number = judge.terms + 1
            return judge.terms

        return await self._ask(judged)

    async def act(self) -> None:
        """One row in the judge's table, by who holds the term."""
        await self._ask(lambda: self._judge.acts.append((self.number, self.name)))

    async def stop(self) -> None:
        self.stops += 1
        self._judge.end(self)

    async def _ask(self, question: Callable[[], T]) -> T:
        asked_at = anyio.current_time()
        await self._step()
        if self.is_cut_off:
            await anyio.sleep_until(anyio.current_time() + GUARD_SECONDS)
        if self.is_ended or self.is_cut_off:
            raise Transient("the session is gone")
        self.asked_at = anyio.current_time()
        answer = question()
        await self._step()
        self.proven_at = asked_at
        return answer
