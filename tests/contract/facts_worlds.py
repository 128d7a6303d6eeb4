"""Two worlds with the same facts: PostgreSQL and memory, and the bridge in memory that seals and stamps for both.

Owns     planting a submission as the gateway leaves it, writing as a stage's role, reading as a stage's role
Elsewhere: the promises themselves (test_facts.py)
"""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pipeline.adapters.postgres.facts import PostgresFacts
from pipeline.adapters.postgres.keys import PostgresKeys
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.tx import PostgresTx
from pipeline.formats.configuration import DatabaseSettings, Provider
from pipeline.ports.bridge import Keys, PublishedKey
from pipeline.ports.mailbox import Tx
from pipeline.ports.rows import Facts
from tests.fakes.bridge import FakeBridge
from tests.memory.database import MemoryClock, MemoryDatabase
from tests.memory.facts import MemoryFacts, MemoryKeys
from tests.memory.tables import Submission
from tests.servers import PostgresServer

BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROVIDER = Provider("Test Delivery", "FR", "2.25.1.1", "2.25.1.2")
CRL = "crl"


class World(Protocol):
    """One installation."""

    def submit(self, submission: Submission) -> None: ...
    def jump(self, by: timedelta) -> None: ...
    def tx(self, stage: str) -> AbstractAsyncContextManager[Tx]: ...
    def reader(self, stage: str) -> AbstractAsyncContextManager[tuple[Facts, Keys]]: ...
    @property
    def bridge(self) -> FakeBridge: ...


class MemoryWorld:
    """A few dictionaries. Made on first use: its clock is the event loop's."""

    @cached_property
    def memory(self) -> MemoryDatabase:
        return MemoryDatabase(MemoryClock(BEGAN))

    @cached_property
    def bridge(self) -> FakeBridge:
        clock = self.memory.clock
        return FakeBridge(legal_now=clock.legal_now, now=clock.now, random=random.Random(1).randbytes)

    def submit(self, submission: Submission) -> None:
        self.memory.tables.submit(submission)

    def jump(self, by: timedelta) -> None:
        self.memory.clock.ahead += by

    def tx(self, stage: str) -> AbstractAsyncContextManager[Tx]:
        return self.memory.transaction()

    @asynccontextmanager
    async def reader(self, stage: str) -> AsyncIterator[tuple[Facts, Keys]]:
        documents = {CRL: self.bridge.crl}
        keys = MemoryKeys(self.bridge.published(), self.bridge.authority, documents, self.memory.clock)
        yield MemoryFacts(self.memory, keys, PROVIDER.name, PROVIDER.country, PROVIDER.policy_oid), keys


class PostgresWorld:
    """A database of its own; every stage writes and reads as its own role."""

    def __init__(self, server: PostgresServer, config: DatabaseSettings, folder: Path) -> None:
        self._server = server
        self._config = config
        self._anchor_file = folder / "ca.pem"
        self._ahead = timedelta()
        self.bridge = FakeBridge(
            legal_now=lambda: datetime.now(UTC) + self._ahead,
            now=lambda: datetime.now(UTC),
            random=random.Random(1).randbytes,
        )
        anchor = x509.load_der_x509_certificate(self.bridge.authority)
        self._anchor_file.write_bytes(anchor.public_bytes(Encoding.PEM))
        keys = [{name: getattr(key, name) for name in PublishedKey.__slots__} for key in self.bridge.published()]
        self._run(
            *(insert("published_key", **key) for key in keys),
            insert("published_document", name=CRL, version=1, body=self.bridge.crl),
            insert("published_statement", body=self.bridge.statement([(CRL, 1, self.bridge.crl)])),
        )

    def submit(self, submission: Submission) -> None:
        self._run(*rows_of(submission))

    def jump(self, by: timedelta) -> None:
        self._ahead += by
        self._run(insert("legal_clock", ahead=f"{by.total_seconds()} s"))

    @asynccontextmanager
    async def tx(self, stage: str) -> AsyncIterator[Tx]:
        async with self._link(stage) as link, link.transaction():
            yield PostgresTx(link, stage)

    @asynccontextmanager
    async def reader(self, stage: str) -> AsyncIterator[tuple[Facts, Keys]]:
        async with self._link(stage) as link:
            keys = PostgresKeys(link.call, self._anchor_file)
            yield PostgresFacts(link, keys, PROVIDER), keys

    @asynccontextmanager
    async def _link(self, stage: str) -> AsyncIterator[Link]:
        link = Link(self._config.dsn(f"qerds_{stage}"))
        await link.open()
        try:
            yield link
        finally:
            await link.close()

    def _run(self, *statements: str) -> None:
        self._server.psql(";\n".join(statements), self._config.name)


def rows_of(submission: Submission) -> Iterator[str]:
    """The statements that leave what the gateway leaves."""
    dossier = submission.dossier
    sender, who = submission.segments[0].sender, dossier.recipient
    yield insert(
        "sender", id=sender, name=dossier.sender.name, email=dossier.sender.email,
        identity_level=dossier.sender.identity_level, identity_method=dossier.sender.identity_method,
        identified_at=dossier.sender.identified_at,
    )  # fmt: skip
    if submission.consent in ("given", "withdrawn"):
        yield insert(
            "consent", sender=sender, ref=dossier.consent_ref, email=who.email, given_names=who.given_names,
            birth_name=who.birth_name, obtained_at=dossier.submitted_at, method="form", text_sha256=bytes(32),
        )  # fmt: skip
    if submission.consent == "withdrawn":
        yield insert("consent_withdrawal", sender=sender, ref=dossier.consent_ref)
    yield insert(
        "delivery", id=dossier.delivery, number=dossier.number, sender=sender, client_ref=dossier.client_ref,
        request_sha256=bytes(32), lane=0, mode=dossier.mode, config_version=dossier.config_version,
        recipient_kind=who.kind, recipient_email=who.email, given_names=who.given_names,
        birth_name=who.birth_name, usage_name=who.usage_name, birth_date=who.birth_date,
        language=submission.language, consent_ref=dossier.consent_ref, subject="s",
        submitted_at=dossier.submitted_at,
    )  # fmt: skip
    for part, declared in zip(dossier.parts, submission.declared_sha256, strict=True):
        own = [s for s in submission.segments if s.part == part.number]
        yield insert(
            "upload", id=own[0].upload, sender=own[0].sender, file_name=part.file_name,
            content_type=part.content_type, bytes=part.bytes, sha256=part.sha256, sha3_256=part.sha3_256,
            expires_at=datetime(2036, 1, 1, tzinfo=UTC), created_at=own[0].uploaded_at,
            part_bytes=None if part.sha3_256 is not None else own[0].plain_bytes,
        )  # fmt: skip
        for s in own:
            yield insert(
                "upload_segment", upload=s.upload, segment=s.segment, object=s.object,
                content_format=s.content_format, bytes=s.plain_bytes, intake_key_id=s.intake_key_id,
                sealed_key=s.sealed_key, object_offset=s.object_offset, object_bytes=s.object_bytes,
            )  # fmt: skip
        yield insert(
            "delivery_document", delivery=dossier.delivery, part=part.number, upload=own[0].upload,
            file_name=part.file_name, sha256=declared,
        )  # fmt: skip


def insert(table: str, **row: object) -> str:
    values = ", ".join(literal(value) for value in row.values())
    return f"INSERT INTO qerds.{table} ({', '.join(row)}) VALUES ({values})"


def literal(value: object) -> str:
    """A value as SQL reads it; of our own making only."""
    match value:
        case None:
            return "NULL"
        case bytes():
            return f"'\\x{value.hex()}'"
        case int():
            return str(value)
        case datetime() | date():
            return f"'{value.isoformat()}'"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def known(world: World, use: str) -> PublishedKey:
    """The bridge's one key of that use."""
    keys: Sequence[PublishedKey] = [k for k in world.bridge.published() if k.use == use]
    return keys[-1]
