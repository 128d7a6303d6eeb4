"""Published keys and documents, every kind by every way to read it: what the authority does not state is not there."""

import hashlib
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.adapters.postgres.keys import PostgresKeys
from pipeline.errors import Transient
from pipeline.formats import statement as forms
from pipeline.ports.bridge import PublishedKey
from pipeline.process.exposition import exposition
from pipeline.process.recorder import Recorder
from tests.fakes.bridge import FakeBridge

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 6, 1, tzinfo=UTC)
USES = ("seal", "time", "intake", "identity", "webhook")
DOCUMENTS = ("ca", "crl", "identity_jwks")
Row = dict[str, Any]


@dataclass
class Rows:
    """The three tables as the queries read them, and the clock of who reads."""

    folder: Path
    bridge: FakeBridge
    moment: datetime = NOW
    keys: list[Row] = field(default_factory=list)
    documents: dict[str, list[Row]] = field(default_factory=dict)
    statements: list[bytes] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "ca.pem").write_bytes(self.bridge.vault.keyring.authority.public_bytes(Encoding.PEM))
        self.keys = [{name: getattr(k, name) for name in PublishedKey.__slots__} for k in self.bridge.published()]
        self.documents = {name: [{"version": 1, "body": b"body of " + name.encode()}] for name in DOCUMENTS}
        self.statements = [self.bridge.statement([(n, 1, rows[0]["body"]) for n, rows in self.documents.items()])]
        self.recorder = Recorder("gateway", write=self.log.append)

    def now(self) -> datetime:
        return self.moment

    @property
    def reader(self) -> PostgresKeys:
        return PostgresKeys(self.fetch, self.folder / "ca.pem", self.recorder, self)

    async def fetch(self, query: str, *arguments: Any) -> Sequence[Mapping[str, Any]]:
        newest = sorted(self.keys, key=lambda row: (row["not_before"], row["key_id"]), reverse=True)
        match query, *arguments:
            case "active_keys", use, most:
                return [r for r in newest if r["use"] == use and r["not_before"] <= self.moment < r["until"]][:most]
            case "keys_of_use", use, most:
                return [r for r in newest if r["use"] == use][:most]
            case "key_by_id", key_id:
                return [r for r in newest if r["key_id"] == key_id]
            case "published_documents", name, most:
                return sorted(self.documents[name], key=lambda row: -row["version"])[:most]
            case "published_statements", most:
                return [{"body": body} for body in self.statements[::-1][:most]]
        raise AssertionError(query)

    def row(self, use: str) -> Row:
        [row] = [row for row in self.keys if row["use"] == use]
        return row


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path, _bridge(1))


def _bridge(seed: int) -> FakeBridge:
    return FakeBridge(legal_now=lambda: NOW, random=random.Random(seed).randbytes)


def foreign_spki() -> bytes:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# ------------------------------------------------------------------ what somebody may do to a key's row
def spki_replaced(rows: Rows, use: str) -> None:
    rows.row(use)["spki"] = foreign_spki()


def certificate_removed_or_added(rows: Rows, use: str) -> None:
    row = rows.row(use)
    row["spki"], row["certificate"] = foreign_spki(), None if row["certificate"] else rows.bridge.authority


def key_of_another_use(rows: Rows, use: str) -> None:
    row, other = rows.row(use), rows.row(USES[USES.index(use) - 1])
    row["spki"], row["certificate"] = other["spki"], other["certificate"]


def certificate_of_another_purpose(rows: Rows, use: str) -> None:
    """The pinned authority's own certificate for the key that states, with that key."""
    key = rows.bridge.vault.keyring.last("statement")
    certificate = x509.load_der_x509_certificate(key.certificate or b"")
    lived = {"not_before": certificate.not_valid_before_utc, "until": certificate.not_valid_after_utc}
    rows.row(use).update(spki=key.spki, certificate=key.certificate, **lived)


def longer_lived(rows: Rows, use: str) -> None:
    rows.row(use)["until"] += timedelta(days=1)


def begun_earlier(rows: Rows, use: str) -> None:
    rows.row(use)["not_before"] -= timedelta(seconds=1)


def another_authority(rows: Rows, use: str) -> None:
    """All of it by a bridge of somebody else, statement included."""
    other = _bridge(2)
    [key] = [key for key in other.published() if key.use == use]
    rows.row(use).update(spki=key.spki, certificate=key.certificate)
    rows.statements.append(other.statement())


def statement_expired(rows: Rows, use: str) -> None:
    spki_replaced(rows, use)
    rows.moment += timedelta(days=forms.STATEMENT_DAYS, seconds=1)


def no_statement(rows: Rows, use: str) -> None:
    spki_replaced(rows, use)
    rows.statements.clear()


REPLACED = (
    *(spki_replaced, certificate_removed_or_added, key_of_another_use, certificate_of_another_purpose, longer_lived),
    *(begun_earlier, another_authority, statement_expired, no_statement),
)
READ: Mapping[str, Callable[[PostgresKeys, Row], Awaitable[object]]] = {
    "active": lambda reader, row: reader.active(row["use"]),
    "every": lambda reader, row: _first(reader, row["use"]),
    "by_id": lambda reader, row: reader.by_id(row["key_id"]),
}


async def _first(reader: PostgresKeys, use: str) -> object:
    if not (keys := await reader.every(use)):
        raise Transient("none")
    return keys[0]


def refusals(rows: Rows) -> Iterator[str]:
    return (
        line
        for line in exposition(rows.recorder).decode().splitlines()
        if line.startswith("qerds_published_refused_total{")
    )


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("use", USES)
async def test_what_the_bridge_published_is_there(rows: Rows, use: str, read: str) -> None:
    """As it was published; nobody is alarmed."""
    key = await READ[read](rows.reader, rows.row(use))
    assert {name: getattr(key, name) for name in rows.row(use)} == rows.row(use)
    assert not list(refusals(rows))


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("forge", REPLACED, ids=lambda forge: forge.__name__)
async def test_a_replaced_key_is_not_there(rows: Rows, use: str, forge: Callable[[Rows, str], None], read: str) -> None:
    """Of every use, by every way to read it; and it is counted."""
    forge(rows, use)
    with pytest.raises(Transient):
        await READ[read](rows.reader, rows.row(use))
    assert list(refusals(rows))


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("many", [1, 10])
async def test_an_added_key_is_passed_over(rows: Rows, use: str, read: str, many: int) -> None:
    """Newer rows of a thief's, statement of his own authority included: the true one stays in use, with an alarm."""
    reader, true = rows.reader, dict(rows.row(use))
    await reader.active(use)
    for n in range(many):
        rows.keys.append({**true, "key_id": f"{use}-9999{n}", "spki": foreign_spki(), "not_before": NOW})
    rows.statements.append(_bridge(2).statement())
    key = await READ[read](reader, true)
    assert getattr(key, "spki", None) == true["spki"]
    assert read == "by_id" or list(refusals(rows))


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_documents_are_those_that_are_stated(rows: Rows, name: str) -> None:
    """One replaced, another put in front of it, one under another name or version."""
    [true] = rows.documents[name]
    assert await rows.reader.document(name) == true["body"]
    rows.documents[name] = [{"version": 2, "body": b"a thief's"}, true]
    assert await rows.reader.document(name) == true["body"]
    for version, body in ((1, b"a thief's"), (2, true["body"]), (1, b"body of another")):
        rows.documents[name] = [{"version": version, "body": body}]
        assert await rows.reader.document(name) is None
    assert list(refusals(rows))


@pytest.mark.parametrize("use", ["seal", "time"])
async def test_a_key_that_the_bridge_no_longer_has_is_read_by_its_certificate(rows: Rows, use: str) -> None:
    """What it sealed has to stay readable when nothing is stated of it any more; nothing new is done with it."""
    rows.statements.clear()
    assert (await rows.reader.by_id(rows.row(use)["key_id"])).certificate == rows.row(use)["certificate"]
    with pytest.raises(Transient):
        await rows.reader.active(use)
    assert not await rows.reader.every(use)


async def test_a_newer_statement_counts_at_once_for_what_it_adds_and_soon_for_what_it_withdraws(rows: Rows) -> None:
    """The month's new key is used when it is stated; one that is stated no more within a minute. An older one put
    behind it changes nothing."""
    reader, first = rows.reader, rows.statements[0]
    intake = rows.row("intake")
    assert (await reader.active("intake")).key_id == intake["key_id"]
    ring = rows.bridge.vault.keyring
    rows.moment += timedelta(seconds=1)
    later = forms.stated([], [], rows.moment)
    key = ring.last("statement")
    to_sign = forms.signing_input(later, [key.certificate or b""])
    signature = rows.bridge.vault.token.sign(key.key_id, hashlib.sha256(to_sign).digest())
    rows.statements.append(forms.signed(to_sign, signature))
    rows.moment += timedelta(seconds=60)
    rows.statements.append(first)
    with pytest.raises(Transient):
        await reader.active("intake")
