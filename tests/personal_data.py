"""A person who must be found in no log and no dead letter, and the loop over a message whose work meets that person.

Owns     the canaries, the search for them, one turn of the real loop in which whatever the work raises or answers ends
         as a dead letter
Elsewhere: which parsing meets the person (tests/unit/personal_data)
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from pipeline.actors import contract, loop
from pipeline.actors.contract import ATTEMPTS_MAX, RESCUES_MAX, Done, Outcome, Stage
from pipeline.adapters.ids import SystemRandomness
from pipeline.delivery.routes import SUBMITTED, Emission
from pipeline.errors import Invariant, LeaseLost
from pipeline.ports.mailbox import Message, Tx
from pipeline.process.recorder import Recorder
from tests.memory.database import MemoryClock, MemoryDatabase
from tests.memory.mailbox import MemoryMailbox

NAME, EMAIL, BORN, STREET = "Jeanne Martin", "jeanne@canary.example", "17/05/1980", "12 rue des Lilas"
CANARIES = (NAME, *NAME.split(), EMAIL, BORN, STREET, "canary", "Lilas")
PERSON = f"{NAME}, {EMAIL}, {BORN}, {STREET}"  # printable ASCII, so that nothing but a mask would hide it
PERFORM_SECONDS = 120.0  # as notify has, which sends nothing in the last of them
Work = Callable[[Message], Awaitable[Outcome[None] | None]]


def found_in(text: str) -> list[str]:
    """The canaries in it, in whatever case."""
    return [canary for canary in CANARIES if canary.lower() in text.lower()]


@dataclass
class Told:
    """What is left of one message: lines of the log, reasons of dead letters."""

    lines: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)

    @property
    def everything(self) -> str:
        return "\n".join([*self.lines, *self.dead])


async def told_by(work: Work) -> Told:
    """One turn over one message that has a last attempt and a last rescue. What it raises is recorded as a stop is."""
    told = Told()
    database = MemoryDatabase(MemoryClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC)))
    async with database.transaction() as tx:
        await tx.emit([Emission(SUBMITTED, uuid4(), uuid4())])
    rows = database.waiting["ingest"]
    spent = {"attempts": ATTEMPTS_MAX - 1, "rescues": RESCUES_MAX - 1, "lane": 1}
    rows.update({i: replace(m, **spent) for i, m in rows.items()})  # type: ignore[arg-type]

    async def perform(batch: Sequence[Message], _ports: object) -> list[Outcome[None]]:
        return [await work(m) or Done(m, None) for m in batch]

    async def commit(_tx: Tx, _done: Sequence[Done[None]]) -> list[Emission]:
        return []

    stage = Stage("ingest", contract.Work(frozenset({SUBMITTED}), perform, commit), perform_seconds=PERFORM_SECONDS)
    box, recorder = MemoryMailbox(database, "ingest", SystemRandomness()), Recorder("ingest", told.lines.append)
    await box.start()
    try:
        await loop.turn(stage, box, None, await box.take(1), lambda: 0.5, recorder)
    except (Invariant, LeaseLost) as error:
        recorder.error("stopped", error)
    told.dead += [d.why for d in database.dead]
    return told


def quoted_by(error: BaseException) -> list[str]:
    """The canaries that a log would hold if it held what is in the exception, and in all that is behind it."""
    held = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    near = [one for one in (*held, error.__cause__, error.__context__) if one is not None]
    return [*found_in(f"{error} {error.args} {vars(error)}"), *[canary for one in near for canary in quoted_by(one)]]
