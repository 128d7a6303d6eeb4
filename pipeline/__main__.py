"""`python -m pipeline NAME` runs one process of the table: a stage, `events` the sequencer, `ops` the measurer.

Owns     the table of processes, name to what runs; it is the only importer of stages. `graph` prints the map
Exits    2 wrong usage, 3 the configuration cannot be used; else as pipeline/process/life.py says
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import anyio

from pipeline.actors import loop
from pipeline.actors.contract import Stage
from pipeline.connect import (
    Adapters,
    Settings,
    Transaction,
    connect,
    connect_garbage,
    connect_sequencer,
    connect_watch,
    recorder_of,
    settings_of,
)
from pipeline.delivery.routes import AFTER, RECEIVER
from pipeline.feed import sequencer
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import Config, load_from_environment
from pipeline.measures import measurer
from pipeline.ports.outside import Objects
from pipeline.process import life
from pipeline.process.life import Life
from pipeline.process.recorder import Recorder
from pipeline.retention.janitor import keep_clean
from pipeline.stages import archive, encrypt, expire, ingest, notify, seal, timestamp, webhook

Ports = TypeVar("Ports")
Fact = TypeVar("Fact")


class Runnable(Protocol):
    """A stage, whatever its ports are."""

    @property
    def name(self) -> str: ...
    async def run(self, adapters: Adapters, settings: Settings, draining: anyio.Event, recorder: Recorder) -> None: ...


@dataclass(frozen=True, slots=True)
class Actor(Generic[Ports, Fact]):
    """A stage, and how its ports are made of what connect offers."""

    stage: Stage[Ports, Fact, Transaction]
    ports: Callable[[Adapters, Settings], Ports]

    @property
    def name(self) -> str:
        """The stage's."""
        return self.stage.name

    async def run(self, adapters: Adapters, settings: Settings, draining: anyio.Event, recorder: Recorder) -> None:
        """Until `draining`."""
        ports = self.ports(adapters, settings)
        await loop.run(self.stage, adapters.mailbox, ports, draining, adapters.randomness, recorder)


STAGES: tuple[Runnable, ...] = (
    Actor(
        ingest.STAGE,
        lambda a, s: ingest.Ports(a.facts, a.draws, a.randomness, s.mode, s.config_version),
    ),
    Actor(encrypt.STAGE, lambda a, s: encrypt.Ports(a.facts, a.bridge, a.objects, s.minimum_level)),
    Actor(seal.STAGE, lambda a, s: seal.Ports(a.facts, a.bridge)),
    Actor(timestamp.STAGE, lambda a, s: timestamp.Ports(a.facts, a.authority, a.keys)),
    Actor(notify.STAGE, lambda a, s: notify.Ports(a.facts, a.relay, a.randomness, s.letterhead, a.consents)),
    Actor(expire.STAGE, lambda a, s: expire.Ports(a.facts)),
    Actor(archive.STAGE, lambda a, s: archive.Ports(a.facts, a.bridge, a.objects, a.keys, a.randomness, a.exports)),
    Actor(webhook.STAGE, lambda a, s: webhook.Ports(a.webhooks, a.bridge, a.courier, a.clock)),
)
DRAIN_SECONDS = 28.0  # for the turn under way; the supervisor waits 30


async def run_stage(actor: Runnable, config: Config, recorder: Recorder, draining: anyio.Event) -> None:
    """One actor: the turn under way is finished, then it stops."""
    async with connect(config, actor.name, recorder) as adapters, anyio.create_task_group() as tasks:
        if actor.name == archive.STAGE.name:
            tasks.start_soon(_keep_clean, config, adapters.objects, recorder)
        await actor.run(adapters, settings_of(config), draining, recorder)
        tasks.cancel_scope.cancel()


async def run_sequencer(config: Config, recorder: Recorder, draining: anyio.Event) -> None:
    """A candidate for the sequencing of events."""
    log, randomness = connect_sequencer(config)
    await sequencer.run(log, draining, randomness, recorder)


async def run_measurer(config: Config, recorder: Recorder, draining: anyio.Event) -> None:
    """A candidate for measuring."""
    watch, volumes, randomness = connect_watch(config)
    await measurer.run(watch, volumes, draining, randomness, recorder)


async def _keep_clean(config: Config, objects: Objects, recorder: Recorder) -> None:
    """`archive` is the one that removes: it has the only right to."""
    await recorder.ready.wait()
    async with connect_garbage(config) as garbage:
        await keep_clean(garbage, objects, recorder)


PROCESSES: Mapping[str, Callable[[Config, Recorder, anyio.Event], Awaitable[None]]] = {
    **{actor.name: partial(run_stage, actor) for actor in STAGES},
    "events": run_sequencer,
    "ops": run_measurer,
}


async def _live(name: str, own: Life) -> None:
    config = load_from_environment()
    recorder = recorder_of(config, name)
    async with own.watched(recorder):
        await PROCESSES[name](config, recorder, own.draining)


def graph() -> str:
    """The pipeline as lines `event or kind -> stage`, from the tables that run it."""
    lines = [f"{kind} -> {stage}" for kind, stage in RECEIVER.items()]
    lines += [f"{event} stamped -> {', '.join(kinds) or 'nothing'}" for event, kinds in AFTER.items()]
    return "\n".join(lines)


def run(arguments: list[str]) -> int:
    """The exit status."""
    match arguments:
        case ["graph"]:
            print(graph())
            return 0
        case [name] if name in PROCESSES:
            return life.run(name, partial(_live, name), DRAIN_SECONDS, {ConfigInvalid: life.CANNOT_START})
        case _:
            print(f"usage: python -m pipeline {'|'.join(PROCESSES)}|graph", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
