"""The row of an evidence and its bytes, as the database binds them; a state without stamped evidence is refused.

Over a small ledger of real evidences: each of their bytes is tried in the rows of all others.
"""

import shutil
from collections.abc import Iterator

import anyio
import asyncpg
import pytest

from pipeline.delivery.states import STATES, TRANSITIONS
from pipeline.formats.configuration import DatabaseSettings
from pipeline.formats.events import EVENTS
from pipeline.formats.evidence_head import evidence_id
from tests.db import small_ledger
from tests.servers import PostgresServer, short_directory

pytestmark = pytest.mark.anyio

OTHERS_BYTES = """
DO $$
DECLARE own record; bytes record; tried integer := 0;
BEGIN
    FOR own IN SELECT d.id AS delivery, e.event, o.ordinal FROM qerds.delivery d CROSS JOIN unnest($EVENTS$) AS e(event)
               CROSS JOIN unnest(ARRAY[0, 1]) AS o(ordinal) LOOP
        FOR bytes IN SELECT * FROM qerds.evidence e
                     WHERE (e.delivery, e.event, e.ordinal) <> (own.delivery, own.event, own.ordinal) LOOP
            FOREACH name IN ARRAY ARRAY[qerds.evidence_id(own.delivery, own.event, own.ordinal), bytes.evidence] LOOP
                BEGIN
                    INSERT INTO qerds.evidence (evidence, delivery, event, ordinal, sequence, event_time, canonical,
                                                sha256, seal_key_id, receipt)
                    VALUES (name, own.delivery, own.event, own.ordinal, 100, bytes.event_time, bytes.canonical,
                            bytes.sha256, bytes.seal_key_id, CASE WHEN own.event IN ('C.3', 'C.4', 'D.1', 'E.1')
                                                                  THEN coalesce(bytes.receipt, '\\x00') END);
                    RAISE EXCEPTION 'the bytes of % stand in a row of % %', bytes.evidence, own.delivery, own.event;
                EXCEPTION WHEN check_violation THEN
                    tried := tried + 1;
                END;
            END LOOP;
        END LOOP;
    END LOOP;
    INSERT INTO tried_pairs VALUES (tried);
END $$"""


@pytest.fixture(scope="module")
def ledger(postgres: PostgresServer) -> Iterator[DatabaseSettings]:
    database, state = postgres.clone(), short_directory()

    async def build() -> None:
        async with small_ledger.installation(database, state) as it:
            await small_ledger.live(it)

    anyio.run(build)
    yield database
    postgres.drop(database)
    shutil.rmtree(state)


async def connected(database: DatabaseSettings, role: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user=role,
        password=database.password(role),
    )


async def test_the_database_names_a_fact_as_the_code_does(ledger: DatabaseSettings) -> None:
    """Every evidence of the ledger, and names of facts that do not exist."""
    owner = await connected(ledger, "qerds_owner")
    try:
        rows = await owner.fetch("SELECT evidence, delivery, event, ordinal FROM qerds.evidence")
        assert len(rows) > 15
        for row in rows:
            assert row["evidence"] == evidence_id(row["delivery"], row["event"], row["ordinal"])
        for event in EVENTS:
            for ordinal in (0, 1, 255, 256, 32_767):
                delivery = rows[0]["delivery"]
                name = await owner.fetchval("SELECT qerds.evidence_id($1, $2, $3)", delivery, event, ordinal)
                assert name == evidence_id(delivery, event, ordinal)
    finally:
        await owner.close()


async def test_no_bytes_stand_in_the_row_of_another_fact(ledger: DatabaseSettings) -> None:
    """Every evidence's bytes, in the row of every other letter, event and ordinal, under either name: even the owner of
    the tables stores none."""
    owner = await connected(ledger, "qerds_owner")
    try:
        async with owner.transaction():
            await owner.execute("CREATE TEMPORARY TABLE tried_pairs (pairs integer) ON COMMIT DROP")
            events = "ARRAY[" + ", ".join(f"'{event}'" for event in EVENTS) + "]"
            await owner.execute(OTHERS_BYTES.replace("$EVENTS$", events).replace("DECLARE", "DECLARE name uuid;"))
            tried = await owner.fetchval("SELECT pairs FROM tried_pairs")
        evidences = await owner.fetchval("SELECT count(*) FROM qerds.evidence")
        deliveries = await owner.fetchval("SELECT count(*) FROM qerds.delivery")
        assert tried == 2 * evidences * (deliveries * len(EVENTS) * 2 - 1)
    finally:
        await owner.close()


@pytest.mark.parametrize(
    "other",
    ["'\\x20'::bytea || canonical", "overlay(canonical PLACING '2' FROM 45)", "substring(canonical, 2)", "''::bytea"],
)
async def test_nothing_stands_before_the_name(ledger: DatabaseSettings, other: str) -> None:
    """Bytes that begin otherwise, with another namespace or too late, are no evidence's."""
    owner = await connected(ledger, "qerds_owner")
    try:
        with pytest.raises(asyncpg.CheckViolationError, match="evidence_bytes_say_its_name"):
            await owner.execute(
                f"INSERT INTO qerds.evidence SELECT evidence, delivery, event, ordinal, 100, event_time, {other}, "
                f"sha256({other}), seal_key_id, receipt FROM qerds.evidence LIMIT 1"
            )
    finally:
        await owner.close()


ADVANCE = """SELECT qerds.advance_deliveries(ARRAY[$1]::uuid[], ARRAY[$2]::text[], ARRAY[$3]::int[], ARRAY[$4]::text[],
                                             ARRAY[$5]::int[])"""


async def test_no_state_is_set_without_its_stamped_evidence(ledger: DatabaseSettings) -> None:
    """`timestamp`, taken over, tries every state from every letter, with the prefix as it is or longer."""
    timestamp, owner = await connected(ledger, "qerds_timestamp"), await connected(ledger, "qerds_owner")
    refused = 0
    try:
        for row in await owner.fetch("SELECT id, state, stamped_through FROM qerds.delivery"):
            through = row["stamped_through"]
            for state in STATES - {row["state"]}:
                for longer in range(4):
                    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="does not follow"):
                        await timestamp.execute(
                            ADVANCE,
                            row["id"],
                            row["state"],
                            through,
                            state,
                            through + longer,
                        )
                    refused += 1
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):  # a longer prefix than there is
                await timestamp.execute(ADVANCE, row["id"], row["state"], through, row["state"], through + 1)
        assert refused > 200
        before = dict(await owner.fetch("SELECT id, state FROM qerds.delivery"))
        for (state, events), after in TRANSITIONS.items():  # a false word about where the letter stands moves nothing
            for delivery in before:
                try:
                    moved = await timestamp.fetch(ADVANCE, delivery, state, 0, after, len(events))
                except asyncpg.IntegrityConstraintViolationError:
                    continue
                assert moved == []
        assert dict(await owner.fetch("SELECT id, state FROM qerds.delivery")) == before
    finally:
        await timestamp.close()
        await owner.close()
