"""The bridge's own lines: its record of every use of a key, and what it says on stderr."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
import msgspec
import pytest

from hsm_bridge import wire
from hsm_bridge.clock import ClockAway
from hsm_bridge.errors import BridgeError
from hsm_bridge.identity.jose import IdentityRefused
from hsm_bridge.operations.table import OPERATIONS, Operation
from hsm_bridge.operations.tickets import TicketInvalid
from hsm_bridge.operations.vault import Done, Moment, Refused, Vault
from hsm_bridge.publication import Publication, PublicationAway
from hsm_bridge.service import perform_item
from hsm_bridge.token.device import KeyMissing
from pipeline.formats.database_address import Dsn, Host
from tests.fakes.bridge import FakeBridge
from tests.personal_data import PERSON, found_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def bridge() -> FakeBridge:
    return FakeBridge(legal_now=lambda: datetime.now(UTC), random=secrets.token_bytes)


@pytest.mark.parametrize(
    "item",
    [
        {PERSON: PERSON},
        {"evidence": PERSON, "receipt": PERSON},
        {"evidence": PERSON.encode(), "receipt": None},
        {"evidence": f"<{PERSON}></{PERSON}>".encode(), "receipt": None},
        {"key_id": PERSON, "info": PERSON.encode(), "sealed": PERSON.encode()},
        {"context": PERSON.encode(), "keys": PERSON.encode()},
        {"delivery": PERSON, "session": PERSON.encode()},
        {"ticket": PERSON.encode(), "delivery": PERSON, "act": PERSON},
        {"imprint": PERSON.encode(), "event_time": PERSON},
        PERSON,
    ],
)
async def test_items_that_hold_what_they_must_not(bridge: FakeBridge, item: object) -> None:
    """Every operation over every malformed item: the record has a code, whatever the answer says to who asked."""
    for operation in OPERATIONS.values():
        raw = msgspec.Raw(msgspec.msgpack.encode(item))
        result, recorded, _ = perform_item(operation, bridge.vault, raw, bridge.moment())
        assert found_in(f"{recorded} {result.err}") == []


@pytest.mark.parametrize(
    "work",
    [
        lambda: dict[str, str]()[PERSON],
        lambda: date.fromisoformat(PERSON),
        lambda: int(PERSON),
        lambda: PERSON.encode("ascii").decode("utf-16"),
        lambda: getattr(object(), PERSON),
        *[
            lambda error=error: (_ for _ in ()).throw(error)
            for error in (
                Refused("evidence_invalid", PERSON),
                KeyMissing(PERSON),
                IdentityRefused("claims_malformed", PERSON),
                TicketInvalid(PERSON),
            )
        ],
    ],
)
def test_work_that_fails_over_an_item(bridge: FakeBridge, work: Callable[[], object]) -> None:
    """A mistake of ours is recorded as its type: what it stumbled over is a person's."""

    def stumble(_vault: Vault, _item: wire.Describe, _moment: Moment) -> Done[wire.Description]:
        list(work())  # type: ignore[call-overload]
        raise AssertionError("it did not stumble")

    raw = msgspec.Raw(wire.encode(wire.Describe()))
    operation = Operation(wire.Describe, frozenset(), frozenset(), False, stumble)
    result, recorded, _ = perform_item(operation, bridge.vault, raw, bridge.moment())
    assert found_in(f"{recorded} {result.err}") == []
    assert result.err is not None


def test_a_key_that_an_item_names(bridge: FakeBridge) -> None:
    """Whatever was given as its name."""
    with pytest.raises(KeyMissing) as told:
        bridge.vault.keyring.by_id(PERSON, "intake")
    assert found_in(str(told.value)) == []


class Refusing:
    """PostgreSQL's answer to a row of ours."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def executemany(self, *_arguments: object) -> None:
        raise asyncpg.UniqueViolationError.new({"C": "23505", "M": PERSON, "D": f"Key (key_id)=({PERSON}) exists."})

    async def fetchrow(self, *_arguments: object) -> None:
        raise asyncpg.DataError(PERSON)

    def terminate(self) -> None:
        return


async def test_what_postgresql_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Its type is told, on stderr too: DETAIL quotes the row."""
    publication: Any = Publication(Dsn((Host("/nonexistent", 5432),), "x", "x", str))
    publication._connection = Refusing()
    with pytest.raises(PublicationAway) as away:
        await publication.publish([], [], b"statement")
    publication._connection = Refusing()
    with pytest.raises(ClockAway) as lost:
        await publication.legal_now()
    failed: list[BridgeError] = [away.value, lost.value]
    said = " ".join([*map(str, failed), *capsys.readouterr()])
    assert found_in(said) == []
    assert "UniqueViolationError" in said and "DataError" in said
