"""Other queues over PostgreSQL, each draining no-op jobs with its documented best settings, on our server.

Owns     which peers there are, how each is installed and started, and that an absent one is told, not guessed
Rules    a peer's program prints one line of JSON with its rate; it finishes jobs only, while our hop also fills the
         next mailbox. Packages come by hash from the lock files beside this one
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.context import Bench
from bench.server import DatabaseServer

HERE = Path(__file__).parent
RUN_SECONDS_MAX = 90
INSTALL_SECONDS_MAX = 180
PYTHON_OBAN = (3, 12)  # what its package metadata demands


class Absent(Exception):
    """This peer is not on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class PeerQueue:
    """`jobs` for a quick and a full run: each a second or two of its work."""

    name: str
    settings: str
    jobs: tuple[int, int]


PEERS = (
    PeerQueue("pgqueuer", "batch 100, asyncpg, uvloop, its autovacuum settings applied", (10_000, 30_000)),
    PeerQueue("graphile-worker", "localQueue 500, 24 concurrent jobs, completions batched, Node", (20_000, 60_000)),
    PeerQueue("oban", "queue limit 100, uvloop", (2_000, 8_000)),
    PeerQueue("procrastinate", "10 concurrent jobs, jobs deleted, no listening", (600, 3_000)),
)


def rate(peer: PeerQueue, server: DatabaseServer, bench: Bench) -> float:
    """Jobs a second. Raises Absent."""
    command = command_of(peer, bench.tools)
    database = f"peer_{peer.name.replace('-', '_')}"
    server.create(database)
    result = subprocess.run(
        [*command, str(bench.pick(*peer.jobs))],
        env=server.environment(database),
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )
    if result.returncode != 0:
        raise Absent(f"it failed: {result.stderr.strip().splitlines()[-1:] or result.stdout[-200:]}")
    return float(json.loads(result.stdout.strip().splitlines()[-1])["rate"])


def command_of(peer: PeerQueue, tools: Path) -> Sequence[str]:
    """The program, its packages installed. Raises Absent."""
    match peer.name:
        case "pgqueuer" | "procrastinate":
            return [sys.executable, "-m", f"bench.peers.{peer.name}_drain"]
        case "graphile-worker":
            return [_found("node"), str(_with_graphile(tools) / "graphile_drain.mjs")]
        case _:
            return [str(_with_oban(tools)), str(HERE / "oban_drain.py")]


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Absent(f"{program} is not installed")
    return path


def _with_graphile(tools: Path) -> Path:
    """A folder with the package, installed by its lock when it is not."""
    folder = tools / "graphile"
    lock = HERE / "graphile" / "package-lock.json"
    if _stamp(folder) != lock.read_text():
        npm = _found("npm")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(HERE / "graphile", folder)
        _install([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        (folder / "installed").write_text(lock.read_text())
    shutil.copy2(HERE / "graphile" / "graphile_drain.mjs", folder)
    return folder


def _with_oban(tools: Path) -> Path:
    """The interpreter of a virtual environment with the package."""
    folder = tools / "oban"
    python = folder / "bin" / "python"
    lock = HERE / "oban.lock"
    if _stamp(folder) != lock.read_text():
        uv = _uv(tools)
        shutil.rmtree(folder, ignore_errors=True)
        _install([_newer_python(), "-m", "venv", "--without-pip", str(folder)], tools)
        _install(
            [
                uv,
                "pip",
                "install",
                "--quiet",
                "--python",
                str(python),
                "--no-deps",
                "--require-hashes",
                "-r",
                str(lock),
            ],
            tools,
        )
        (folder / "installed").write_text(lock.read_text())
    return python


def _uv(tools: Path) -> str:
    """Ours, which `./qerds` put into the first environment it made, or the machine's."""
    environments = (Path(sys.prefix), tools.parent / "venv")
    own = [uv for environment in environments if (uv := environment / "bin" / "uv").exists()]
    return str(own[0]) if own else _found("uv")


def _newer_python() -> str:
    """An interpreter that is new enough: by the usual names, or one that stands beside ours."""
    names = [f"python{PYTHON_OBAN[0]}.{minor}" for minor in range(PYTHON_OBAN[1], PYTHON_OBAN[1] + 4)]
    beside = Path(sys.base_prefix).parent.glob(f"{PYTHON_OBAN[0]}.*/bin/python3")
    for candidate in [*filter(None, map(shutil.which, names)), *sorted(map(str, beside))]:
        question = f"import sys; sys.exit(sys.version_info < {PYTHON_OBAN})"
        if subprocess.run([candidate, "-c", question], capture_output=True, check=False, timeout=20).returncode == 0:
            return candidate
    raise Absent(f"no Python {PYTHON_OBAN[0]}.{PYTHON_OBAN[1]} or newer")


def _stamp(folder: Path) -> str:
    try:
        return (folder / "installed").read_text()
    except OSError:
        return ""


def _install(command: Sequence[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired as error:
        raise Absent("its packages did not come in time") from error
    if result.returncode != 0:
        raise Absent(
            f"its packages could not be installed: {(result.stderr.strip().splitlines() or ['no reason'])[-1]}"
        )
