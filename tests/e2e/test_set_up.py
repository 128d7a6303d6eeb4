"""The embedded installation from the outside: up, status, down, reset, as a person types them."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import postgres
from deploy.local.accounts import database_account
from deploy.local.children import child_environment
from deploy.local.programs import read_procfile
from tests.servers import short_directory
from tests.words import reserved_words_in

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).resolve().parents[2]
GONE_SECONDS = 15
BASE_PORT = "18400"


class Installation:
    """One state directory, and the verbs on it."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def run(self, verb: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", f"deploy.local.{verb}", "--state", str(self.state), *arguments],
            cwd=ROOT,
            env=child_environment({}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )

    def up(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.run("up", "--detach", "--base-port", BASE_PORT, *arguments)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return answer

    def processes(self) -> dict[str, dict[str, Any]]:
        return {process["name"]: process for process in self.status()["processes"]}


@pytest.fixture
def installation() -> Iterator[Installation]:
    home = short_directory()
    one = Installation(home / "state")
    yield one
    one.run("down", "--deadline", "5")
    one.run("reset", "--yes")
    home.rmdir()


def handles(pids: list[int]) -> list[int]:
    return [os.pidfd_open(pid) for pid in pids]


def wait_gone(watched: list[int]) -> None:
    for handle in watched:
        assert select.select([handle], [], [], GONE_SECONDS)[0]
        os.close(handle)


def test_an_installation_lives_and_ends(installation: Installation) -> None:
    """`up` runs what the Procfile lists and says where; a second `up` harms nothing; `down` stops PostgreSQL last."""
    first = installation.up("--scale", "encrypt=2")
    assert first.returncode == 0, first.stderr
    for promised in ("gateway", "API docs", "mail", "metrics", "database", "state directory", "SHA-256", "weak"):
        assert promised in first.stdout
    passwords = [path.read_text().strip() for path in (installation.state / "secrets" / "database").iterdir()]
    assert not [secret for secret in passwords if secret in first.stdout + first.stderr]
    assert reserved_words_in(first.stdout + first.stderr) == []
    status = installation.status()
    names = {process["name"] for process in status["processes"]}
    ours = {*read_procfile(), "encrypt.1", "encrypt.2"} - {"encrypt"}
    assert names == ours | {"postgres", "mail_catcher", "identity_provider", "recipients"}
    assert {process["state"] for process in status["processes"]} == {"ready"}

    second = installation.up()
    assert second.returncode == 0
    assert "already running" in second.stderr
    assert installation.status() == status
    assert installation.run("reset", "--yes").returncode == 1

    watched = handles([process["pid"] for process in status["processes"]])
    assert installation.run("down").returncode == 0
    wait_gone(watched)
    log = (installation.state / "logs" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")
    assert installation.run("status").returncode == 1
    assert installation.run("down").returncode == 0


def test_what_is_killed_comes_back(installation: Installation) -> None:
    """SIGKILL of a stage, of the bridge and of PostgreSQL: each is started again, and all is ready again."""
    assert installation.up().returncode == 0
    victims = ("seal", "hsm_bridge", "postgres")
    before = installation.processes()
    for name in victims:
        os.kill(before[name]["pid"], signal.SIGKILL)
    now = before
    while any(now[name]["pid"] == before[name]["pid"] or now[name]["state"] != "ready" for name in victims):
        now = installation.processes()
    while not installation.status()["ready"]:
        continue


def test_a_killed_supervisor_leaves_nothing(installation: Installation) -> None:
    """SIGKILL of the supervisor ends every process; the next `up` starts on the same state, keys and all."""
    assert installation.up().returncode == 0
    status = installation.status()
    watched = handles([process["pid"] for process in status["processes"]])
    os.kill(status["pid"], signal.SIGKILL)
    wait_gone(watched)
    assert installation.status() == {"running": False, "state": str(installation.state)}
    again = installation.up()
    assert again.returncode == 0, again.stderr
    assert installation.status()["ca_sha256"] == status["ca_sha256"]


def test_reset_removes_only_a_state_directory(installation: Installation, tmp_path: Path) -> None:
    """Wiping asks for --yes, and never takes a directory that is not one of ours."""
    (tmp_path / "letter").write_text("keep")
    stranger = Installation(tmp_path)
    assert stranger.run("reset", "--yes").returncode == 2
    assert (tmp_path / "letter").exists()
    assert installation.up().returncode == 0
    assert installation.run("down").returncode == 0
    assert installation.run("reset").returncode == 2
    elsewhere = postgres.place(installation.state, database_account())
    assert installation.run("reset", "--yes").returncode == 0
    assert not installation.state.exists()
    assert not elsewhere.exists()


def test_a_start_that_fails_says_why_and_stops(installation: Installation) -> None:
    """A wrong token PIN is named by the process that found it, nothing keeps running, and the exit code tells."""
    assert installation.up().returncode == 0
    assert installation.run("down").returncode == 0
    pin = installation.state / "secrets" / "token-pin"
    right = pin.read_text()
    pin.write_text("wrong\n")
    failed = installation.up()
    assert failed.returncode in (1, 4)
    assert "failed:" in failed.stderr
    assert installation.status()["running"] is False
    pin.write_text(right)
