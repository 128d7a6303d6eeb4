"""A relay that takes the connection and never says a word: the process stays healthy and the notice is not lost."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import anyio.to_thread
import httpx
import pytest

from deploy.local.recipient import mails_to, wait_for
from tests.e2e.installation import Installation, installation, send_many, states
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(120)
BASE_PORT = 18400
HEALTH_SECONDS_MAX = 1.0


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


@contextmanager
def silent_relay(it: Installation) -> Iterator[None]:
    """Stops the mail catcher where it stands: its port takes connections and says nothing."""
    catcher = it.pid("mail_catcher")
    os.kill(catcher, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(catcher, signal.SIGCONT)


def health_of(it: Installation, name: str) -> float:
    """Seconds until /healthz of a process answered."""
    names = [p.name.split(".")[0] for p in it.running.processes]
    ours = [n for n in names if n not in ("postgres", "mail_catcher", "identity_provider", "recipients")]
    port = it.running.base_port + 20 + ours.index(name)
    begin = time.monotonic()
    answer = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=HEALTH_SECONDS_MAX)
    assert answer.status_code == httpx.codes.OK
    return time.monotonic() - begin


def test_a_silent_relay_stalls_its_own_notices_only(running: Installation) -> None:
    """Deposits go on, every health answers at once, and when the relay speaks again every notice arrives."""
    with silent_relay(running):
        send_many(running, 5, "silent")
        running.wait("the deposits", lambda: states(running) == {"deposited": 5})
        running.wait("notices under way", lambda: running.count("SELECT count(*) FROM outbox.notify_running") > 0)
        for name in ("notify", "gateway", "seal"):
            assert health_of(running, name) < HEALTH_SECONDS_MAX
    running.wait("the notices", lambda: states(running) == {"notified": 5}, 90)
    assert len(list(wait_for("the mails", lambda: mails_to(running.catcher, "silent-")))) >= 5  # type: ignore[call-overload]
    assert running.rows("SELECT * FROM outbox.dead") == []
    running.check_ledger()


def test_drain_under_load_loses_and_doubles_nothing(running: Installation) -> None:
    """SIGTERM to every stage in the middle of fifty letters: each finishes its turn; not one mail is doubled."""

    async def send_and_drain() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, drain_in_the_middle)
            await anyio.to_thread.run_sync(send_many, running, 50, "drain")

    def drain_in_the_middle() -> None:
        deposited = "SELECT count(*) FROM qerds.delivery WHERE client_ref LIKE 'drain-%' AND state <> 'submitted'"
        running.wait("ten deposits", lambda: running.count(deposited) >= 10)
        for stage in ("notify", "seal", "timestamp", "encrypt", "ingest", "archive", "expire"):
            os.kill(running.pid(stage), signal.SIGTERM)

    anyio.run(send_and_drain)
    done = "SELECT count(*) FROM qerds.delivery WHERE client_ref LIKE 'drain-%' AND state = 'notified'"
    running.wait("all to be notified", lambda: running.count(done) == 50, 60)
    assert len([m for m in mails_to(running.catcher, "drain-") if str(m["to"]).startswith("drain-")]) == 50
    running.check_ledger()
