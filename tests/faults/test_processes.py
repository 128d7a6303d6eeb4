"""Every process kind killed in turn, PostgreSQL killed and restarted, the token gone and back, under load, for real.

One installation, 150 deliveries a fault. The fault falls when ten of them are deposited and ten are not, at the least.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from deploy.local.recipient import mails_to, wait_for
from pipeline.delivery.routes import STAGES
from tests.e2e import hooks
from tests.e2e.installation import Installation, installation, send_many
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(120)
DELIVERIES = 150  # a fast machine deposits the fifty of a smaller number before anybody has looked twice
BASE_PORT = 12400
WAITING_FOR_KEYS = "SELECT count(*) FROM outbox.timer WHERE stage IN ('encrypt', 'seal', 'timestamp')"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[tuple[str, hooks.Received]]:
    """The sender's own: every event is posted to it."""
    with hooks.receiver() as it:
        yield it


@pytest.fixture(scope="module")
def running(endpoint: tuple[str, hooks.Received]) -> Iterator[Installation]:
    state = short_directory() / "state"
    with installation(state, BASE_PORT) as it:
        hooks.register(it, endpoint[0])
        yield it


def restart_postgres(it: Installation) -> None:
    os.kill(it.pid("postgres"), signal.SIGINT)  # fast shutdown


def hide_token(it: Installation) -> None:
    """The token's folder is away for as long as it takes a stage to notice: whichever has letters needs a key next."""
    token, away = it.layout.state / "token", it.layout.state / "token-away"
    token.rename(away)
    try:
        it.wait("work that fails", lambda: it.count(WAITING_FOR_KEYS))
    finally:
        away.rename(token)


FAULTS: dict[str, Callable[[Installation], None]] = {
    **{
        kind: (lambda it, kind=kind: it.kill(kind))  # type: ignore[misc]
        for kind in ("hsm_bridge", *STAGES, "events", "ops", "gateway")
    },
    "mail_catcher": lambda it: it.kill("mail_catcher"),
    "postgres-killed": lambda it: it.kill("postgres"),
    "postgres-restarted": restart_postgres,
    "token-vanished": hide_token,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_under_load_loses_and_doubles_nothing(running: Installation, fault: str) -> None:
    """All of them complete, one evidence per fact, at most one more mail per crash, under the same Message-ID."""
    tag = fault.replace("_", "-")
    mine = f"SELECT id FROM qerds.delivery WHERE client_ref LIKE '{tag}-%'"
    deposited = f"SELECT count(*) FROM qerds.evidence WHERE event = 'A.1' AND delivery IN ({mine})"

    ids: list[str] = []

    async def send_and_break() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, break_in_the_middle)
            ids.extend(await anyio.to_thread.run_sync(send_many, running, DELIVERIES, tag))

    def break_in_the_middle() -> None:
        running.wait("ten deposits", lambda: running.count(deposited) >= 10)
        assert running.count(deposited) <= DELIVERIES - 10, "the fault came too late to mean anything"
        FAULTS[fault](running)

    anyio.run(send_and_break)
    assert len(set(ids)) == DELIVERIES
    notified = f"SELECT count(*) FROM qerds.delivery WHERE state = 'notified' AND client_ref LIKE '{tag}-%'"
    wait_for("all to be notified", lambda: _safely(lambda: running.count(notified) == DELIVERIES), 90)
    events = dict(running.rows(f"SELECT event, count(*) FROM qerds.evidence WHERE delivery IN ({mine}) GROUP BY event"))
    assert events == {"A.1": str(DELIVERIES), "C.1": str(DELIVERIES)}
    assert_mails(running, tag)
    running.check_ledger()


def assert_mails(it: Installation, tag: str) -> None:
    mails = [m for m in mails_to(it.catcher, f"{tag}-") if str(m["to"]).startswith(f"{tag}-")]
    per_recipient: dict[str, Counter[str]] = {}
    for mail in mails:
        per_recipient.setdefault(str(mail["to"]), Counter())[str(mail["message_id"])] += 1
    assert len(per_recipient) == DELIVERIES
    assert all(len(ids) == 1 for ids in per_recipient.values()), "a second Message-ID for one notice"
    assert all(sum(ids.values()) <= 2 for ids in per_recipient.values()), "more than one mail doubled by one crash"


def _safely(look: Callable[[], bool]) -> bool:
    """A database that is just restarting has no answer yet."""
    try:
        return look()
    except AssertionError:
        return False


def test_every_event_was_told(running: Installation, endpoint: tuple[str, hooks.Received]) -> None:
    """After all faults: two events a letter, in an order without a hole, each posted at least once."""
    running.wait("every event placed", lambda: running.count("SELECT count(*) FROM qerds.event_unsequenced") == 0)
    events = hooks.listed(running)
    assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))
    letters = running.count("SELECT count(*) FROM qerds.delivery")
    assert Counter(e["type"] for e in events) == {"delivery.deposited": letters, "delivery.notified": letters}
    running.wait("every event posted", lambda: hooks.ids_of(endpoint[1]) == {e["id"] for e in events}, 60)


def test_nothing_is_left_over(running: Installation) -> None:
    """After all faults: no dead letter, nothing running, nothing postponed, packages and logs in place."""
    it = running
    it.wait("empty mailboxes", lambda: it.count("SELECT count(*) FROM outbox.timer") == 0)
    assert it.rows("SELECT stage, why FROM outbox.dead") == []
    for stage in STAGES:
        it.wait(f"{stage} to be empty", lambda s=stage: it.count(f'SELECT count(*) FROM outbox."{s}_running"') == 0)  # type: ignore[misc]
    assert Path(it.layout.state / "logs").is_dir()
