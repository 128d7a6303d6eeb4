"""What the type checker says to a stage whose parts do not fit together."""

from pathlib import Path

import pytest

from tests.tidy.type_checker import complaints

pytestmark = pytest.mark.timeout(120)  # without a cache the checker reads everything that `connect` reaches

STAGE = """
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.__main__ import Actor
from pipeline.actors.contract import Done, Emission, Message, Outcome, Stage, Tx, Work, beside
from pipeline.notices.relaying import GuardedRelay
from pipeline.ports.rows import Facts


@dataclass(frozen=True, slots=True)
class Ports:
    facts: Facts


@dataclass(frozen=True, slots=True)
class OtherPorts:
    relay: GuardedRelay


class ErasingTx(Tx, Protocol):
    async def erase(self) -> None: ...


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[int]]:
    return [Done(m, 1) for m in batch]


async def commit(tx: Tx, done: Sequence[Done[int]]) -> list[Emission]:
    return []


async def commit_text(tx: Tx, done: Sequence[Done[str]]) -> list[Emission]:
    return []


async def commit_erasing(tx: ErasingTx, done: Sequence[Done[int]]) -> list[Emission]:
    return []


async def perform_other(batch: Sequence[Message], ports: OtherPorts) -> list[Outcome[int]]:
    return []


KINDS = frozenset({"planted"})
WORK = Work(KINDS, perform, commit)
"""
WRONG = "  # wrong"
GOOD = """
def runs(work: Work[Ports, int, Tx]) -> None:
    Actor(Stage("planted", WORK), lambda a, s: Ports(a.facts))
    Actor(Stage("planted", beside(WORK, work)), lambda a, s: Ports(a.facts))
"""
BAD = {
    "commit_takes_other_facts": f"""
OTHER = Work(KINDS, perform, commit_text){WRONG}
""",
    "port_not_offered": f"""
Actor(Stage("planted", WORK), lambda a, s: Ports(a.ledger)){WRONG}
""",
    "port_of_another_type": f"""
Actor(Stage("planted", WORK), lambda a, s: Ports(a.relay)){WRONG}
""",
    "ports_of_another_stage": f"""
Actor(Stage("planted", WORK), lambda a, s: OtherPorts(a.relay)){WRONG}
""",
    "transaction_without_what_commit_needs": f"""
Actor(Stage("planted", Work(KINDS, perform, commit_erasing)), lambda a, s: Ports(a.facts)){WRONG}
""",
    "works_with_different_ports": f"""
BOTH: Stage[Ports, int, Tx] = Stage("planted", beside(WORK, Work(KINDS, perform_other, commit))){WRONG}
""",
}


def test_a_stage_whose_parts_do_not_fit_is_an_error_of_the_type_checker(tmp_path: Path) -> None:
    """Nothing is said of a sound stage; each mistake is found where it is made, before anything runs."""
    planted = {f"stage_{name}": STAGE + text for name, text in {"good": GOOD, **BAD}.items()}
    wrong, said = complaints(planted, tmp_path)
    for name, source in planted.items():
        marked = {number for number, line in enumerate(source.splitlines(), 1) if line.endswith(WRONG)}
        assert wrong[name] == marked, said
