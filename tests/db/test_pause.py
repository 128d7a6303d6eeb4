"""Pausing and letting go, senders' standing, and what the operator sees of both."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import pytest

from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.errors import LeaseLost
from pipeline.formats.configuration import Config, load
from pipeline.operate.__main__ import run
from pipeline.process.measures import STAGE_WAIT
from pipeline.process.recorder import Recorder
from tests.db import small_ledger
from tests.servers import PostgresServer, short_directory
from tests.waiting import until
from tests.words import reserved_words_in

NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Told:
    """What a verb answered."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Installed:
    """A database with one sender and one letter of it, and the operator's verbs on it."""

    server: PostgresServer
    config: Config
    path: Path
    capture: pytest.CaptureFixture[str]

    def psql(self, sql: str) -> str:
        return self.server.psql(sql, self.config.database.name).strip()

    def say(self, *words: str) -> Told:
        status = run([*words, "--config", str(self.path)])
        said = self.capture.readouterr()
        assert reserved_words_in(said.out + said.err) == []
        return Told(status, said.out, said.err)

    @property
    def sender(self) -> str:
        return self.psql("SELECT id FROM qerds.sender LIMIT 1")

    def bar(self) -> str:
        return self.psql(f"SELECT qerds.sender_bar('{self.sender}')")


@pytest.fixture
def it(postgres: PostgresServer, state_dir: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Installed]:
    database, state = postgres.clone(), short_directory()

    async def build() -> None:
        async with small_ledger.installation(database, state) as made:
            await made.submit()

    anyio.run(build)
    path = state / "qerds.toml"
    path.write_text(small_ledger.toml_of(database, state))
    yield Installed(postgres, load(path), path, capsys)
    shutil.rmtree(state)
    postgres.drop(database)


def test_a_paused_stage_takes_nothing_until_it_is_resumed(it: Installed) -> None:
    """Messages wait, in the mailbox and in order; the process lives on."""
    assert it.say("pause", "stage:archive", "--reason", "the store is being moved").status == 0
    it.psql(f"INSERT INTO outbox.archive (lane, kind, subject) VALUES (0, 'preserve', '{NOBODY}')")

    async def takes() -> None:
        dsn = it.config.database.dsn("qerds_archive")
        recorder = Recorder("archive", write=lambda _: None)
        box = PostgresMailbox(dsn, Link(dsn, LeaseLost), "archive", "test", SystemRandomness(), recorder)
        await box.start()
        await box.sweep()
        assert await box.take(10) == []
        await anyio.to_thread.run_sync(lambda: it.psql("UPDATE outbox.pause SET resumed_at = clock_timestamp()"))

        async def resumed() -> bool:
            await box.sweep()
            return len(await box.take(10)) == 1

        await until(resumed, 5)
        assert recorder.histograms[STAGE_WAIT.of()].sum >= 0
        await box.stop()

    anyio.run(takes)


def test_what_is_paused_is_seen_and_its_history_stays(it: Installed) -> None:
    """Who finds a letter waiting finds the reason; afterwards too."""
    assert it.say("pause").out == "nothing is paused\n"
    assert it.say("pause", "intake", "--reason", "maintenance").out == "intake is paused\n"
    assert "already" in it.say("pause", "intake", "--reason", "another").out
    listed = json.loads(it.say("pause", "--json").out)
    assert [(row["scope"], row["reason"]) for row in listed] == [("intake", "maintenance")]
    assert it.say("resume", "intake").status == 0
    assert it.say("resume", "intake").status == 1
    assert it.psql("SELECT count(*) FROM outbox.pause WHERE resumed_at IS NOT NULL") == "1"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("pause", "stage:sael", "--reason", "r"), 2),
        (("pause", "sender:nobody", "--reason", "r"), 2),
        (("pause", f"sender:{NOBODY}", "--reason", "r"), 1),
        (("pause", f"batch:{NOBODY}", "--reason", "r"), 1),
        (("pause", "everything", "--reason", "r"), 2),
        (("pause", "intake"), 2),
        (("pause", "intake", "--reason", ""), 2),
        (("resume", "stage:seal"), 1),
    ],
)
def test_a_wrong_scope_pauses_nothing(it: Installed, words: tuple[str, ...], status: int) -> None:
    """A pause of the wrong thing looks like a pause: it has to be refused."""
    assert it.say(*words).status == status
    assert it.psql("SELECT count(*) FROM outbox.pause") == "0"


def test_a_sender_is_barred_for_one_reason_at_a_time(it: Installed) -> None:
    """Closed intake before suspension before identity before window; and all of it can be lifted."""
    assert it.bar() == ""
    assert it.say("sender", "window", it.sender, "--close").status == 0
    assert it.bar() == "sealing_window_closed"
    assert it.say("sender", "identity", it.sender, "--valid-until", "2020-01-01").status == 0
    assert it.bar() == "sender_identity_expired"
    assert it.say("sender", "suspend", it.sender, "--reason", "an abuse was reported").status == 0
    assert it.bar() == "sender_suspended"
    assert it.say("pause", "intake", "--reason", "maintenance").status == 0
    assert it.bar() == "unavailable"
    assert it.say("resume", "intake").status == 0
    assert it.say("resume", f"sender:{it.sender}").status == 0
    assert it.say("sender", "identity", it.sender, "--without-end").status == 0
    assert it.say("sender", "window", it.sender, "--open", "1h").status == 0
    assert it.bar() == ""


@pytest.mark.parametrize("span", ["1", "0h", "h", "1y", "32d", "-1h"])
def test_a_window_without_an_end_is_not_opened(it: Installed, span: str) -> None:
    """A typing error must not leave a window open for years."""
    assert it.say("sender", "window", it.sender, f"--open={span}").status == 2


def test_keys_are_added_changed_and_revoked(it: Installed, tmp_path: Path) -> None:
    """A rotated secret is another one; a revoked client is gone for ever; a public key replaces a secret."""
    made = json.loads(it.say("sender", "keys", it.sender, "add", "--json").out)
    changed = json.loads(it.say("sender", "keys", it.sender, "rotate", made["client_id"], "--json").out)
    assert changed["client_secret"] not in (None, made["client_secret"])
    key = tmp_path / "key.json"
    key.write_text('{"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}')
    rotated = it.say("sender", "keys", it.sender, "rotate", made["client_id"], "--public-jwk", str(key), "--json")
    assert json.loads(rotated.out)["client_secret"] is None
    stored = it.psql(
        "SELECT secret_sha256 IS NULL, public_jwk ->> 'kty' FROM qerds.sender_client"
        f" WHERE client_id = '{made['client_id']}'"
    )
    assert stored == "t|EC"
    assert it.say("sender", "keys", it.sender, "revoke", made["client_id"]).status == 0
    assert it.say("sender", "keys", it.sender, "revoke", made["client_id"]).status == 1
    assert it.say("sender", "keys", it.sender, "rotate", made["client_id"]).status == 1
    listed = json.loads(it.say("sender", "keys", it.sender, "--json").out)
    assert [row["client_id"] for row in listed if row["revoked_at"] is not None] == [made["client_id"]]
    assert it.say("sender", "keys", str(uuid4())).status == 1


def test_show_says_what_is_owed_and_what_holds_it_back(it: Installed) -> None:
    """Duty, deadline and slack by the time of the law; a pause of its sender or of the stage it waits for."""
    number = it.psql("SELECT number FROM qerds.delivery")
    it.psql("INSERT INTO outbox.ingest (lane, kind, subject) SELECT 0, 'submitted', id FROM qerds.delivery")
    it.say("sender", "suspend", it.sender, "--reason", "r")
    it.say("pause", "stage:ingest", "--reason", "r")
    told = json.loads(it.say("show", number, "--json").out)
    assert (told["duty"], told["paused"]) == ("deposit_proof", "sender")
    assert 86_000 < told["slack_seconds"] <= 86_400
    assert [m["paused"] for m in told["messages"] if m["stage"] == "ingest"] == [True]


def test_top_counts_every_stage(it: Installed) -> None:
    """Depth, age, processes and pauses, for a script."""
    it.psql(f"INSERT INTO outbox.seal (lane, kind, subject) SELECT 2, 'draft', '{NOBODY}' FROM generate_series(1, 30)")
    it.psql(
        "INSERT INTO outbox.dead (stage, why, lane, kind, subject, ordinal, attempts, rescues, enqueued_at)"
        f" VALUES ('seal', 'spent 500 attempts', 0, 'draft', '{NOBODY}', 0, 0, 0, clock_timestamp())"
    )
    it.say("pause", "stage:seal", "--reason", "r")
    told = it.say("top", "--once", "--json")
    lines = {line["stage"]: line for line in json.loads(told.out)}
    assert len(lines) == 8
    seal = lines["seal"]
    assert (seal["interactive"], seal["bulk"], seal["dead"], seal["paused"]) == (0, 30, 1, True)
    assert seal["bulk_lag"] > 0
    assert "paused" in it.say("top", "--once", "--stage", "seal").out


def test_a_deep_mailbox_is_not_counted_to_its_end(it: Installed) -> None:
    """Above the limit the span of ids tells, which is no less than the truth, and costs the same at any depth."""
    it.psql(f"INSERT INTO outbox.seal (lane, kind, subject) SELECT 2, 'draft', '{NOBODY}' FROM generate_series(1, 500)")

    async def depths(exact: int) -> int:
        database = Database(it.config.database.dsn("qerds_ops"))
        rows = await database.fetch("ops_depths", ["seal"], exact)
        await database.close()
        return int(sum(row["ready"] for row in rows))

    assert anyio.run(depths, 1000) == 500
    assert anyio.run(depths, 100) >= 500
