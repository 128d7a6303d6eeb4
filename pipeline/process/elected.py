"""An elected process: any number of it may run, one acts. The judge: PostgreSQL.

Owns     terms, trust, standby, failure and drain, for every process of which one acts
Term     begins when a session is elected and ends with that session, however that ends: drain, crash, SIGKILL, a cut
         line, a judge that restarts. Nothing renews it. Its number is higher than that of every term before it
Acting   over the session itself needs no more than that: the session holds the term, so when the term has gone the
         statement fails, and who is elected next finds all of it or nothing
Trust    what others see elsewhere (a number that is scraped, a file) may be done only while the term is trusted: for
         TRUST_SECONDS from the asking of the newest question that the session answered. So a process that stood still,
         or whose session died without a word, stops in time, though it has heard of nothing
Silence  the judge ends a session that has asked nothing for SILENT_SECONDS, which is longer than trust: a host that
         vanished does not keep its term, and its successor finds it trusted no more. Only who was cut off from a judge
         that ended its session early may be trusted beside its successor, for TRUST_SECONDS at the most
Standby  who is not elected asks again each STANDBY_SECONDS, and is ready: it has its session
Failure  Transient or TimeoutError, in the asking or in the act: the session is closed, and with it the term; after a
         pause the process stands again. Anything else ends the process
Drain    the act is cancelled where it waits; a statement on its way is finished first (the session shields it). Then
         the session is closed, so that the next one is elected at its next asking
Elsewhere: the judge (pipeline/adapters/postgres/elected.py); what is done when elected (the function that is given)
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio

from pipeline.errors import Transient
from pipeline.process.backoff import retry_seconds
from pipeline.process.measures import ELECTIONS_LOST
from pipeline.process.recorder import Recorder

STANDBY_SECONDS = 1.0
TRUST_SECONDS = 15.0  # more than a statement may take (10 s) and the rest between two
SILENT_SECONDS = 20.0
PAUSE_SECONDS_MAX = 5.0  # after a loss; more would leave an installation without an elected one


class CandidateSession(Protocol):
    """One candidate's session with the judge."""

    @property
    def proven_at(self) -> float:
        """When the newest question was asked that the judge has answered, by anyio's clock."""

    async def elect(self) -> int | None:
        """The number of the term that this session now holds; None: another one holds it. Asked only while it does not.

        Opens the session when there is none. Raises Transient when the judge is away.
        """

    async def stop(self) -> None:
        """Closes the session; its term ends. May be called twice."""


class Term:
    """The right to act, from an election to the end of its session."""

    def __init__(self, number: int, session: CandidateSession) -> None:
        self.number = number
        self._session = session
        self._is_over = False

    @property
    def is_trusted(self) -> bool:
        """Whether others may still be shown what this term knows."""
        return not self._is_over and anyio.current_time() < self._session.proven_at + TRUST_SECONDS

    def end(self) -> None:
        """It is trusted no more, whatever its session is used for next."""
        self._is_over = True


Act = Callable[[Term], Awaitable[None]]


async def run(
    session: CandidateSession, act: Act, draining: anyio.Event, unit: Callable[[], float], recorder: Recorder
) -> None:
    """Stand, and `act` whenever elected, until `draining`. act: goes on for ever; it may be cancelled at every await.

    unit: a random number in [0, 1), for pauses. Raises what `act` raises, but for Transient and TimeoutError.
    """
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stand, session, act, unit, recorder)
            await draining.wait()
            tasks.cancel_scope.cancel()
    finally:
        await session.stop()


async def _stand(session: CandidateSession, act: Act, unit: Callable[[], float], recorder: Recorder) -> None:
    losses = 0
    while True:
        try:
            number = await session.elect()
            losses = 0
            recorder.is_ready = True
            recorder.ready.set()
            if number is None:
                await anyio.sleep(STANDBY_SECONDS)
            else:
                await _serve(Term(number, session), act, recorder)
        except* (Transient, TimeoutError):
            recorder.count(ELECTIONS_LOST)
            recorder.is_ready = False
            losses += 1
        if losses:
            await session.stop()
            await anyio.sleep(min(retry_seconds(losses, unit()), PAUSE_SECONDS_MAX))


async def _serve(term: Term, act: Act, recorder: Recorder) -> None:
    recorder.note("elected", term=term.number)
    try:
        await act(term)
    finally:
        term.end()
        recorder.note("term_ended", term=term.number)
