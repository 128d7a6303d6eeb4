"""A whole installation for a test: `qerds up` on a state of its own, real processes, real PostgreSQL, token and mail.

Owns     starting and stopping it, finding and killing its processes by pid, looking into its database as the superuser
Rules    ends only what it started; a test reads the database, it never writes what a process should have written
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from deploy.local import record
from deploy.local.layout import CHECKOUT, Layout
from deploy.local.postgres import find_binaries
from deploy.local.recipient import wait_for
from pipeline.client.answers import Upload
from pipeline.client.api import QerdsClient
from pipeline.client.credentials import find_credentials
from pipeline.formats.configuration import load

UP_SECONDS = 120
DOWN_SECONDS = 60
OPERATE = [sys.executable, "-m", "pipeline.operate"]


@dataclass(frozen=True, slots=True)
class Installation:
    """One running installation."""

    layout: Layout

    @property
    def running(self) -> record.Running:
        """What the supervisor last wrote down."""
        found = record.read_living(self.layout)
        assert found is not None, "the installation does not run"
        return found

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.running.base_port}"

    @property
    def catcher(self) -> str:
        return self.layout.mail_url(self.running.ports)

    def pid(self, name: str) -> int:
        """Of the process with this name, once it has one."""

        def look() -> int | None:
            return next((p.pid for p in self.running.processes if p.name.split(".")[0] == name and p.pid), None)

        found = wait_for(f"the pid of {name}", look)
        assert isinstance(found, int)
        return found

    def kill(self, name: str) -> None:
        """SIGKILL, no goodbye."""
        os.kill(self.pid(name), signal.SIGKILL)

    def rows(self, sql: str) -> list[list[str]]:
        """What a query answers to the owner of the schema."""
        config = load(self.layout.config).database
        environment = {**os.environ, "PGPASSWORD": config.password("qerds_owner")}
        command = [
            str(find_binaries() / "psql"),
            "-XAtq",
            "-F",
            "\t",
            "-h",
            str(config.socket_dir),
            "-p",
            str(config.port),
        ]
        command += ["-U", "qerds_owner", "-d", config.name, "-c", sql]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
        assert told.returncode == 0, told.stderr
        return [line.split("\t") for line in told.stdout.splitlines()]

    def count(self, sql: str) -> int:
        """The one number that a query answers."""
        return int(self.rows(sql)[0][0])

    def wait(self, what: str, holds: Callable[[], object], seconds: float = 60.0) -> None:
        """Until `holds`, or fail the test."""
        wait_for(what, holds, seconds)

    def client(self) -> QerdsClient:
        """The sample sender."""
        known = find_credentials(self.layout.state)
        return QerdsClient(known.base_url, known.client_id, known.client_secret)

    def operate(self, *arguments: str, seconds: float = 60) -> "subprocess.CompletedProcess[str]":
        """A verb of the operator."""
        environment = {**os.environ, "QERDS_CONFIG": str(self.layout.config)}
        return subprocess.run(
            [*OPERATE, *arguments],
            env=environment,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def advance(self, period: str) -> None:
        """The demo clock."""
        told = self.operate("clock", "advance", period)
        assert told.returncode == 0, told.stderr

    def check_ledger(self, seconds: float = 60) -> None:
        """No invariant is broken, or the test fails with what is."""
        told = self.operate("ledger", "check", seconds=seconds)
        assert told.returncode == 0, told.stdout + told.stderr


@contextmanager
def installation(state: Path, base_port: int, *options: str) -> Iterator[Installation]:
    """Up, and down again whatever happens."""
    up = [sys.executable, "-m", "deploy.local.up", "--state", str(state), "--base-port", str(base_port), "--detach"]
    told = subprocess.run(
        [*up, *options], cwd=CHECKOUT, capture_output=True, text=True, timeout=UP_SECONDS, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    try:
        yield Installation(Layout(state.resolve()))
    finally:
        down = [sys.executable, "-m", "deploy.local.down", "--state", str(state)]
        subprocess.run(down, cwd=CHECKOUT, capture_output=True, timeout=DOWN_SECONDS, check=False)


def named(upload: Upload) -> dict[str, str]:
    """As a delivery names a document."""
    return {"upload_id": upload.id, "file_name": upload.file_name, "sha256": upload.sha256}


def send_many(it: Installation, count: int, tag: str, at_once: int = 8) -> list[str]:
    """The ids of `count` deliveries of one small text each, to recipients `tag-N@…`, submitted concurrently."""
    folder = it.layout.state / "sent"
    folder.mkdir(exist_ok=True)

    async def send() -> list[str]:
        limit = anyio.CapacityLimiter(at_once)
        ids: dict[int, str] = {}

        async def one(n: int) -> None:
            async with limit:
                path = anyio.Path(folder / f"{tag}-{n}.txt")
                await path.write_text(f"letter {tag} {n}")
                document = await client.upload(Path(path))
                recipient = {"kind": "professional", "email": f"{tag}-{n}@recipient.example"}
                names = {"given_names": "Angela Claire Louise", "birth_name": "Dubois"}
                answer = await client.submit(
                    {
                        "recipient": {**recipient, **names},
                        "subject": "A test",
                        "documents": [named(document)],
                        "client_ref": f"{tag}-{n}",
                    }
                )
                ids[n] = answer.id

        async with it.client() as client, anyio.create_task_group() as tasks:
            for n in range(count):
                tasks.start_soon(one, n)
        return [ids[n] for n in range(count)]

    return anyio.run(send)


def states(it: Installation) -> dict[str, int]:
    """Deliveries by state."""
    return {state: int(n) for state, n in it.rows("SELECT state, count(*) FROM qerds.delivery GROUP BY state")}
