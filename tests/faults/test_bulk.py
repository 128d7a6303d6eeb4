"""A batch of letters, and everything killed in turn while it is pushed and processed: nothing lost, nothing doubled.

QERDS_TEST_LETTERS=20000 ./qerds test faults runs it in the size of a day's mail.
"""

import re
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import bulk
from tests.e2e.installation import Installation, installation, states
from tests.servers import short_directory

LETTERS = bulk.letters(1_200)
SECONDS = 120 + LETTERS / 30
BASE_PORT = 13700
KINDS = ("gateway", "ingest", "encrypt", "seal", "timestamp", "notify", "hsm_bridge", "postgres")
pytestmark = pytest.mark.timeout(60 + 2 * SECONDS)


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def test_a_batch_survives_the_death_of_everything_in_turn(running: Installation) -> None:
    """The client is killed while it pushes and resumes; each process is killed while letters are on their way."""
    upload = bulk.one_upload(running)
    table = running.layout.state / "letters.ndjson"
    bulk.write_lines(table, (bulk.good_line(upload, "k", n) for n in range(1, LETTERS + 1)))
    batch = killed_while_pushing(running, table)
    running.kill("gateway")
    assert bulk.push(running, table, "--resume", batch) == batch

    done = f"SELECT count(*) FROM qerds.delivery WHERE batch = '{batch}' AND state = 'notified'"
    for n, kind in enumerate(KINDS, start=1):
        share = n * LETTERS // 10
        running.wait("a tenth more", partial(has_come_to, running, done, share), SECONDS)
        assert safely(running, done) < LETTERS, f"{kind} was to be killed while letters were on their way"
        running.kill(kind)
    running.wait("all to be notified", lambda: safely(running, done) == LETTERS, SECONDS)
    assert bulk.wait_until_done(running, batch, SECONDS) == "completed"

    assert Counter(r["status"] for r in bulk.results(running, batch)) == {"accepted": LETTERS}
    assert states(running) == {"notified": LETTERS}
    running.check_ledger(SECONDS)
    assert running.count("SELECT count(*) FROM qerds.notice") == LETTERS  # the same mail again, never another one


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
