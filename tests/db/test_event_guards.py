"""What the database says of events beside the grants: the same as the table (pipeline/formats/events.py)."""

import re
from uuid import uuid4

import asyncpg
import pytest

from pipeline.evidence.form.xml import opening
from pipeline.formats.configuration import DatabaseSettings
from pipeline.formats.events import DECISIONS, DEPOSITS, EVENTS, HANDOVERS, Event
from pipeline.formats.evidence_head import evidence_id
from tests.servers import PostgresServer

pytestmark = pytest.mark.anyio


async def insert(database: DatabaseSettings, event: Event, receipt: bytes | None) -> str:
    """As a process that may draft it; what the database objects to, of two things that it could."""
    role = f"qerds_{min(event.drafted_by)}"
    delivery = uuid4()
    evidence = evidence_id(delivery, event.code, 0)
    connection = await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user=role,
        password=database.password(role),
    )
    try:
        await connection.execute(
            "INSERT INTO qerds.evidence (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, "
            "seal_key_id, receipt) VALUES ($1, $2, $3, 0, 1, clock_timestamp(), $5, sha256($5), 'key', $4)",
            evidence,
            delivery,
            event.code,
            receipt,
            opening(evidence).encode(),
        )
    except asyncpg.CheckViolationError:
        return "receipt"
    except asyncpg.ForeignKeyViolationError:
        return "no such delivery"
    finally:
        await connection.close()
    return "nothing"


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
async def test_a_recipients_act_has_a_receipt_and_nothing_else_has(database: DatabaseSettings, event: Event) -> None:
    """Also a process that may draft the event cannot store it without the bridge's receipt, or another with one."""
    with_it, without = await insert(database, event, b"receipt"), await insert(database, event, None)
    fine = "no such delivery"
    assert (with_it, without) == ((fine, "receipt") if event.by_recipient else ("receipt", fine))


def test_a_question_is_answered_once(postgres: PostgresServer, database: DatabaseSettings) -> None:
    """The unique indexes over a delivery's events are those of the questions that an event answers."""
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'evidence' AND indexname LIKE 'evidence_one_%'"
    told = postgres.psql(indexes, database.name)
    guarded = {frozenset(re.findall(r"'([A-E]\.\d)'", line)) for line in told.splitlines()}
    assert guarded == {DEPOSITS, DECISIONS, HANDOVERS}
