"""The proofs of many letters: by several processes, in order, within bounds, with a clear end when one fails."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread
import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pipeline.adapters.postgres.database import Database
from pipeline.formats.configuration import DatabaseSettings
from pipeline.operate.__main__ import run
from pipeline.operate.command import Row, Rows, VerbRefused
from pipeline.operate.ledger import SQL_PREDICATES, check_ledger
from pipeline.operate.ledger_pages import VIOLATIONS_MAX, CheckProgress, jobs_here, verify_pages
from pipeline.operate.ledger_proofs import PURE_PREDICATES, Violation
from tests.db import small_ledger
from tests.servers import PostgresServer, short_directory
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
ROOT = Path(__file__).resolve().parents[2]

# One of each, on different letters where they would hide one another.
BROKEN = """
ALTER TABLE qerds.evidence DROP CONSTRAINT evidence_check, DROP CONSTRAINT evidence_check1;
UPDATE qerds.evidence SET canonical = canonical || '\\x20' WHERE event = 'C.4';
UPDATE qerds.evidence SET event_time = event_time - interval '1 h' WHERE delivery = '{notified}' AND event = 'A.1';
UPDATE qerds.evidence_token SET gen_time = gen_time + interval '1 s' WHERE evidence =
    (SELECT evidence FROM qerds.evidence WHERE delivery = '{received}' AND event = 'E.1');
UPDATE qerds.evidence_token SET gen_time = gen_time - interval '1 h' WHERE evidence =
    (SELECT evidence FROM qerds.evidence WHERE delivery = '{accepted}' AND event = 'A.1');
UPDATE qerds.evidence_seal SET key_id = 'another' WHERE evidence =
    (SELECT evidence FROM qerds.evidence WHERE delivery = '{rejected}');
UPDATE qerds.evidence e SET canonical = c.other, sha256 = sha256(c.other) FROM (
    SELECT x.evidence,
        convert_to(replace(convert_from(x.canonical, 'UTF8'), 'Test Sender', 'Best Sender'), 'UTF8') AS other
    FROM qerds.evidence x WHERE x.delivery = '{unclaimed}' AND x.event = 'A.1') c WHERE c.evidence = e.evidence;
UPDATE qerds.delivery SET mode = 'other' WHERE id = '{accepted}';
UPDATE qerds.delivery SET state = 'received', stamped_through = 9 WHERE id = '{accepted}';
UPDATE qerds.delivery SET number = '12345678901234' WHERE id = '{notified}';
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Seven letters and a batch; who is who, and who certified the keys."""

    server: PostgresServer
    database: DatabaseSettings
    state: Path
    letters: small_ledger.Letters
    anchor: bytes

    def plant(self, sql: str) -> None:
        """What no role of ours may write."""
        self.server.psql("SET session_replication_role = replica; " + sql, self.database.name)

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Database]:
        config = small_ledger.config_of(self.database, self.state)
        database = Database(config.database.dsn("qerds_operate"))
        try:
            yield database
        finally:
            await database.close()

    async def check(self, jobs: int, page_deliveries: int = 2) -> list[Violation]:
        async with self.operator() as database:
            return await check_ledger(database, (self.anchor,), jobs=jobs, page_deliveries=page_deliveries)


@pytest.fixture(scope="module")
def template(postgres: PostgresServer) -> Iterator[Ledger]:
    database, state = postgres.clone(), short_directory()

    async def build() -> small_ledger.Letters:
        async with small_ledger.installation(database, state) as it:
            return await small_ledger.live(it)

    letters = anyio.run(build)
    anchor = x509.load_pem_x509_certificate((state / "ca.pem").read_bytes()).public_bytes(Encoding.DER)
    yield Ledger(postgres, database, state, letters, anchor)
    postgres.drop(database)
    shutil.rmtree(state)


@pytest.fixture
def ledger(template: Ledger, postgres: PostgresServer) -> Iterator[Ledger]:
    copied = postgres.clone()
    postgres.drop(copied)
    postgres.psql(
        f"CREATE DATABASE {copied.name} OWNER qerds_owner TEMPLATE {template.database.name} STRATEGY FILE_COPY"
    )
    yield Ledger(postgres, copied, template.state, template.letters, template.anchor)
    postgres.drop(copied)


async def test_two_processes_find_what_one_finds(ledger: Ledger) -> None:
    """The same violations in the same order, whoever verified and however many letters a page has."""
    assert await ledger.check(2) == []
    who = {name: getattr(ledger.letters, name) for name in small_ledger.Letters.__dataclass_fields__}
    ledger.plant(BROKEN.format(**who))
    alone = await ledger.check(1, page_deliveries=200)
    assert {violation.predicate for violation in alone} >= set(PURE_PREDICATES)
    assert await ledger.check(2) == alone
    assert await ledger.check(1) == alone


async def test_a_broken_proof_on_the_last_page_is_found(ledger: Ledger) -> None:
    """Every page is read to the end, by one and by two."""
    last = ledger.server.psql(
        "SELECT e.evidence FROM qerds.evidence e ORDER BY e.delivery DESC, e.sequence DESC LIMIT 1",
        ledger.database.name,
    ).strip()
    ledger.plant(
        f"UPDATE qerds.evidence_seal SET signature = decode(repeat('01', 64), 'hex') WHERE evidence = '{last}'"
    )
    for jobs in (1, 2):
        found = [v for v in await ledger.check(jobs, page_deliveries=1) if v.predicate == "seal_verifies"]
        assert [violation.subject for violation in found] == [last]


async def test_a_proof_that_cannot_be_read_ends_the_check(ledger: Ledger) -> None:
    """What stumbles in a process is told with its reason: the check does not answer that all is well."""
    ledger.plant(
        "ALTER TABLE qerds.evidence ALTER event_time DROP NOT NULL;"
        f" UPDATE qerds.evidence SET event_time = NULL WHERE delivery = '{ledger.letters.received}'"
    )
    for jobs in (1, 2):
        with pytest.raises(VerbRefused, match="could not be finished: TypeError"):
            await ledger.check(jobs)


class Deadly:
    """Ends the process that receives it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


class Many:
    """A database of letters without evidence, read a page at a time."""

    def __init__(self, deliveries: int, number: object) -> None:
        self.read = 0
        self._deliveries = deliveries
        self._number = number

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        yield self

    async def fetch(self, name: str, *arguments: Any) -> Sequence[Row]:
        await anyio.lowlevel.checkpoint()
        if name == "ledger_deliveries":
            return [{"deliveries": self._deliveries}]
        if name == "ledger_page":
            last, most = arguments
            return [{"delivery": UUID(int=n)} for n in range(last.int + 1, min(last.int + most, self._deliveries) + 1)]
        self.read += 1
        [ids] = arguments
        same = {"number": self._number, "state": "submitted", "stamped_through": 0, "evidence": None}
        return [{"delivery": delivery, **same} for delivery in ids]


async def test_a_process_that_dies_ends_the_check() -> None:
    """Killed, or out of memory: told at once, and nobody waits for its page."""
    with pytest.raises(ExceptionGroup) as raised:
        await verify_pages(Many(4, Deadly()), (), 2, 1, CheckProgress())
    assert raised.group_contains(VerbRefused, match="process that verifies proofs died")


async def test_what_is_broken_a_thousand_times_is_told_a_hundred_times() -> None:
    """In order of delivery, and with all of them counted as verified."""
    progress = CheckProgress()
    found = await verify_pages(Many(1_000, "1"), (), 1, 10, progress)
    assert [v.subject for v in found] == [str(UUID(int=n)) for n in range(1, VIOLATIONS_MAX + 1)]
    assert (progress.deliveries, progress.of_deliveries) == (1_000, 1_000)
    assert str(progress) == "1,000 of 1,000 deliveries verified, 0 of 0 queries answered"


async def test_progress_is_told_beside_the_check(ledger: Ledger) -> None:
    """Who waits sees both halves come to their end."""
    seen: list[CheckProgress] = []

    async def tell(progress: CheckProgress) -> None:
        seen.append(progress)
        await anyio.sleep_forever()

    async with ledger.operator() as database:
        assert await check_ledger(database, (ledger.anchor,), tell=tell) == []
    assert (
        str(seen[0]) == f"8 of 8 deliveries verified, {len(SQL_PREDICATES)} of {len(SQL_PREDICATES)} queries answered"
    )


@pytest.mark.parametrize("jobs", ["0", "-1", "65", "two", "1.5", ""])
def test_a_number_of_jobs_that_is_none_is_refused(jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage, with what would be right."""
    with pytest.raises(SystemExit) as stopped:
        run(["ledger", "check", f"--jobs={jobs}"])
    assert stopped.value.code == 2
    assert "a number from 1 to 64" in capsys.readouterr().err


def test_by_default_every_processor_is_used() -> None:
    """Those that this process may use."""
    assert jobs_here() == min(64, len(os.sched_getaffinity(0)))


def _heeds_interrupts() -> None:
    """As at a terminal: what a shell starts in the background ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def checking(ledger: Ledger) -> Iterator["subprocess.Popen[str]"]:
    """`ledger check` with two processes, in a process group of its own as at a terminal."""
    config = ledger.state / f"{ledger.database.name}.toml"
    config.write_text(small_ledger.toml_of(ledger.database, ledger.state))
    words = [sys.executable, "-P", "-m", "pipeline.operate", "ledger", "check", "--jobs", "2", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
        preexec_fn=_heeds_interrupts,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_an_interruption_ends_it_cleanly(ledger: Ledger) -> None:
    """Ctrl-C in the middle of a statement, with processes under way: a sentence, no traceback, and nothing stays."""
    ledger.plant(
        "INSERT INTO qerds.delivery SELECT (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid(),"
        " 'number', lpad(n::text, 14, '0'), 'client_ref', 'more-' || n))).*"
        f" FROM qerds.delivery d, generate_series(1, 300) n WHERE d.id = '{ledger.letters.submitted}'"
    )
    waiting = (
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{ledger.database.name}' AND wait_event_type = 'Lock'"
    )

    async def stands() -> bool:
        return (await anyio.to_thread.run_sync(ledger.server.psql, waiting)).strip() == "1"

    async with held(ledger.database, "outbox.dead"):
        with checking(ledger) as process:
            await until(stands, 20)
            os.killpg(process.pid, signal.SIGINT)
            out, err = await anyio.to_thread.run_sync(process.communicate)
        await until(lambda: gone(process.pid), 10)
    assert (process.returncode, out) == (130, "")
    assert re.sub(r"qerds: .* queries answered\n", "", err) == "qerds: interrupted; nothing was changed\n"


@asynccontextmanager
async def held(database: DatabaseSettings, table: str) -> AsyncIterator[None]:
    """Nobody reads this table meanwhile."""
    owner = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user="qerds_owner",
        password=database.password("qerds_owner"),
    )
    try:
        async with owner.transaction():
            await owner.execute(f"LOCK TABLE {table}")
            yield
    finally:
        await owner.close()


async def gone(group: int) -> bool:
    """Nobody is left of this process group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
