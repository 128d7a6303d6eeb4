"""A batch of letters, and everything killed in turn while it is pushed, processed and told of, and its windows end.

Nothing is lost and nothing doubled.

QERDS_TEST_LETTERS=20000 ./qerds test faults runs it in the size of a day's mail.
"""

import re
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import bulk, hooks
from tests.e2e.installation import Installation, installation, states
from tests.servers import short_directory

LETTERS = bulk.letters(1_200)
SECONDS = 120 + LETTERS / 30
BASE_PORT = 13700
KINDS = ("gateway", "ingest", "encrypt", "seal", "timestamp", "notify", "events", "webhook", "hsm_bridge", "postgres")
# What is killed while windows end, and what of its work is counted: it dies when some of that is there, and not all.
AT_THE_END = {
    "expire": "SELECT count(*) FROM qerds.evidence WHERE event = 'C.5'",
    "events": "SELECT count(*) FROM qerds.event WHERE type = 'delivery.unclaimed'",
    "archive": "SELECT count(*) FROM qerds.snapshot",
    "webhook": "SELECT count(*) FROM qerds.webhook_attempt WHERE type = 'delivery.package_ready'",
}
PARTS = len(KINDS) + 2
pytestmark = pytest.mark.timeout(60 + 4 * SECONDS)


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def test_a_batch_survives_the_death_of_everything_in_turn(running: Installation) -> None:
    """The client is killed while it pushes and resumes; each process is killed while it has something to do."""
    with hooks.receiver() as (url, received):
        hooks.register(running, url)
        batch = pushed(running)
        killed_on_the_way(running, batch)
        assert Counter(r["status"] for r in bulk.results(running, batch)) == {"accepted": LETTERS}
        assert states(running) == {"notified": LETTERS}
        assert running.count("SELECT count(*) FROM qerds.notice") == LETTERS  # the same mail again, never another one
        killed_at_the_end(running)
        told(running, received)
    running.check_ledger(SECONDS)


def pushed(running: Installation) -> str:
    """The batch, from a client that was killed, and from a gateway that was."""
    upload = bulk.one_upload(running)
    table = running.layout.state / "letters.ndjson"
    bulk.write_lines(table, (bulk.good_line(upload, "k", n) for n in range(1, LETTERS + 1)))
    batch = killed_while_pushing(running, table)
    running.kill("gateway")
    assert bulk.push(running, table, "--resume", batch) == batch
    return batch


def killed_on_the_way(running: Installation, batch: str) -> None:
    """Each of KINDS dies while letters are on their way to their recipients; they all arrive."""
    done = f"SELECT count(*) FROM qerds.delivery WHERE batch = '{batch}' AND state = 'notified'"
    for n, kind in enumerate(KINDS, start=1):
        running.wait("another part", partial(has_come_to, running, done, n * LETTERS // PARTS), SECONDS)
        assert safely(running, done) < LETTERS, f"{kind} was to be killed while letters were on their way"
        running.kill(kind)
    running.wait("all to be notified", lambda: safely(running, done) == LETTERS, SECONDS)
    assert bulk.wait_until_done(running, batch, SECONDS) == "completed"


def killed_at_the_end(running: Installation) -> None:
    """The days pass; each of AT_THE_END dies over its own work. Every letter is unclaimed once and packed once."""
    running.advance("P17D")
    for kind, work in AT_THE_END.items():
        running.wait(f"work of {kind}", partial(has_come_to, running, work, LETTERS // 4), SECONDS)
        assert safely(running, work) < LETTERS, f"{kind} was to be killed over its work"
        running.kill(kind)
    running.wait("all to be unclaimed", lambda: states(running) == {"unclaimed": LETTERS}, SECONDS)
    packed = "SELECT count(DISTINCT delivery) FROM qerds.snapshot"
    running.wait("all to be packed", lambda: running.count(packed) == LETTERS, SECONDS)


def told(running: Installation, received: hooks.Received) -> None:
    """The list has each event once, in an order without a hole; the endpoint got each at least once."""
    last = "SELECT count(*) FROM qerds.event_unsequenced"
    running.wait("every event in its place", lambda: running.count(last) == 0, SECONDS)
    events = hooks.listed(running)
    assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))
    per_letter = ("delivery.deposited", "delivery.notified", "delivery.unclaimed")
    kinds = Counter(e["type"] for e in events)
    packages = running.count("SELECT count(*) FROM qerds.snapshot")
    assert kinds == {**dict.fromkeys(per_letter, LETTERS), "delivery.package_ready": packages, "batch.completed": 1}
    assert len({(e.get("delivery_id"), e["type"]) for e in events if e["type"] in per_letter}) == 3 * LETTERS
    ids = {e["id"] for e in events}
    running.wait("every event posted", lambda: hooks.ids_of(received) == ids, SECONDS)


def killed_while_pushing(running: Installation, table: Path) -> str:
    """Push, and SIGKILL the client as soon as it has a batch; the batch's id."""
    process = bulk.client_process(running, "push", str(table))
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"--resume (\S+)", line)
        if found:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return found[1]
    raise AssertionError("the push ended without saying how to resume it")


def has_come_to(running: Installation, sql: str, share: int) -> bool:
    """Whether the count is that far."""
    return safely(running, sql) >= share


def safely(running: Installation, sql: str) -> int:
    """The count; none while PostgreSQL is away."""
    try:
        return running.count(sql)
    except AssertionError:
        return -1
