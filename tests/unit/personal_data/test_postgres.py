"""PostgreSQL's adapters: rows that cannot be read, and a driver that quotes what it was given."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest

from pipeline.actors.contract import Outcome
from pipeline.adapters.postgres.batches import PostgresBatchStore
from pipeline.adapters.postgres.consents import PostgresConsentFacts, PostgresConsentStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.dossiers import read_dossiers
from pipeline.adapters.postgres.draws import PostgresDraws
from pipeline.adapters.postgres.export_facts import PostgresExportFacts
from pipeline.adapters.postgres.exports import PostgresExportStore
from pipeline.adapters.postgres.facts import PostgresFacts
from pipeline.adapters.postgres.feed import PostgresEventStore
from pipeline.adapters.postgres.keys import PostgresKeys
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.portal import PostgresPortalStore
from pipeline.adapters.postgres.senders import PostgresSenderStore
from pipeline.errors import LeaseLost, Transient
from pipeline.evidence.dossier import Issuer
from pipeline.exports.ports import ExportStanding
from pipeline.formats.configuration import Provider
from pipeline.formats.database_address import Dsn, Host
from pipeline.ports.mailbox import Message
from pipeline.stores.batches import LineCursor
from tests.personal_data import PERSON, found_in, quoted_by, told_by

pytestmark = pytest.mark.anyio
ID, MOMENT = uuid4(), datetime(2026, 3, 2, tzinfo=UTC)
PROVIDER = Provider("Test Delivery", "FR", "2.25.1", "2.25.2")
ISSUER = Issuer("Test Delivery", "FR", "2.25.1", "seal-1", bytes(32))
STANDING = ExportStanding(ID, ID, None, MOMENT, MOMENT, frozenset(), 0, PERSON, is_done=False)


class OddRow(dict[str, Any]):
    """A row whose every column holds the person, under a column of the person's name."""

    def __init__(self) -> None:
        super().__init__({PERSON: PERSON})

    def __missing__(self, _column: str) -> str:
        return PERSON


class OddRows:
    """A Link or a Database that answers every statement with one such row."""

    async def call(self, _name: str, *_arguments: object) -> list[OddRow]:
        return [OddRow()]

    fetch = call

    async def fetch_one(self, _name: str, *_arguments: object) -> OddRow:
        return OddRow()


LINK, DATABASE = cast("Link", OddRows()), cast("Database", OddRows())
KEYS = PostgresKeys(LINK.call, Path("/nonexistent"))
FACTS = PostgresFacts(LINK, KEYS, PROVIDER)
EXPORTS = PostgresExportFacts(LINK, PROVIDER)
BATCHES, SENDERS = PostgresBatchStore(DATABASE), PostgresSenderStore(DATABASE)
PORTAL = PostgresPortalStore(DATABASE, KEYS, PROVIDER)
READINGS: dict[str, Callable[[], Awaitable[object]]] = {
    "dossiers": lambda: read_dossiers(LINK.call, [ID], ISSUER),
    "announcements": lambda: FACTS.announcements([ID]),
    "proofs": lambda: FACTS.proofs([ID]),
    "draws": lambda: PostgresDraws(LINK).backlog(1),
    "draw": lambda: PostgresDraws(LINK).draws([ID], 1),
    "settlements": lambda: PostgresDraws(LINK).settlements([ID]),
    "references": lambda: PostgresDraws(LINK).references(ID, [ID], ["ref"], ["ref"]),
    "consent mails": lambda: PostgresConsentFacts(LINK).questions([ID]),
    "consent requests": lambda: PostgresConsentStore(DATABASE).request(ID),
    "export": lambda: EXPORTS.export_standing(ID),
    "export rows": lambda: EXPORTS.export_rows(STANDING, 1),
    "export parts": lambda: PostgresExportStore(DATABASE).export_parts(ID),
    "batches": lambda: BATCHES.batch(ID, ID),
    "parts": lambda: BATCHES.part(ID, 1),
    "results": lambda: BATCHES.results(ID, LineCursor(0, 0), 1),
    "backlog": lambda: BATCHES.backlog(interactive_only=False, at_most=1),
    "clients": lambda: SENDERS.client("client"),
    "accounts": lambda: SENDERS.account(ID),
    "deliveries": lambda: SENDERS.delivery(ID, ID),
    "attempts": lambda: PostgresEventStore(DATABASE).attempts(ID, None, 1),
    "evidence": lambda: PORTAL.evidence(ID, ID),
}
DISCREET: dict[str, Callable[[], Awaitable[object]]] = {  # what their libraries say today quotes nothing
    "keys": lambda: KEYS.active("seal"),
    "seals": lambda: FACTS.seals([ID]),
    "sessions": lambda: PORTAL.session(b"digest"),
    "transactions": lambda: PORTAL.take_transaction(b"digest", b"digest"),
}


@pytest.mark.parametrize("reading", [*READINGS, *DISCREET])
async def test_rows_that_cannot_be_read(reading: str) -> None:
    """A builtin quotes the value or the column; the log and the dead letter name the exception and its place."""
    quoted: list[str] = []

    async def work(_message: Message) -> Outcome[None] | None:
        try:
            await {**READINGS, **DISCREET}[reading]()
        except Exception as error:
            quoted.extend(quoted_by(error))
            raise
        return None

    told = await told_by(work)
    assert quoted or reading in DISCREET, "this reading quotes nothing, so it proves nothing"
    assert found_in(told.everything) == []
    assert told.dead and " at " in told.dead[0]


def detailed(kind: type[asyncpg.PostgresError]) -> Exception:
    """As the server says it: the primary message and the DETAIL both quote the row."""
    fields = {"C": kind.sqlstate or "XX000", "M": f'invalid: "{PERSON}"', "D": f"Key (email)=({PERSON}) exists."}
    error: Exception = kind.new(fields)
    return error


class Refusing:
    """A driver's connection whose every statement fails like this."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def is_closed(self) -> bool:
        return False

    def terminate(self) -> None:
        return

    async def fetch(self, *_arguments: object) -> Sequence[object]:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        detailed(asyncpg.UniqueViolationError),
        detailed(asyncpg.InvalidTextRepresentationError),
        detailed(asyncpg.CheckViolationError),
        detailed(asyncpg.SerializationError),
        detailed(asyncpg.AdminShutdownError),
        asyncpg.InterfaceError(PERSON),
        asyncpg.InternalClientError(PERSON),
        asyncpg.DataError(f"invalid input for query argument $1: {PERSON!r}"),
        OSError(PERSON),
        KeyError(PERSON),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("lost", [Transient, LeaseLost])
async def test_a_driver_that_quotes(error: Exception, lost: type[Transient] | type[LeaseLost]) -> None:
    """Whether the session died, the server refuses the statement or the driver does: the type is named."""
    link = Link(Dsn((Host("/nonexistent", 5432),), "x", "x", str), lost)
    link._connection = cast("Any", Refusing(error))

    async def work(_message: Message) -> Outcome[None] | None:
        await link.call("legal_now")
        return None

    assert quoted_by(error)
    assert found_in((await told_by(work)).everything) == []
