"""Processes of a running installation: one interpreter's start-up for all, and replacing them under load."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from deploy.local import record
from deploy.local.layout import CHECKOUT
from pipeline.client.credentials import find_credentials
from tests.cores import NO_CORE, core_of
from tests.e2e.installation import Installation, installation, named
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(180)
BASE_PORT = 19_300
AT_ONCE = 4  # senders that go on submitting
RESTART_SECONDS = 120
FORKED = (
    "ingest",
    "encrypt",
    "seal",
    "timestamp",
    "notify",
    "expire",
    "archive",
    "webhook",
    "events",
    "ops",
    "gateway",
)


@pytest.fixture(scope="module")
def it() -> Iterator[Installation]:
    state = short_directory()
    with installation(state / "state", BASE_PORT) as running:
        yield running


def pids(it: Installation) -> dict[str, int | None]:
    return {process.name: process.pid for process in it.running.processes}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def zygote_of(it: Installation) -> int | None:
    """The supervisor's child that is none of the named processes."""
    named_ones = set(pids(it).values())
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) not in named_ones:
            try:
                line = (folder / "cmdline").read_bytes()
                if b"deploy.local.zygote" in line and parent_of(int(folder.name)) == it.running.pid:
                    return int(folder.name)
            except OSError:
                continue
    return None


def restart(it: Installation, *names: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "deploy.local.restart", "--state", str(it.layout.state), *names]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=RESTART_SECONDS, check=False)


def letter_to(ref: str, document: dict[str, str]) -> dict[str, object]:
    names = {"given_names": "Angela Claire Louise", "birth_name": "Dubois"}
    return {
        "recipient": {"kind": "professional", "email": f"{ref}@recipient.example", **names},
        "subject": "A test",
        "documents": [document],
        "client_ref": ref,
    }


def test_a_forked_process_is_like_any_other(it: Installation) -> None:
    """The supervisor's own child, in a group of its own, with its name, its log and its folder."""
    for name in FORKED:
        pid = it.pid(name)
        assert parent_of(pid) == it.running.pid
        assert os.getpgid(pid) == pid
        assert Path(f"/proc/{pid}/comm").read_text().strip() == name[:15]
        assert b"deploy.local.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert str(Path(f"/proc/{pid}/fd/1").readlink()).startswith("pipe:")
        assert Path(f"/proc/{pid}/cwd").readlink() == CHECKOUT


def test_no_process_leaves_a_core(it: Installation) -> None:
    """Every one of the installation: ours, the stand-ins, PostgreSQL, the supervisor and what forks for it."""
    zygote = zygote_of(it)
    assert zygote is not None
    running = {**pids(it), "supervisor": it.running.pid, "zygote": zygote}
    assert {name: core_of(pid) for name, pid in running.items() if pid is not None and core_of(pid) != NO_CORE} == {}
    assert {"postgres", "hsm_bridge", "gateway", "recipients"} <= {name for name, pid in running.items() if pid}


def test_another_user_of_the_machine_reads_no_mail(it: Installation) -> None:
    """The port answers everybody, and shows nothing without the key; that is in no argument of a process and in no file
    that others may read."""
    *_, key = it.catcher.split("/")
    port = it.running.ports.mail_page
    assert httpx.get(f"{it.catcher}/api/mails").status_code == 200
    for path in ("/", "/api/mails", "/api/waiting", f"/{key[:-1]}/"):
        assert httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 404
    for name, pid in pids(it).items():
        assert pid is None or key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes(), name
    holders = [p for p in it.layout.state.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]
    assert it.layout.mail_key in holders
    assert [p for p in holders if p.stat().st_mode & 0o077 and p.parent.stat().st_mode & 0o077] == []


def test_processes_are_replaced_under_load(it: Installation) -> None:
    """Every submission during a rolling restart is answered with 2xx, every process is another one, nothing is lost."""
    before = pids(it)

    async def load() -> tuple[list[str], "subprocess.CompletedProcess[str]"]:
        accepted: list[str] = []
        told: list[subprocess.CompletedProcess[str]] = []
        known = find_credentials(it.layout.state)
        path = it.layout.state / "letter.txt"
        path.write_text("a letter")
        async with it.client() as client:
            document = named(await client.upload(path))

        async def submit(worker: int) -> None:
            """No client of ours, which would try again: one connection, one try, an exception for anything but 2xx."""
            async with httpx.AsyncClient(base_url=known.base_url, timeout=30) as http:
                form = {"grant_type": "client_credentials"}
                login = await http.post("/oauth2/token", data=form, auth=(known.client_id, known.client_secret))
                headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
                n = 0
                while not told or n == 0:  # until the restart is over
                    n += 1
                    letter = letter_to(f"load-{worker}-{n}", document)
                    answer = await http.post("/v1/deliveries", json=letter, headers=headers)
                    answer.raise_for_status()
                    accepted.append(answer.json()["id"])

        async with anyio.create_task_group() as tasks:
            for worker in range(AT_ONCE):
                tasks.start_soon(submit, worker)
            told.append(await anyio.to_thread.run_sync(restart, it))
        return accepted, told[0]

    accepted, told = anyio.run(load)
    assert told.returncode == 0, told.stderr
    after = pids(it)
    assert set(after) == set(before)
    assert all(after[name] != before[name] for name in FORKED)
    assert after["hsm_bridge"] == before["hsm_bridge"]
    assert len(accepted) == len(set(accepted)) > AT_ONCE
    ids = ", ".join(f"'{one}'" for one in accepted)
    sql = f"SELECT count(*) FROM qerds.delivery WHERE id IN ({ids}) AND state = 'notified'"
    it.wait("every letter to be notified", lambda: it.count(sql) == len(accepted), 90)
    it.check_ledger()


def test_the_bridge_is_replaced_when_it_is_named(it: Installation) -> None:
    """There is one of it: it stops and starts, and what needs it waits."""
    before = it.pid("hsm_bridge")
    told = restart(it, "hsm_bridge")
    assert told.returncode == 0, told.stderr
    assert it.pid("hsm_bridge") != before
    assert it.running.is_ready


def test_only_what_runs_can_be_replaced(it: Installation) -> None:
    """A name that nobody has, and PostgreSQL, on which everything stands."""
    for name in ("sael", "postgres"):
        assert restart(it, name).returncode == 2


def test_nobody_dies_with_the_zygote(it: Installation) -> None:
    """Its children are the supervisor's; what dies without it is started the other way, and a new one comes."""
    zygote, before = zygote_of(it), pids(it)
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)
    it.wait("the zygote to be gone", lambda: zygote_of(it) is None)
    assert pids(it) == before
    it.kill("seal")
    it.wait("seal to be ready again", lambda: pids(it)["seal"] not in (None, before["seal"]) and it.running.is_ready)
    told = restart(it, "seal")
    assert told.returncode == 0, told.stderr
    assert zygote_of(it) is not None


def test_nothing_outlives_the_supervisor(it: Installation) -> None:
    """Not even after SIGKILL, which nobody can prepare for."""
    running, zygote = it.running, zygote_of(it)
    known = [pid for pid in [*pids(it).values(), zygote] if pid is not None]
    started = {pid: record.start_time(pid) for pid in known}
    os.kill(running.pid, signal.SIGKILL)
    gone: Callable[[], bool] = lambda: not any(record.lives(pid, started[pid]) for pid in known)  # noqa: E731
    it.wait("everything to be gone", gone, 20)
