"""One no-op stage, or one producer, as a process of its own: python -m bench.hop_worker SOCKETS PASSWORDS VERB ..

Owns     what a scenario with several processes starts; it says `ready` when its epoch lives
Elsewhere: when it ends: SIGTERM drains a stage, and it dies with the bench
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import asyncpg

from bench import hop_stage
from bench.server import NAME, PORT, DatabaseServer
from deploy.local.children import die_with_parent
from pipeline.actors import loop
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.delivery.routes import BULK
from pipeline.errors import LeaseLost
from pipeline.formats.configuration import DatabaseSettings
from pipeline.process.recorder import Recorder

STOP_SECONDS = 10
INSERT = """
INSERT INTO outbox.ingest (lane, kind, subject)
SELECT $1, 'submitted', gen_random_uuid() FROM generate_series(1, $2)
"""
TICK_SECONDS = 0.010


@contextmanager
def workers(server: DatabaseServer, names: Sequence[str], batch_max: int = 100) -> Iterator[list[int]]:
    """A process for each name, ready; their pids. Drained at the end."""
    started = [_start(server, "stage", name, str(batch_max)) for name in names]
    try:
        for process in started:
            if process.stdout is None or process.stdout.readline().strip() != b"ready":
                raise RuntimeError("a worker did not get ready")
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            _end(process)


@contextmanager
def producer(server: DatabaseServer, rate: int, seconds: float) -> Iterator[None]:
    """A process that adds messages at this rate."""
    process = _start(server, "produce", str(rate), str(seconds))
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        _end(process)


def _start(server: DatabaseServer, *arguments: str) -> "subprocess.Popen[bytes]":
    where = server.database
    command = [sys.executable, "-P", "-m", "bench.hop_worker", str(where.socket_dir), str(where.password_dir)]
    return subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=server.environment(),
        preexec_fn=die_with_parent(signal.SIGKILL),
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


async def live(where: DatabaseSettings, name: str, batch_max: int) -> None:
    """One stage until SIGTERM."""
    dsn = where.dsn(f"qerds_{name}")
    draining, recorder = anyio.Event(), Recorder(name)
    mailbox = PostgresMailbox(dsn, Link(dsn, LeaseLost), name, "bench", SystemRandomness(), recorder)

    async def drain_on_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                draining.set()
                return

    async def tell() -> None:
        await recorder.ready.wait()
        print("ready", flush=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain_on_signal)
        tasks.start_soon(tell)
        await loop.run(hop_stage.stage(name, batch_max), mailbox, None, draining, SystemRandomness(), recorder)
        tasks.cancel_scope.cancel()


async def produce(rate: int, seconds: float) -> None:
    """Add messages to the first mailbox, a few each tick."""
    connection = await asyncpg.connect(port=PORT)
    began = time.monotonic()
    sent = 0
    while (spent := time.monotonic() - began) < seconds:
        due = int(spent * rate) - sent
        if due > 0:
            await connection.execute(INSERT, BULK, due)
            sent += due
        await anyio.sleep(TICK_SECONDS)
    await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("socket_dir", type=Path)
    parser.add_argument("password_dir", type=Path)
    verbs = parser.add_subparsers(dest="verb", required=True)
    stage = verbs.add_parser("stage")
    stage.add_argument("name", choices=hop_stage.CHAIN)
    stage.add_argument("batch_max", type=int)
    produce_verb = verbs.add_parser("produce")
    produce_verb.add_argument("rate", type=int)
    produce_verb.add_argument("seconds", type=float)
    options = parser.parse_args()
    if options.verb == "produce":
        anyio.run(produce, options.rate, options.seconds, backend_options={"use_uvloop": True})
        return
    where = DatabaseSettings(socket_dir=options.socket_dir, port=PORT, name=NAME, password_dir=options.password_dir)
    anyio.run(live, where, options.name, options.batch_max, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
