"""The operator's verbs, as a person types them: their answers, their effects and their exit statuses."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import asyncpg
import pytest
from msgspec.structs import replace

from pipeline.adapters.postgres.database import Database
from pipeline.delivery.facts import ContentWrap
from pipeline.formats.configuration import DatabaseSettings
from pipeline.operate import clock, command, senders
from pipeline.operate.__main__ import run
from pipeline.operate.command import VerbRefused
from tests.db import small_ledger
from tests.servers import PostgresServer, short_directory
from tests.words import reserved_words_in

NUMBER_LENGTH = 14


@dataclass(frozen=True, slots=True)
class Told:
    """What a verb answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> object:
        return json.loads(self.out)


Verb = Callable[..., Told]


@dataclass(frozen=True, slots=True)
class Installed:
    """A database with one letter in it, whose notice failed at the relay and lies among the dead letters."""

    server: PostgresServer
    database: DatabaseSettings
    config: Path

    def psql(self, sql: str) -> str:
        return self.server.psql(sql, self.database.name).strip()


@pytest.fixture
def installed(postgres: PostgresServer, database: DatabaseSettings) -> Iterator[Installed]:
    state = short_directory()

    async def build() -> None:
        async with small_ledger.installation(database, state) as it:
            delivery = await it.submit()
            wrap = ContentWrap(delivery, "kek", b"context", b"wrapped")
            await it.draft("encrypt", delivery, [("A.1", None)], [wrap])

    anyio.run(build)
    config = state / "qerds.toml"
    config.write_text(small_ledger.toml_of(database, state))
    yield Installed(postgres, database, config)
    shutil.rmtree(state)


@pytest.fixture
def verb(installed: Installed, capsys: pytest.CaptureFixture[str]) -> Verb:
    def say(*words: str) -> Told:
        status = run([*words, "--config", str(installed.config)])
        said = capsys.readouterr()
        assert reserved_words_in(said.out + said.err) == []
        return Told(status, said.out, said.err)

    return say


def test_a_sender_gets_a_client_whose_secret_is_kept_as_a_digest(installed: Installed, verb: Verb) -> None:
    """The secret is printed once; the database could not tell it to anybody."""
    told = verb("sender", "add", "--name", "Mairie de Châteauroux", "--email", "mairie@example.org", "--json")
    assert told.status == 0
    made = json.loads(told.out)
    digest = hashlib.sha256(made["client_secret"].encode()).hexdigest()
    stored = installed.psql(
        "SELECT s.name, encode(c.secret_sha256, 'hex'), c.scopes FROM qerds.sender_client c JOIN qerds.sender s"
        f" ON s.id = c.sender WHERE c.client_id = '{made['client_id']}'"
    )
    scopes = "deliveries:write,deliveries:read,evidence:read,consents:write,webhooks:write"
    assert stored == f"Mairie de Châteauroux|{digest}|{{{scopes}}}"


@pytest.mark.parametrize(
    ("name", "email", "method"),
    [
        *(("", "a@example.org", "m"), ("x" * 201, "a@example.org", "m"), ("Name", "nobody", "m"), ("Name", "@", "m")),
        *((name, "a@example.org", "m") for name in ("A\nB", "A\tB", "A\u200bB", "A\u202eB", " A", "Jeаn", "A\ue000")),
        *(("Name", address, "m") for address in ("a\n@example.org", "a@exаmple.org", "a@b", "a@\u200bb.org")),
        *(("Name", "a@example.org", method) for method in ("", "in person", "m\n", "é", "x" * 201)),
    ],
)
def test_what_an_operator_types_is_what_evidence_can_say(
    installed: Installed, verb: Verb, name: str, email: str, method: str
) -> None:
    """By the API's rules: else the sender's letters would be taken and get no evidence. Status 2, nothing is stored."""
    assert verb("sender", "add", "--name", name, "--email", email, "--identity-method", method).status == 2
    assert installed.psql("SELECT count(*) FROM qerds.sender") == "1"


def test_a_sender_is_stored_in_the_one_spelling(installed: Installed, verb: Verb) -> None:
    """A name in NFC, an address with the A-labels of its domain."""
    assert verb("sender", "add", "--name", "Zoe\u0301", "--email", "a@société.example").status == 0
    stored = installed.psql("SELECT name, email FROM qerds.sender ORDER BY created_at DESC LIMIT 1")
    assert stored == "Zo\u00e9|a@xn--socit-esab.example"


def test_the_birth_date_is_demanded_of_a_senders_consumers(installed: Installed, verb: Verb) -> None:
    """Until it is optional again; of a sender that there is."""
    sender = installed.psql("SELECT id FROM qerds.sender")
    for word, demanded in (("--required", "t"), ("--optional", "f")):
        assert verb("sender", "birth-date", sender, word).status == 0
        assert installed.psql("SELECT birth_date_demanded FROM qerds.sender") == demanded
    assert verb("sender", "birth-date", str(UUID(int=1)), "--required").status == 1


def test_a_private_key_is_not_taken_from_a_sender(installed: Installed, verb: Verb, tmp_path: Path) -> None:
    """A client's own key: the public half is stored, a file with the private half is refused."""
    key = tmp_path / "key.json"
    key.write_text('{"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "secret"}')
    given = ("--name", "N", "--email", "a@example.org", "--public-jwk", str(key))
    assert verb("sender", "add", *given).status == 2
    key.write_text('{"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}')
    told = verb("sender", "add", *given, "--json")
    assert told.status == 0
    assert json.loads(told.out)["client_secret"] is None


def test_a_secret_is_for_embedded_installations_only(installed: Installed) -> None:
    """Elsewhere a client proves itself with a key of its own."""
    config = replace(small_ledger.config_of(installed.database, installed.config.parent), embedded=False)
    with pytest.raises(VerbRefused, match="public-jwk"):
        anyio.run(senders.register_sender, config, "Name", "a@example.org")


def test_the_demo_clock_goes_forward_and_rings(installed: Installed, verb: Verb) -> None:
    """Advancing adds up, shows the new time of the law, and wakes every stage."""
    heard: list[str] = []

    async def listen_and_advance() -> None:
        connection = await asyncpg.connect(
            host=str(installed.database.socket_dir),
            port=installed.database.port,
            database=installed.database.name,
            user="qerds_expire",
            password=installed.database.password("qerds_expire"),
        )
        await connection.add_listener("doorbell", lambda *words: heard.append(words[3]))
        assert (await anyio.to_thread.run_sync(lambda: verb("clock", "advance", "P16D"))).status == 0
        assert (await anyio.to_thread.run_sync(lambda: verb("clock", "advance", "PT90M", "--json"))).status == 0
        await connection.close()

    anyio.run(listen_and_advance)
    assert set(heard) == {"ingest", "encrypt", "seal", "timestamp", "notify", "expire", "archive", "webhook"}
    told = verb("clock", "show")
    assert "16 days, 1:30:00" in told.out
    assert "until" in told.out
    assert installed.psql("SELECT qerds.legal_now() > clock_timestamp() + interval '16 days 1 hour'") == "t"


@pytest.mark.parametrize(
    "period", ["", "P", "PT", "16D", "-P1D", "P-1D", "P1M", "P1Y", "P0D", "P9999D", "P1.5D", "P١D"]
)
def test_the_demo_clock_never_goes_back_or_far(period: str) -> None:
    """Nothing but days, hours, minutes and seconds, forward, within the life of the certificates."""
    with pytest.raises(VerbRefused):
        clock.period_of(period)


def test_periods_are_read_as_written() -> None:
    """ISO 8601 as people write it."""
    assert clock.period_of("P1DT2H3M4S") == timedelta(days=1, hours=2, minutes=3, seconds=4)


def test_there_is_no_demo_clock_outside_an_embedded_installation(installed: Installed, verb: Verb) -> None:
    """Status 3 and a reason, not an error of the database."""
    installed.psql("UPDATE qerds.installation SET embedded = false")
    told = verb("clock", "advance", "P1D")
    assert (told.status, installed.psql("SELECT count(*) FROM qerds.legal_clock")) == (3, "0")
    assert "embedded" in told.err


def test_a_dead_letter_is_shown_and_redriven(installed: Installed, verb: Verb) -> None:
    """Looked at, then put back into its own stage's mailbox with its counts at 0, once."""
    installed.psql(
        "INSERT INTO outbox.dead (stage, why, lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at)"
        " SELECT 'seal', 'seal denied', 1, kind, subject, evidence, ordinal, 7, 5, enqueued_at FROM outbox.seal;"
        " DELETE FROM outbox.seal"
    )
    [letter] = json.loads(verb("dead-letters", "list", "--json").out)
    assert (letter["stage"], letter["attempts"], letter["rescues"]) == ("seal", 7, 5)
    assert "seal denied" in verb("dead-letters", "show", str(letter["id"])).out
    told = json.loads(verb("dead-letters", "show", str(letter["id"]), "--json").out)
    assert (told["subject"], told["number"]) == tuple(
        installed.psql("SELECT id, number FROM qerds.delivery").split("|")
    )
    assert verb("dead-letters", "redrive", "--stage", "notify").out == "nothing to redrive\n"
    assert json.loads(verb("dead-letters", "redrive", "--dry-run", "--json").out)[0]["id"] == letter["id"]
    assert installed.psql("SELECT count(*) FROM outbox.seal") == "0"
    assert verb("dead-letters", "redrive", "--stage", "seal", "--ids", str(letter["id"])).status == 0
    assert installed.psql("SELECT lane, attempts, rescues FROM outbox.seal") == "1|0|0"
    assert installed.psql("SELECT count(*) FROM outbox.dead") == "0"
    assert verb("dead-letters", "redrive").out == "nothing to redrive\n"
    assert verb("dead-letters", "show", str(letter["id"])).status == 1


def test_show_says_where_a_letter_is_and_nothing_about_people(installed: Installed, verb: Verb) -> None:
    """State, evidences, messages; no name, address, subject or file name."""
    number = installed.psql("SELECT number FROM qerds.delivery")
    told = verb("show", " ".join(number[i : i + 4] for i in range(0, NUMBER_LENGTH, 4)))
    assert told.status == 0
    for expected in ("submitted", "A.1", "seal", "waiting", "draft"):
        assert expected in told.out
    for personal in ("Jeanne", "Martin", "example", "subject", "letter.pdf", "Test Sender"):
        assert personal not in told.out
    found = json.loads(verb("show", number, "--json").out)
    assert [e["event"] for e in found["evidences"]] == ["A.1"]
    assert [(m["stage"], m["place"], m["attempts"]) for m in found["messages"]] == [("seal", "waiting", 0)]


def test_show_tells_an_unknown_number_from_a_wrong_one(installed: Installed, verb: Verb) -> None:
    """1: no such delivery. 2: no delivery could have this number."""
    number = installed.psql("SELECT number FROM qerds.delivery")
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    installed.psql("UPDATE qerds.delivery SET number = '00000000000000'")
    assert verb("show", number).status == 1
    assert verb("show", wrong).status == 2


def test_the_ledger_check_answers_by_its_status(installed: Installed, verb: Verb) -> None:
    """0 and a sentence when all is well; 1 and the broken predicate with its subject when not."""
    told = verb("ledger", "check")
    assert told.status == 0, told.out
    assert "predicates hold" in told.out
    installed.psql("DELETE FROM outbox.seal")
    told = verb("ledger", "check", "--json")
    assert told.status == 1
    assert {v["predicate"] for v in json.loads(told.out)} == {"delivery_has_a_next_step", "draft_will_be_sealed"}


def test_the_ledger_check_sees_a_message_wherever_it_waits(installed: Installed, verb: Verb) -> None:
    """Running, in a timer or among the dead letters, a message still counts."""
    for place in ("timer", "legal_timer", "dead"):
        columns = "kind, subject, evidence, ordinal, attempts, rescues, enqueued_at"
        more, values = ("died_at, why", "now(), 'x'") if place == "dead" else ("due_at", "now()")
        installed.psql(
            f"BEGIN; INSERT INTO outbox.{place} (stage, lane, {columns}, {more})"
            f" SELECT 'seal', lane, {columns}, {values} FROM outbox.seal; DELETE FROM outbox.seal; COMMIT"
        )
        told = verb("ledger", "check")
        assert told.status == 0, told.out
        installed.psql(
            f"INSERT INTO outbox.seal (lane, {columns}) SELECT lane, {columns} FROM outbox.{place};"
            f" DELETE FROM outbox.{place}"
        )


def test_a_database_that_is_away_is_status_4(installed: Installed, verb: Verb) -> None:
    """Unreachable is told from "no"."""
    text = installed.config.read_text().replace("port = 5432", "port = 5433")
    assert "port = 5433" in text
    installed.config.write_text(text)
    assert verb("ledger", "check").status == 4
    assert verb("clock", "show").status == 4


def test_wrong_usage_is_status_2(installed: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown verbs and missing arguments."""
    assert run([]) == 2
    assert run(["nothing"]) == 2
    with pytest.raises(SystemExit) as stopped:
        run(["show"])
    assert stopped.value.code == 2
    assert run(["clock", "show", "--config", str(installed.config.with_name(f"{uuid4()}.toml"))]) == 3
    assert "usage" in capsys.readouterr().err


async def _one_redrive(database: DatabaseSettings, stage: str, dead: int) -> int:
    config = small_ledger.config_of(database, Path("/none"))
    operator = Database(config.database.dsn("qerds_operate"))
    async with operator.transaction() as tx:
        moved = await tx.fetch(f"operate_redrive@{stage}", [dead])
    await operator.close()
    return len(moved)


def test_two_operators_redrive_one_letter_once(installed: Installed) -> None:
    """Of two at the same moment one moves it, the other finds nothing."""
    installed.psql(
        "INSERT INTO outbox.dead (stage, why, lane, kind, subject, evidence, ordinal, attempts, rescues, enqueued_at)"
        " SELECT 'seal', 'why', 0, kind, subject, evidence, ordinal, 0, 0, enqueued_at FROM outbox.seal;"
        " DELETE FROM outbox.seal"
    )
    moved: list[int] = []

    async def redrive() -> None:
        moved.append(await _one_redrive(installed.database, "seal", 1))

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(redrive)
            tasks.start_soon(redrive)

    anyio.run(both)
    assert sorted(moved) == [0, 1]
    assert installed.psql("SELECT count(*) FROM outbox.seal") == "1"


ODD = [
    "A\nB",
    "\x1b[2J",
    "a\x85b",
    "\udce9",
    "A\u2028B",
    "\uffff",
    "9" * 25,
    "-1",
    "x" * 5000,
    "",
    "'; --",
    "1e999",
    "\u0661",
]
VERBS = [
    ("show", "{}"),
    ("pause", "{}", "--reason", "x"),
    ("pause", "intake", "--reason", "{}"),
    ("pause", "stage:{}", "--reason", "x"),
    ("resume", "{}"),
    ("resume", "sender:{}"),
    ("dead-letters", "show", "{}"),
    ("dead-letters", "list", "--ids", "{}"),
    ("dead-letters", "list", "--stage", "{}"),
    ("dead-letters", "redrive", "--ids", "{}"),
    ("clock", "advance", "{}"),
    ("clock", "advance", "P{}D"),
    ("sender", "add", "--name", "{}", "--email", "x"),
    ("sender", "add", "--name", "x", "--email", "{}"),
    ("sender", "add", "--name", "x", "--email", "x@y.example", "--public-jwk", "{}"),
    ("sender", "keys", "{}"),
    ("sender", "keys", "{sender}", "revoke", "{}"),
    ("sender", "keys", "{sender}", "rotate", "{}"),
    ("sender", "keys", "{sender}", "add", "--scope", "{}"),
    ("sender", "suspend", "{sender}", "--reason", "{}"),
    ("sender", "window", "{sender}", "--open", "{}"),
    ("sender", "identity", "{sender}", "--valid-until", "{}"),
    ("top", "--once", "--stage", "{}"),
]
DAYS = [
    "9999-12-31T23:59:59-14:00",
    "0001-01-01",
    "0001-01-01T00:00:00+14:00",
    "2027-02-30",
    "2027-06-30T25:00",
    "20270630",
]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_whatever_an_operator_types_is_answered(installed: Installed, verb: Verb, words: tuple[str, ...]) -> None:
    """Done, or refused with a reason: no traceback, and nothing is stored that could not be shown again."""
    sender = installed.psql("SELECT id FROM qerds.sender LIMIT 1")
    odd = [*ODD, *DAYS] if "--valid-until" in words else ODD
    for value in odd:
        try:
            told = verb(*(word.replace("{sender}", sender).replace("{}", value) for word in words))
        except SystemExit as usage:  # argparse: not of the type that it wants
            assert usage.code == 2
            continue
        assert told.status in range(5), value
        assert told.out or told.err, value
    texts = "SELECT name || email FROM qerds.sender UNION ALL SELECT reason FROM outbox.pause"
    stored = installed.psql(f"SELECT string_agg(t, '|') FROM ({texts}) x(t)")
    assert not command.UNFIT.search(stored)
