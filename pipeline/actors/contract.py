"""What a stage is and what it may say: Message, Outcome, Stage; Tx and Emission are named here for it.

    perform(batch, ports) -> [Outcome]        outside any transaction; may run twice; sends only stored bytes
    commit(tx, done)      -> [Emission]       inside the one transaction that takes the batch out; awaits tx only

One outcome a message, in any order.

Owns the vocabulary only. What happens with an outcome is decided in loop.py and nowhere else.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, cast

from pipeline.delivery.routes import Emission
from pipeline.ports.mailbox import Message, Tx

__all__ = ["Bury", "Done", "Emission", "Message", "Outcome", "Retry", "Stage", "Tx", "Work", "beside"]

ATTEMPTS_MAX = 500  # with the cap of pipeline/process/backoff.py about 16 hours of an outage before a person is asked
CLOCK_SECONDS = 5.0  # until another look at a clock that is wrong
RESCUES_MAX = 5  # deaths and exceptions, at least three of them alone: the fault is not its neighbours'

Ports = TypeVar("Ports", contravariant=True)  # what perform asks of the outside
Fact = TypeVar("Fact")  # what perform finds, and what commit writes of it
Told = TypeVar("Told", covariant=True)
Other = TypeVar("Other")
Within = TypeVar("Within", bound=Tx, contravariant=True)  # the transaction that commit needs: Tx, or more than it


@dataclass(frozen=True, slots=True)
class Done(Generic[Told]):
    """The outside work is done; `fact` is what commit will write. A refusal is a Done whose fact is a rejection."""

    message: Message
    fact: Told


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. after_seconds: earliest next try, None for the usual backoff. counted: whether it spends an attempt.
    outcome: as it is counted in the series of messages."""

    message: Message
    why: str
    after_seconds: float | None = None
    counted: bool = True
    outcome: Literal["retry", "clock"] = "retry"

    @classmethod
    def for_clock(cls, message: Message, why: str) -> "Retry":
        """A clock stepped back or runs ahead: it is waited for however long it takes, with an alarm; nothing is wrong
        with the message, so it is no attempt and never a dead letter."""
        return cls(message, why, CLOCK_SECONDS, counted=False, outcome="clock")


@dataclass(frozen=True, slots=True)
class Bury:
    """No attempt can finish this: a dead letter, with its reason, for a person."""

    message: Message
    why: str


Outcome = Done[Told] | Retry | Bury


@dataclass(frozen=True, slots=True)
class Work(Generic[Ports, Fact, Within]):
    """What is done with some kinds of message. The facts that perform finds are the facts that commit takes."""

    receives: frozenset[str]
    perform: Callable[[Sequence[Message], Ports], Awaitable[Sequence[Outcome[Fact]]]]
    commit: Callable[[Within, Sequence[Done[Fact]]], Awaitable[Sequence[Emission]]]


@dataclass(frozen=True, slots=True)
class Stage(Generic[Ports, Fact, Within]):
    """One actor: its name is its mailbox, its process and its database role."""

    name: str
    work: Work[Ports, Fact, Within]
    batch_max: int = 100  # messages; more gained little and cost latency (bench/)
    perform_seconds: float = 10.0  # deadline of one perform


def beside(work: Work[Ports, Fact, Within], other: Work[Ports, Other, Within]) -> Work[Ports, Fact | Other, Within]:
    """Two works behind one mailbox: each message goes to the work that receives its kind, `work` first."""

    async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[Fact | Other]]:
        outcomes: list[Outcome[Fact | Other]] = []
        if first := [m for m in batch if m.kind in work.receives]:
            outcomes += await work.perform(first, ports)
        if second := [m for m in batch if m.kind in other.receives]:
            outcomes += await other.perform(second, ports)
        return outcomes

    async def commit(tx: Within, done: Sequence[Done[Fact | Other]]) -> list[Emission]:
        # By kind again: a Done of a kind that `work` receives was made by `work`, and holds one of its facts.
        first = [cast("Done[Fact]", d) for d in done if d.message.kind in work.receives]
        second = [cast("Done[Other]", d) for d in done if d.message.kind in other.receives]
        emissions = list(await work.commit(tx, first)) if first else []
        return emissions + list(await other.commit(tx, second)) if second else emissions

    return Work(work.receives | other.receives, perform, commit)
