"""A whole installation of the bench's own: every real process, PostgreSQL on the real disk, SoftHSM, the mail sink.

Owns     starting and stopping it, its processes by name, what it wrote and what its bridge did
Rules    its own state directory and ports; the bench reads the database, it never writes what a process should write
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from bench.processes import cpu_seconds
from bench.server import scratch
from bench.wal import WAL_AND_FLUSHES, Written
from deploy.local import record
from deploy.local.children import child_environment, die_with_parent
from deploy.local.layout import CHECKOUT, Layout
from deploy.local.programs import read_procfile
from pipeline.formats.configuration import Config, load

BASE_PORT = 21_400  # far from the default, so that a running installation is never touched
READY_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05
LOG_BYTES_SHOWN = 3000
REQUESTS = re.compile(
    r'^qerds_bridge_requests_total\{caller="(\w+)",op="(\w+)",result="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a stretch of work used."""

    at: float
    cpu: Mapping[str, float]
    written: Written
    requests: Mapping[str, int]  # of the bridge, by operation

    def since(self, before: "Usage") -> "Usage":
        """The difference."""
        cpu = {name: seconds - before.cpu.get(name, 0.0) for name, seconds in self.cpu.items()}
        requests = {op: count - before.requests.get(op, 0) for op, count in self.requests.items()}
        return Usage(self.at - before.at, cpu, self.written.since(before.written), requests)


class Installation:
    """One that runs."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.config: Config = load(layout.config)

    @property
    def running(self) -> record.Running:
        """What its supervisor last wrote down."""
        running = record.read_living(self.layout)
        if running is None:
            raise RuntimeError(f"the installation is gone; see {self.layout.logs}")
        return running

    @property
    def client(self) -> dict[str, str]:
        """base_url, client_id and client_secret of the sample sender."""
        client: dict[str, str] = json.loads(self.layout.demo_client.read_text())
        return client

    def pids(self) -> dict[str, int]:
        """Every process by name."""
        return {p.name: p.pid for p in self.running.processes if p.pid is not None}

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection as the owner of the schema."""
        where = self.config.database
        return await asyncpg.connect(
            host=str(where.socket_dir),
            port=where.port,
            user="qerds_owner",
            password=where.password("qerds_owner"),
            database=where.name,
            server_settings={"timezone": "UTC"},
        )

    async def usage(self, connection: "asyncpg.Connection[asyncpg.Record]") -> Usage:
        """Everything that is counted, now."""
        wal_bytes, fsyncs = (await connection.fetchrow(WAL_AND_FLUSHES)) or (0, 0)
        return Usage(time.monotonic(), cpu_seconds(self.pids()), Written(wal_bytes, fsyncs), await self.requests())

    async def requests(self) -> dict[str, int]:
        """Requests that the bridge answered, by operation."""
        health = self.running.ports.health(list(read_procfile()).index("hsm_bridge"))
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"http://127.0.0.1:{health}/metrics")).text
        counts: dict[str, int] = {}
        for _, operation, _, count in REQUESTS.findall(text):
            counts[operation] = counts.get(operation, 0) + int(float(count))
        return counts


@contextmanager
def installation(*options: str) -> Iterator[Installation]:
    """Up, and down again whatever happens."""
    with scratch(in_memory=False) as home:
        state = home / "state"
        log = home / "up.log"
        command = [sys.executable, "-P", "-m", "bench.installation_process", "--state", str(state)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--base-port", str(BASE_PORT), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=CHECKOUT,
                env=child_environment({"PYTHONPATH": str(CHECKOUT)}),
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        try:
            layout = Layout(state)
            _wait_ready(process, layout, log)
            yield Installation(layout)
        finally:
            _stop(process)


def _wait_ready(process: "subprocess.Popen[bytes]", layout: Layout, log: Path) -> None:
    count = len(read_procfile()) + 1  # all of ours, and at least the database
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        running = record.read_living(layout)
        if running is not None and running.is_ready and len(running.processes) >= count:
            return
        if process.poll() is not None:
            break
        time.sleep(POLL_SECONDS)
    raise RuntimeError(f"the installation did not start: {log.read_text(errors='replace')[-LOG_BYTES_SHOWN:]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
