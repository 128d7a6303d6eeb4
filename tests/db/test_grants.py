"""What a process that was taken over still cannot do: the grants of the migrations, read back and tried."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from deploy.local.roles import OWNER, ROLES
from pipeline.delivery.routes import (
    ACCESS_END,
    AFTER,
    ASK_CONSENT,
    BATCH_PROOF,
    CHECKED,
    DRAFT,
    DRAW,
    EXPIRE,
    EXPORT,
    LEGAL_KINDS,
    MAIL_CONSENT,
    PING,
    PREPARE,
    PRESERVE,
    PUSH,
    RECEIVER,
    SEALED,
    SEND,
    SETTLE,
    STAGES,
    SUBMITTED,
)
from pipeline.evidence.form.xml import opening
from pipeline.formats.configuration import DatabaseSettings
from pipeline.formats.events import BY_RECIPIENT, EVENTS
from pipeline.formats.evidence_head import evidence_id
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio
PROCESS_ROLES = tuple(role for role in ROLES if role != OWNER)
INSERT_ONLY = {  # with one column of each
    **dict.fromkeys(("evidence", "evidence_seal", "evidence_token"), "evidence"),
    "log_leaf": "digest",
    **dict.fromkeys(("consent_mail", "consent_mail_result", "consent_answer"), "request"),
    **dict.fromkeys(("consent", "consent_request", "consent_withdrawal"), "ref"),
}
MOVED = ("state", "stamped_through", "settled_at", "changed_at")  # of a delivery

# Which kinds of message each stage file and the gateway emit (legal timers apart: they are not in an outbox).
EMITS: dict[str, frozenset[str]] = {
    "qerds_gateway": frozenset({PING, SUBMITTED, DRAW, DRAFT, PRESERVE, BATCH_PROOF, EXPORT, ASK_CONSENT}),
    "qerds_ingest": frozenset({CHECKED, DRAFT, DRAW, SETTLE}),
    "qerds_encrypt": frozenset({DRAFT}),
    "qerds_seal": frozenset({SEALED}),
    "qerds_timestamp": frozenset(kind for kinds in AFTER.values() for kind in kinds) - LEGAL_KINDS,
    "qerds_notify": frozenset({PREPARE, SEND, DRAFT, MAIL_CONSENT}),
    "qerds_expire": frozenset({DRAFT}),
    "qerds_archive": frozenset({PRESERVE, EXPORT}),
    "qerds_webhook": frozenset({PUSH}),
    "qerds_events": frozenset({PUSH}),
    "qerds_bridge": frozenset(),
}

# Which events each process may draft (docs/invariants.md: event_is_its_roles_own). `seal`, `timestamp`: none.
DRAFTS: dict[str, frozenset[str]] = {
    role: frozenset(event.code for event in EVENTS.values() if role.removeprefix("qerds_") in event.drafted_by)
    for role in PROCESS_ROLES
}


@asynccontextmanager
async def as_role(database: DatabaseSettings, role: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user=role,
        password=database.password(role),
    )
    try:
        yield connection
    finally:
        await connection.close()


def writable_outboxes(role: str) -> set[str]:
    """What a role must be able to write: its own mailbox, and where its emissions go."""
    own = {role.removeprefix("qerds_")} & set(STAGES)
    return own | {RECEIVER[kind] for kind in EMITS[role]}


async def draft_as(connection: "asyncpg.Connection[asyncpg.Record]", event: str) -> str:
    """Try to draft; "denied" by the grants, or "let through" to the foreign keys, which nothing planted satisfies."""
    delivery = uuid4()
    evidence = evidence_id(delivery, event, 0)
    try:
        await connection.execute(
            "INSERT INTO qerds.evidence (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, "
            "seal_key_id, receipt) VALUES ($1, $2, $3, 0, 1, clock_timestamp(), $5, sha256($5), 'key', $4)",
            evidence,
            delivery,
            event,
            b"receipt" if event in BY_RECIPIENT else None,
            opening(evidence).encode(),
        )
    except asyncpg.InsufficientPrivilegeError:
        return "denied"
    except asyncpg.ForeignKeyViolationError:
        return "let through"
    return "written"


async def test_each_role_drafts_the_events_of_its_own_and_no_other(database: DatabaseSettings) -> None:
    """A gateway taken over forges no A.1, C.1 or C.5; no process forges what another one witnesses."""
    for role in PROCESS_ROLES:
        async with as_role(database, role) as connection:
            answers = {event: await draft_as(connection, event) for event in EVENTS}
        assert answers == {event: "let through" if event in DRAFTS[role] else "denied" for event in EVENTS}, role


async def test_no_process_changes_or_deletes_what_is_evidence(database: DatabaseSettings) -> None:
    """Insert-only by grant: neither the privilege, nor a column's, nor TRUNCATE; and trying it is refused."""
    for role in PROCESS_ROLES:
        async with as_role(database, role) as connection:
            for table, column in INSERT_ONLY.items():
                may = await connection.fetchval(
                    "SELECT has_table_privilege($1, 'UPDATE, DELETE, TRUNCATE') "
                    "OR has_any_column_privilege($1, 'UPDATE')",
                    f"qerds.{table}",
                )
                assert may is False, f"{role} may change qerds.{table}"
                for sql in (f"UPDATE qerds.{table} SET {column} = NULL", f"DELETE FROM qerds.{table}"):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(sql)


async def test_only_archive_deletes_contents(database: DatabaseSettings) -> None:
    """Rows of what was uploaded, its packs and its wraps. The wrap of a letter goes with nobody."""
    may_delete = set()
    for role in PROCESS_ROLES:
        async with as_role(database, role) as connection:
            for table in ("upload", "upload_segment", "upload_wrap", "pack", "content_wrap"):
                if await connection.fetchval("SELECT has_table_privilege($1, 'DELETE')", f"qerds.{table}"):
                    may_delete.add((role, table))
    assert may_delete == {("qerds_archive", table) for table in ("upload", "upload_segment", "upload_wrap", "pack")}


async def test_only_timestamp_moves_a_state(database: DatabaseSettings) -> None:
    """The state of a delivery is written by no role, but through the one function that looks at stamped evidence."""
    may_write = set()
    for role in PROCESS_ROLES:
        async with as_role(database, role) as connection:
            for privilege in ("UPDATE", "INSERT"):
                for column in MOVED:
                    question = "SELECT has_column_privilege('qerds.delivery', $1, $2)"
                    if await connection.fetchval(question, column, privilege):
                        may_write.add((role, privilege, column))
            if await connection.fetchval(
                "SELECT has_function_privilege(oid, 'EXECUTE') FROM pg_proc WHERE proname = 'advance_deliveries'"
            ):
                may_write.add((role, "EXECUTE", "advance_deliveries"))
    assert may_write == {("qerds_timestamp", "EXECUTE", "advance_deliveries")}
    async with as_role(database, "qerds_gateway") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE qerds.delivery SET state = 'accepted'")


async def test_only_ingest_makes_a_letter_of_a_batch(database: DatabaseSettings) -> None:
    """The gateway stores lines; it can neither claim that a letter was drawn, nor move a cursor, nor write a result."""
    told = set()
    for role in PROCESS_ROLES:
        async with as_role(database, role) as connection:
            for table, column, privilege in (
                ("delivery", "batch", "INSERT"),
                ("delivery", "batch", "UPDATE"),
                ("batch", "drawn_line", "UPDATE"),
                ("batch_result", "line", "INSERT"),
                ("batch_result", "line", "UPDATE"),
            ):
                question = "SELECT has_column_privilege($1, $2, $3)"
                if await connection.fetchval(question, f"qerds.{table}", column, privilege):
                    told.add((role, table, privilege))
    written = {("delivery", "INSERT"), ("batch", "UPDATE"), ("batch_result", "INSERT")}
    assert told == {("qerds_ingest", *pair) for pair in written}


async def test_the_mail_with_the_claim_token_is_read_by_notify_alone(database: DatabaseSettings) -> None:
    """The gateway knows the digest of a claim token, never the token: it cannot read notice.mail."""
    readers = set()
    for role in PROCESS_ROLES:
        async with as_role(database, role) as connection:
            for table in ("notice", "consent_mail"):
                if await connection.fetchval("SELECT has_column_privilege($1, 'mail', 'SELECT')", f"qerds.{table}"):
                    readers.add((role, table))
    assert readers == {("qerds_notify", "notice"), ("qerds_notify", "consent_mail")}
    async with as_role(database, "qerds_gateway") as connection:
        for sql in (
            "SELECT mail FROM qerds.notice",
            "SELECT * FROM qerds.notice",
            "COPY qerds.notice (mail) TO STDOUT",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)


# What opens, identifies or signs for somebody: which kinds of process read it. Nobody else needs it.
SECRETS = {
    ("webhook_secret", "secret"): {"webhook"},
    ("content_wrap", "wrapped"): {"gateway"},
    ("upload_wrap", "wrapped"): {"encrypt"},
    ("upload_segment", "sealed_key"): {"encrypt", "gateway"},
    ("pack", "sealed_key"): {"encrypt"},
    ("portal_session", "people"): {"gateway"},
    ("identification", "proof"): {"gateway"},
    ("access_token", "token_sha256"): {"gateway"},
    ("sender_client", "secret_sha256"): {"gateway", "operate"},  # who makes clients; a digest of 256 random bits
    ("idempotency", "body"): {"gateway"},
    ("batch_line", "body"): {"gateway", "ingest"},
}


async def test_a_secret_is_read_by_who_uses_it(database: DatabaseSettings) -> None:
    """Whoever became another process, an operator's among them, reads none of it."""
    readers: dict[tuple[str, str], set[str]] = {secret: set() for secret in SECRETS}
    for role in PROCESS_ROLES:
        async with as_role(database, role) as connection:
            for table, column in SECRETS:
                may = "SELECT has_column_privilege($1, $2, 'SELECT')"
                if await connection.fetchval(may, f"qerds.{table}", column):
                    readers[table, column].add(role.removeprefix("qerds_"))
    assert readers == SECRETS


async def test_no_process_says_when_a_consumer_was_asked_or_answered(database: DatabaseSettings) -> None:
    """These times are the database's, and only the two that write a request's rows write them."""
    writers = set()
    for role in PROCESS_ROLES:
        async with as_role(database, role) as connection:
            for table, column, time in (
                ("consent_request", "ref", "asked_at"),
                ("consent_answer", "answer", "answered_at"),
                ("consent_mail_result", "outcome", "at"),
            ):
                may = "SELECT has_column_privilege($1, $2, 'INSERT')"
                assert await connection.fetchval(may, f"qerds.{table}", time) is False, role
                if await connection.fetchval(may, f"qerds.{table}", column):
                    writers.add((role, table))
    asked = {("qerds_gateway", "consent_request"), ("qerds_gateway", "consent_answer")}
    assert writers == asked | {("qerds_notify", "consent_mail_result")}


@pytest.mark.parametrize("role", EMITS)
async def test_a_role_writes_exactly_the_outboxes_its_emissions_go_to(database: DatabaseSettings, role: str) -> None:
    """INSERT on its own mailbox and on its receivers'; it reads, empties and locks its own only."""
    tables = [(stage, table) for stage in STAGES for table in (stage, f"{stage}_running")]
    async with as_role(database, role) as connection:
        may: dict[str, set[str]] = {"INSERT": set(), "SELECT": set(), "DELETE": set()}
        for privilege, found in may.items():
            for _, table in tables:
                question = (
                    "SELECT has_any_column_privilege($1, $2)"
                    if privilege != "DELETE"
                    else "SELECT has_table_privilege($1, $2)"
                )
                if await connection.fetchval(question, f"outbox.{table}", privilege):
                    found.add(table)
    own = {table for stage, table in tables if role == f"qerds_{stage}"}
    assert may == {"INSERT": own | writable_outboxes(role), "SELECT": own, "DELETE": own}


@pytest.mark.parametrize("role", EMITS)
async def test_a_role_emits_the_kinds_of_its_own_and_no_other(
    postgres: PostgresServer, database: DatabaseSettings, role: str
) -> None:
    """Every kind into every mailbox: only where it is received, and only by who emits it or received it before."""
    own = {kind for kind, stage in RECEIVER.items() if role == f"qerds_{stage}"}
    expected = {(RECEIVER[kind], kind) for kind in EMITS[role] | own}
    emitted = set()
    async with as_role(database, role) as connection:
        for stage in STAGES:
            for kind in [*RECEIVER, "unknown"]:
                try:
                    await connection.execute(
                        f"INSERT INTO outbox.{stage} (lane, kind, subject) VALUES (2, $1, $2)", kind, UUID(int=0)
                    )
                except asyncpg.InsufficientPrivilegeError:
                    continue
                emitted.add((stage, kind))
    assert emitted == expected


async def test_a_timer_is_its_own_stages_and_a_deadline_of_who_proves_it(database: DatabaseSettings) -> None:
    """Whoever became one stage sets no retry of another, and ends nobody's time to decide."""
    timers = set[tuple[str, str, str]]()
    deadlines = set[tuple[str, str, str]]()
    for role in EMITS:
        async with as_role(database, role) as connection:
            for table, may in (("timer", timers), ("legal_timer", deadlines)):
                for kind, stage in RECEIVER.items():
                    try:
                        await connection.execute(
                            f"INSERT INTO outbox.{table} (stage, due_at, lane, kind, subject) "
                            "VALUES ($1, now(), 2, $2, $3)",
                            *(stage, kind, UUID(int=0)),
                        )
                    except asyncpg.InsufficientPrivilegeError:
                        continue
                    may.add((role, stage, kind))
    assert timers == {(f"qerds_{stage}", stage, kind) for kind, stage in RECEIVER.items()}
    assert deadlines == {
        ("qerds_timestamp", "expire", EXPIRE),
        ("qerds_expire", "expire", EXPIRE),
        ("qerds_expire", "expire", ACCESS_END),
        ("qerds_timestamp", "expire", ACCESS_END),
    }


async def test_an_operator_redrives_into_any_mailbox_and_empties_none(database: DatabaseSettings) -> None:
    """A dead letter may be put back to where it came from; taking and removing stay with the stages."""
    may: dict[str, set[str]] = {"INSERT": set(), "DELETE": set()}
    async with as_role(database, "qerds_operate") as connection:
        for privilege, found in may.items():
            for table in (name for stage in STAGES for name in (stage, f"{stage}_running")):
                if await connection.fetchval("SELECT has_table_privilege($1, $2)", f"outbox.{table}", privilege):
                    found.add(table)
    assert may == {"INSERT": set(STAGES), "DELETE": set()}


async def test_the_map_of_emissions_names_what_the_routes_know() -> None:
    """The map above is complete: every kind has a sender in it, and nothing is sent that nobody receives."""
    sent = frozenset().union(*EMITS.values())
    assert sent == set(RECEIVER) - LEGAL_KINDS


async def test_timers_and_process_rows_of_others_are_invisible(
    postgres: PostgresServer, database: DatabaseSettings
) -> None:
    """A stage neither sees nor removes another's timers and lives: it can neither hide its messages nor rescue them."""
    stages = ", ".join(f"('{stage}')" for stage in STAGES)
    for table in ("timer", "legal_timer"):
        postgres.psql(
            f"INSERT INTO outbox.{table} (stage, due_at, lane, kind, subject) "
            f"SELECT s, '-infinity', 0, 'any', '{UUID(int=0)}' FROM (VALUES {stages}) v(s)",
            database.name,
        )
    postgres.psql(
        "INSERT INTO outbox.process (kind, host, pid, build) "
        f"SELECT s, 'elsewhere', 1, 'test' FROM (VALUES {stages}) v(s)",
        database.name,
    )
    for stage in STAGES:
        async with as_role(database, f"qerds_{stage}") as connection:
            for table, column in (("timer", "stage"), ("legal_timer", "stage"), ("process", "kind")):
                rows = await connection.fetch(f"SELECT {column} AS whose FROM outbox.{table}")
                assert [row["whose"] for row in rows] == [stage], f"{stage} sees {table} of others"
                assert await connection.execute(f"DELETE FROM outbox.{table} WHERE {column} <> '{stage}'") == "DELETE 0"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(
                    "INSERT INTO outbox.process (kind, host, pid, build) VALUES ('other', 'h', 1, 'b')"
                )
    async with as_role(database, "qerds_gateway") as connection:
        for table in ("timer", "legal_timer", "process", "dead"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"SELECT FROM outbox.{table}")
