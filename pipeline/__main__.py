"""`python -m pipeline STAGE` runs one actor, `events` the sequencer, `ops` the measurer; `graph` prints the map.

The only importer of stages, by a literal tuple. Exit status: 0 drained, 2 wrong usage, 70 an invariant does not hold.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
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
from pipeline.errors import Invariant
from pipeline.feed import sequencer
from pipeline.formats.configuration import Config, load_from_environment
from pipeline.measures import measurer
from pipeline.ports.outside import Objects
from pipeline.process import escapes, health
from pipeline.process.health import Health
from pipeline.process.readiness import notify as tell_supervisor
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
    Actor(notify.STAGE, lambda a, s: notify.Ports(a.facts, a.mailer, a.randomness, s.letterhead, a.consents)),
    Actor(expire.STAGE, lambda a, s: expire.Ports(a.facts)),
    Actor(archive.STAGE, lambda a, s: archive.Ports(a.facts, a.bridge, a.objects, a.keys, a.randomness, a.exports)),
    Actor(webhook.STAGE, lambda a, s: webhook.Ports(a.webhooks, a.bridge, a.courier, a.clock, a.ids)),
)
SEQUENCER, MEASURER = "events", "ops"
HEALTH_PORT = "QERDS_HEALTH_PORT"
EXIT_INVARIANT = 70  # EX_SOFTWARE


async def main(actor: Runnable) -> None:
    """One stage until SIGTERM or SIGINT: the turn under way is finished, then it stops."""
    config = load_from_environment()
    recorder = recorder_of(config, actor.name)
    draining = anyio.Event()
    async with connect(config, actor.name, recorder) as adapters, anyio.create_task_group() as tasks:
        tasks.start_soon(_drain_on_signal, draining)
        if port := os.environ.get(HEALTH_PORT):
            tasks.start_soon(health.serve, int(port), Health(recorder, draining.is_set))
        tasks.start_soon(_tell_when_ready, recorder)
        if actor.name == archive.STAGE.name:
            tasks.start_soon(_keep_clean, config, adapters.objects, recorder)
        await actor.run(adapters, settings_of(config), draining, recorder)
        tasks.cancel_scope.cancel()


async def sequence() -> None:
    """The sequencer of events, likewise."""
    config = load_from_environment()
    recorder = recorder_of(config, SEQUENCER)
    draining = anyio.Event()
    log, randomness = connect_sequencer(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_drain_on_signal, draining)
        if port := os.environ.get(HEALTH_PORT):
            tasks.start_soon(health.serve, int(port), Health(recorder, draining.is_set))
        tasks.start_soon(_tell_when_ready, recorder)
        await sequencer.run(log, draining, randomness, recorder)
        tasks.cancel_scope.cancel()


async def measure() -> None:
    """The measurer, likewise."""
    config = load_from_environment()
    recorder = recorder_of(config, MEASURER)
    draining = anyio.Event()
    watch, volumes, randomness = connect_watch(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_drain_on_signal, draining)
        if port := os.environ.get(HEALTH_PORT):
            tasks.start_soon(health.serve, int(port), Health(recorder, draining.is_set))
        tasks.start_soon(_tell_when_ready, recorder)
        await measurer.run(watch, volumes, draining, randomness, recorder)
        tasks.cancel_scope.cancel()


async def _drain_on_signal(draining: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            tell_supervisor("STOPPING=1")
            draining.set()
            return  # the second signal kills: the default handlers are back


async def _keep_clean(config: Config, objects: Objects, recorder: Recorder) -> None:
    """`archive` is the one that removes: it has the only right to."""
    await recorder.ready.wait()
    async with connect_garbage(config) as garbage:
        await keep_clean(garbage, objects, recorder)


async def _tell_when_ready(recorder: Recorder) -> None:
    await recorder.ready.wait()
    tell_supervisor("READY=1")


def _live(actor: Runnable) -> int:
    status = 0
    try:
        anyio.run(main, actor, backend_options={"use_uvloop": True})
    except* Invariant as broken:
        Recorder(actor.name).error("stopped", broken)
        status = EXIT_INVARIANT
    return status


def graph() -> str:
    """The pipeline as lines `event or kind -> stage`, from the tables that run it."""
    lines = [f"{kind} -> {stage}" for kind, stage in RECEIVER.items()]
    lines += [f"{event} stamped -> {', '.join(kinds) or 'nothing'}" for event, kinds in AFTER.items()]
    return "\n".join(lines)


def run(arguments: list[str]) -> int:
    """The exit status."""
    by_name = {actor.name: actor for actor in STAGES}
    match arguments:
        case ["graph"]:
            print(graph())
            return 0
        case [name] if name in by_name:
            return _live(by_name[name])
        case [name] if name == SEQUENCER:
            anyio.run(sequence, backend_options={"use_uvloop": True})
            return 0
        case [name] if name == MEASURER:
            anyio.run(measure, backend_options={"use_uvloop": True})
            return 0
        case _:
            print(f"usage: python -m pipeline {'|'.join([*by_name, SEQUENCER, MEASURER])}|graph", file=sys.stderr)
            return 2


if __name__ == "__main__":
    escapes.watch(Recorder(" ".join(sys.argv[1:2])))
    sys.exit(run(sys.argv[1:]))
