"""A superuser at a database: rows for the tables that a small ledger leaves empty, and every kind of edit.

Owns     FILLING, and edits that are generated over the catalogue: of each table a row removed, one added, each column
         changed, and emptied
Rules    what processes write is written in their sessions, so that it is stated as theirs. An edit is of one row: its
         first, middle or last one. A constraint that stands in its way is dropped, as a superuser would
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg

PLACES = ("first", "middle", "last")
MESSAGES = {
    "seal": "SELECT 0, 'draft', delivery, evidence FROM qerds.evidence WHERE event = 'C.5'",
    "timestamp": "SELECT 0, 'sealed', delivery, evidence FROM qerds.evidence WHERE event = 'C.5'",
    "archive": "SELECT 0, 'preserve', delivery, NULL::uuid FROM qerds.evidence WHERE event = 'C.4'",
    "encrypt": "SELECT 0, 'checked', id, NULL::uuid FROM qerds.delivery WHERE state = 'submitted' AND batch IS NULL",
    "notify": "SELECT 0, 'prepare', id, NULL::uuid FROM qerds.delivery WHERE state = 'notified'",
    "expire": "SELECT 0, 'expire', id, NULL::uuid FROM qerds.delivery WHERE state = 'refused'",
    "ingest": "SELECT 0, 'submitted', id, NULL::uuid FROM qerds.delivery WHERE state = 'rejected'",
}
FILLING = f"""
SET SESSION AUTHORIZATION qerds_gateway;
INSERT INTO qerds.consent (sender, ref, email, given_names, birth_name, obtained_at, method, text_sha256)
    SELECT id, 'c-1', 'jeanne@example.net', 'Jeanne', 'Martin', now(), 'form', sha256('text') FROM qerds.sender;
INSERT INTO qerds.consent_withdrawal (sender, ref) SELECT sender, ref FROM qerds.consent;
INSERT INTO qerds.consent_request (id, sender, ref, email, given_names, birth_name, language, expires_at)
    SELECT gen_random_uuid(), id, 'c-2', 'jeanne@example.net', 'Jeanne', 'Martin', 'fr', now() + interval '30 days'
    FROM qerds.sender;
SET SESSION AUTHORIZATION qerds_notify;
INSERT INTO qerds.consent_mail (request, message_id, link_sha256, text_sha256, mail, prepared_at)
    SELECT id, 'm', sha256('link'), sha256('text'), 'mail', now() FROM qerds.consent_request;
INSERT INTO qerds.consent_mail_result (request, outcome, code, detail)
    SELECT request, 'relayed', 250, 'Ok' FROM qerds.consent_mail;
SET SESSION AUTHORIZATION qerds_gateway;
INSERT INTO qerds.consent_answer (request, answer, language, text, text_sha256)
    SELECT id, 'given', 'fr', 'oui', sha256('oui') FROM qerds.consent_request;
INSERT INTO qerds.identification (id, delivery, provider, outcome, level, person_sha256, proof, authenticated_at)
    SELECT gen_random_uuid(), id, 'demo', 'near', 'substantial', sha256('other'), 'tokens', now()
    FROM qerds.delivery WHERE state = 'notified';
INSERT INTO qerds.access_token (token_sha256, client_id, scopes, expires_at)
    SELECT sha256('token'), client_id, scopes, now() + interval '1 h' FROM qerds.sender_client;
INSERT INTO qerds.client_assertion (client_id, jti, expires_at)
    SELECT client_id, 'j', now() + interval '1 h' FROM qerds.sender_client;
INSERT INTO qerds.idempotency (sender, key, request_sha256, status, body)
    SELECT id, 'k', sha256('r'), 202, 'body' FROM qerds.sender;
INSERT INTO qerds.portal_session (session_sha256, form_sha256, deliveries)
    SELECT sha256('session'), sha256('form'), ARRAY[id] FROM qerds.delivery WHERE state = 'notified';
INSERT INTO qerds.webhook (id, sender, url, signature, read_through)
    SELECT gen_random_uuid(), id, 'https://sender.example/' || n, 'v1', 0 FROM qerds.sender, generate_series(1, 2) n;
INSERT INTO qerds.webhook_secret (webhook, secret) SELECT id, sha256('secret') FROM qerds.webhook;
INSERT INTO qerds.export (id, sender, batch, kinds)
    SELECT gen_random_uuid(), sender, id, ARRAY['package'] FROM qerds.batch;
SET SESSION AUTHORIZATION qerds_webhook;
INSERT INTO qerds.webhook_retry (webhook, sequence, tries, due_at) SELECT id, 1, 1, now() FROM qerds.webhook;
INSERT INTO qerds.webhook_attempt (webhook, event, type, attempt, outcome, milliseconds)
    SELECT id, gen_random_uuid(), 'delivery.deposited', 1, 'ok', 5 FROM qerds.webhook;
SET SESSION AUTHORIZATION qerds_archive;
INSERT INTO qerds.export_step (export, step, cursor, is_last, deliveries, object, bytes, sha256)
    SELECT id, 1, '', true, 1, 'export-1', 9, sha256('export') FROM qerds.export;
SET SESSION AUTHORIZATION qerds_bridge;
INSERT INTO qerds.published_document (name, version, body) VALUES ('crl', 1, 'list'), ('crl', 2, 'list');
INSERT INTO qerds.key_use_head (number, sha256, key_id, mac) VALUES (1, sha256('line'), 'mac-1', sha256('mac'));
SET SESSION AUTHORIZATION qerds_operate;
INSERT INTO outbox.pause (scope, subject, reason) VALUES ('stage', 'seal', 'a test');
UPDATE qerds.sender SET window_until = now() + interval '1 day';
RESET SESSION AUTHORIZATION;
INSERT INTO qerds.batch_proof_request (batch) SELECT id FROM qerds.batch;
INSERT INTO qerds.batch_proof (batch, object, bytes, sha256, lines)
    SELECT id, 'proof-1', 9, sha256('proof'), 3 FROM qerds.batch;
INSERT INTO qerds.log_leaf (stream, what, subject, digest)
    SELECT 'evidence', 'batch_proof', batch, sha256 FROM qerds.batch_proof;
INSERT INTO qerds.batch_intake (intake, batch) SELECT gen_random_uuid(), id FROM qerds.batch;
SELECT qerds.sequence_events(0, 20);
INSERT INTO outbox.webhook (lane, kind, subject) SELECT 2, 'push', id FROM qerds.webhook WHERE url LIKE '%1';
INSERT INTO outbox.webhook_running (epoch, id, lane, kind, subject)
    SELECT (SELECT min(epoch) FROM outbox.process), 900, 2, 'push', id FROM qerds.webhook WHERE url LIKE '%2';
UPDATE qerds.webhook SET under_way = true;
{"".join(f'INSERT INTO outbox."{stage}" (lane, kind, subject, evidence) {rows};' for stage, rows in MESSAGES.items())}
{
    "".join(
        f'INSERT INTO outbox."{stage}_running" (epoch, id, lane, kind, subject, evidence) '
        f"SELECT p.epoch, 900, m.* FROM outbox.process p, ({rows}) m LIMIT 1;"
        for stage, rows in MESSAGES.items()
    )
}
INSERT INTO outbox.timer (stage, due_at, lane, kind, subject, evidence)
    SELECT 'archive', now() + interval '1 h', m.* FROM ({MESSAGES["archive"]}) m;
INSERT INTO outbox.dead (stage, why, attempts, rescues, ordinal, enqueued_at, lane, kind, subject, evidence)
    SELECT 'archive', 'a test', 9, 0, 0, now(), m.* FROM ({MESSAGES["archive"]}) m;
"""


@dataclass(frozen=True, slots=True)
class Edit:
    """One kind of edit of one table: `delete`, `insert`, or the name of the column that is changed or emptied."""

    table: str
    what: str
    sql: str  # with {ctid} for the row


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    allowed: list[str]  # by a check; [] when any value is
    is_key: bool  # the last column of the primary key, or unique alone


CATALOGUE = """
SELECT n.nspname AS schema, c.relname AS name, a.attname AS column_name, format_type(a.atttypid, a.atttypmod) AS type,
       ARRAY(SELECT m[1] FROM pg_constraint k,
                 regexp_matches(pg_get_constraintdef(k.oid), '''([^'']+)''::text', 'g') AS m
             WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]
               AND pg_get_constraintdef(k.oid) LIKE '%= ANY (ARRAY[%') AS allowed,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indkey[i.indnatts - 1] = a.attnum
               AND (i.indisprimary OR i.indnatts = 1)) AS is_key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind = 'r' AND n.nspname IN ('qerds', 'outbox', 'public') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY n.nspname, c.relname, a.attnum
"""
OTHER = {
    "uuid": "gen_random_uuid()",
    "text": "coalesce({0}, '') || 'x'",
    "bytea": "sha256(coalesce({0}, ''))",
    "boolean": "NOT coalesce({0}, true)",
    "smallint": "coalesce({0}, 0) + 1",
    "integer": "coalesce({0}, 0) + 1",
    "bigint": "coalesce({0}, 0) + 1",
    "date": "coalesce({0}, current_date) + 1",
    "timestamp with time zone": "coalesce({0}, now()) + interval '1 min'",
    "interval": "{0} + interval '1 min'",
    "jsonb": "'{{\"other\": true}}'::jsonb",
    "text[]": "array_append({0}, 'other')",
    "uuid[]": "array_append({0}, gen_random_uuid())",
}


def other(column: Column) -> str:
    """Another value, as good as the one that it has."""
    if len(column.allowed) > 1:
        values = ", ".join(f"'{value}'" for value in column.allowed)
        return f"(SELECT v FROM unnest(ARRAY[{values}]) v WHERE v IS DISTINCT FROM {column.name} LIMIT 1)"
    return OTHER[column.type].format(column.name)


def edits_of(table: str, columns: list[Column]) -> Iterator[Edit]:
    yield Edit(table, "delete", f"DELETE FROM {table} WHERE ctid = {{ctid}}")
    names = ", ".join(column.name for column in columns)
    copied = ", ".join(other(column) if column.is_key else column.name for column in columns)
    yield Edit(
        table,
        "insert",
        f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {copied} FROM {table} WHERE ctid = {{ctid}}",
    )
    for column in columns:
        update = f"UPDATE {table} SET {column.name} ="
        yield Edit(table, column.name, f"{update} {other(column)} WHERE ctid = {{ctid}}")
        yield Edit(table, column.name, f"{update} NULL WHERE ctid = {{ctid}} AND {column.name} IS NOT NULL")


async def catalogue(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, list[Edit]]:
    """Every edit, by table."""
    tables: dict[str, list[Column]] = {}
    for row in await connection.fetch(CATALOGUE):
        quoted = f'"{row["column_name"]}"'
        column = Column(quoted, row["type"], list(row["allowed"]), row["is_key"])
        tables.setdefault(f'{row["schema"]}."{row["name"]}"', []).append(column)
    return {table.replace('"', ""): list(edits_of(table, columns)) for table, columns in tables.items()}


def unguarded(table: str) -> str:
    """Without constraints, unique indexes, identities and columns that need a value."""
    return f"""DO $$ DECLARE one record; BEGIN
        FOR one IN SELECT conname FROM pg_constraint
            WHERE conrelid = '{table}'::regclass AND contype IN ('c', 'u', 'p') LOOP
            EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I CASCADE', one.conname);
        END LOOP;
        FOR one IN SELECT indexrelid::regclass AS name FROM pg_index
            WHERE indrelid = '{table}'::regclass AND indisunique LOOP
            EXECUTE 'DROP INDEX ' || one.name;
        END LOOP;
        FOR one IN SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attidentity <> '' LOOP
            EXECUTE format('ALTER TABLE {table} ALTER COLUMN %I DROP IDENTITY', one.attname);
        END LOOP;
        FOR one IN SELECT attname FROM pg_attribute
            WHERE attrelid = '{table}'::regclass AND attnotnull AND attnum > 0 LOOP
            EXECUTE format('ALTER TABLE {table} ALTER COLUMN %I DROP NOT NULL', one.attname);
        END LOOP;
    END $$;"""


async def rows_of(connection: "asyncpg.Connection[asyncpg.Record]", table: str) -> list[Any]:
    """The places of the rows that are edited."""
    rows = [row["place"] for row in await connection.fetch(f"SELECT ctid::text AS place FROM {table} ORDER BY ctid")]
    chosen = {0, len(rows) // 2, len(rows) - 1} if rows else set[int]()
    return [rows[place] for place in sorted(chosen)]
