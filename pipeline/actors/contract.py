"""What a stage is and what it may say: Message, Outcome, Stage.

    perform(batch, ports) -> [Outcome]        outside any transaction; may run twice; sends only stored bytes
    commit(tx, done)      -> [Emission]       inside the one transaction that takes the batch out; awaits tx only

Owns the vocabulary only. What happens with an outcome is decided in loop.py and nowhere else.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.delivery.routes import Emission
from pipeline.ports.mailbox import Message

ATTEMPTS_MAX = 500  # with the cap of backoff.py about 16 hours of an outage before a person is asked
RESCUES_MAX = 5  # of which at least three alone: the fault is the message's, not its neighbours'


@dataclass(frozen=True, slots=True)
class Done:
    """The outside work is done; `fact` is what commit will write. A refusal is a Done whose fact is a rejection."""

    message: Message
    fact: Any


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. after_seconds: earliest next try, None for the usual backoff. counted: whether it spends an attempt."""

    message: Message
    why: str
    after_seconds: float | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Bury:
    """No attempt can finish this: a dead letter, with its reason, for a person."""

    message: Message
    why: str


Outcome = Done | Retry | Bury


@dataclass(frozen=True, slots=True)
class Stage:
    """One actor: its name is its mailbox, its process and its database role."""

    name: str
    receives: frozenset[str]
    perform: Callable[[Sequence[Message], Any], Awaitable[Sequence[Outcome]]]
    commit: Callable[[Any, Sequence[Done]], Awaitable[Sequence[Emission]]]  # a Tx, or what one stage adds to it
    batch_max: int = 100  # messages; more gained little and cost latency (bench/)
    perform_seconds: float = 10.0  # deadline of one perform
