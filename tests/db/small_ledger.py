"""A small healthy ledger: seven letters in seven situations, made by the real stages over a real database.

Owns     one installation with a bridge in memory, driven stage by stage until nothing is left to do
Rules    seals, tokens, notices, non-claims and snapshots come from the real stage files through the real loop; what
         `ingest`, `encrypt` and the gateway draft is drafted here under their own roles, with the bridge's receipts
Elsewhere: content (tests/e2e has whole letters) and the predicates
"""

import hashlib
import os
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import anyio
import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hsm_bridge.operations import tickets
from pipeline.__main__ import STAGES, Actor
from pipeline.actors import loop
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.consents import PostgresConsentFacts
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.dossiers import issuer_of, read_dossiers
from pipeline.adapters.postgres.export_facts import PostgresExportFacts
from pipeline.adapters.postgres.facts import PostgresFacts
from pipeline.adapters.postgres.keys import PostgresKeys
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.connect import Adapters, settings_of
from pipeline.delivery.facts import ContentWrap, DecisionIntent, Handover, Identification, UploadWrap
from pipeline.delivery.number import with_check_digit
from pipeline.delivery.routes import DRAFT, SUBMITTED, Emission
from pipeline.deposits.wrapping import WRAP_OPEN_DAYS
from pipeline.errors import LeaseLost
from pipeline.evidence.dossier import Dossier, Reason
from pipeline.evidence.draft import Head, draft, head_after
from pipeline.evidence.facts import EvidenceDraft
from pipeline.formats.configuration import Config, DatabaseSettings, parse
from pipeline.formats.context import person_sha256
from pipeline.formats.person import IdentifiedPerson
from pipeline.notices.relaying import GuardedRelay
from pipeline.operate import clock, senders
from pipeline.ports.bridge import wire
from pipeline.ports.outside import Relayed
from pipeline.process.recorder import Recorder
from tests.db import small_batch
from tests.fakes.bridge import FakeBridge, decision_item, right_to
from tests.fakes.objects import MemoryObjects

CONTENT = b"%PDF-1.7 a letter"
DOCUMENT = hashlib.sha256(CONTENT).digest()
PERSON = person_sha256("Jeanne", "Martin", None, "subject-1")
DRIVEN = ("seal", "timestamp", "notify", "expire", "archive")


class AcceptingRelay:
    """A relay that takes every mail."""

    at_once = 8

    async def send(self, _recipient: str, _mail: bytes) -> Relayed:
        await anyio.lowlevel.checkpoint()
        return Relayed(250, "2.0.0 Ok", None)


@dataclass(frozen=True, slots=True)
class Letters:
    """Whose delivery is in which situation."""

    received: UUID
    refused: UUID
    unclaimed: UUID
    accepted: UUID
    notified: UUID
    rejected: UUID
    submitted: UUID
    batch: UUID


def config_of(database: DatabaseSettings, state: Path) -> Config:
    """An embedded installation's configuration around a test's database."""
    return parse(tomllib.loads(toml_of(database, state)))


def toml_of(database: DatabaseSettings, state: Path) -> str:
    """The same as a file. What no test here uses points nowhere."""
    return f"""
config_version = "embedded-1"
mode = "non_qualified"
embedded = true
[provider]
name = "Test Delivery"
country = "FR"
policy_oid = "2.25.329800735698586629295641978511506172918.1"
tsa_policy_oid = "2.25.329800735698586629295641978511506172918.2"
[database]
socket_dir = "{database.socket_dir}"
port = {database.port}
name = "{database.name}"
password_dir = "{database.password_dir}"
[token]
module = "/none"
label = "none"
pin_file = "/none"
[bridge]
socket_dir = "/none"
data_dir = "/none"
public_dir = "{state}"
[objects]
root = "{state}"
[mail]
host = "127.0.0.1"
port = 1
security = "none"
from_address = "notice@registered.example"
[gateway]
host = "127.0.0.1"
port = 1
public_url = "http://127.0.0.1:8400"
[identity]
minimum_level = "substantial"
[identity.providers.embedded]
kind = "franceconnect_plus"
issuer = "http://127.0.0.1:8403"
client_id = "qerds-portal"
client_secret_file = "/none"
jwks_file = "/none"
"""


class Installation:
    """The parts, and the steps of a letter's life."""

    def __init__(self, config: Config, owner: "asyncpg.Connection[asyncpg.Record]", sender: UUID) -> None:
        self.config = config
        self.owner = owner
        self.sender = sender
        self.ahead = timedelta()
        self.bridge = FakeBridge(
            legal_now=lambda: datetime.now(UTC) + self.ahead,
            now=lambda: datetime.now(UTC),
            random=os.urandom,
            valid_from=datetime.now(UTC) - timedelta(days=1),
        )
        self.objects = MemoryObjects()

    async def publish(self) -> None:
        """What the set-up and the bridge do at their start."""
        anchor = x509.load_der_x509_certificate(self.bridge.authority)
        (self.config.bridge.public_dir / "ca.pem").write_bytes(anchor.public_bytes(Encoding.PEM))
        bridge = await connect(self.config.database, "qerds_bridge")
        for key in self.bridge.published():
            await bridge.execute(
                "INSERT INTO qerds.published_key (key_id, use, spki, certificate, not_before, until)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                *(key.key_id, key.use, key.spki, key.certificate, key.not_before, key.until),
            )
        await bridge.execute("INSERT INTO qerds.published_statement (body) VALUES ($1)", self.bridge.statement())
        await bridge.close()

    async def submit(self) -> UUID:
        """As the gateway stores a submission with one document."""
        delivery, upload = uuid4(), uuid4()
        number = with_check_digit(str(delivery.int % 10**13).zfill(13))
        digests = (hashlib.sha256(CONTENT).digest(), hashlib.sha3_256(CONTENT).digest())
        await self.owner.execute(
            "INSERT INTO qerds.upload (id, sender, file_name, content_type, bytes, sha256, sha3_256, expires_at)"
            " VALUES ($1, $2, 'letter.pdf', 'application/pdf', $3, $4, $5, 'infinity')",
            *(upload, self.sender, len(CONTENT), *digests),
        )
        await self.owner.execute(
            "INSERT INTO qerds.upload_segment"
            " (upload, segment, object, content_format, bytes, intake_key_id, sealed_key)"
            " SELECT $1, 1, $2, 'tink', $3, key_id, '' FROM qerds.published_key WHERE use = 'intake'",
            *(upload, upload.hex, len(CONTENT)),
        )
        gateway = await connect(self.config.database, "qerds_gateway")
        await gateway.execute(
            "INSERT INTO qerds.delivery (id, number, sender, client_ref, request_sha256, lane, mode, config_version,"
            " recipient_kind, recipient_email, given_names, birth_name, language, subject, submitted_at)"
            " VALUES ($1, $2, $3, $4, $5, 0, 'non_qualified', 'embedded-1', 'professional', 'jeanne@example.net',"
            " 'Jeanne', 'Martin', 'fr', 'subject', qerds.legal_now())",
            *(delivery, number, self.sender, f"ref-{delivery}", bytes(32)),
        )
        await gateway.close()
        await self.owner.execute(
            "INSERT INTO qerds.delivery_document (delivery, part, upload, file_name, sha256)"
            " VALUES ($1, 1, $2, 'letter.pdf', $3)",
            *(delivery, upload, digests[0]),
        )
        return delivery

    async def deposit(self, driven: Sequence[str] = DRIVEN) -> UUID:
        """... and as `encrypt` commits it, and the stages after it go on until the notice is proved."""
        delivery = await self.submit()
        upload = await self.owner.fetchrow(
            "SELECT u.id, u.sha3_256, u.created_at FROM qerds.upload u"
            " JOIN qerds.delivery_document x ON x.upload = u.id WHERE x.delivery = $1",
            delivery,
        )
        assert upload is not None
        until = upload["created_at"] + timedelta(days=WRAP_OPEN_DAYS)
        content = UploadWrap(upload["id"], "kek", b"context", b"wrapped", upload["sha3_256"], until)
        letter = ContentWrap(delivery, "kek", b"context", b"wrapped")
        await self.draft("encrypt", delivery, [("A.1", None)], [content, letter])
        await self.drain(driven)
        return delivery

    async def pack(self) -> None:
        """Two small contents in one object, which no letter names yet."""
        name, uploads = uuid4().hex, (uuid4(), uuid4())
        await self.owner.execute(
            "INSERT INTO qerds.pack (object, intake_key_id, sealed_key, bytes)"
            " SELECT $1, key_id, '', 20 FROM qerds.published_key WHERE use = 'intake'",
            name,
        )
        for offset, upload in zip((0, 10), uploads, strict=True):
            await self.owner.execute(
                "INSERT INTO qerds.upload (id, sender, file_name, content_type, bytes, sha256, sha3_256, expires_at)"
                " VALUES ($1, $2, 'letter.pdf', 'application/pdf', 1, sha256(''), sha256(''), 'infinity')",
                *(upload, self.sender),
            )
            await self.owner.execute(
                "INSERT INTO qerds.upload_segment (upload, segment, object, content_format, bytes, intake_key_id,"
                " sealed_key, object_offset, object_bytes)"
                " SELECT $1, 1, $2, 'packed', 1, key_id, '', $3, 10 FROM qerds.published_key WHERE use = 'intake'",
                *(upload, name, offset),
            )

    async def draft(
        self,
        kind: str,
        delivery: UUID,
        events: Sequence[tuple[str, bytes | None]],
        facts: Sequence[object] = (),
        at: datetime | None = None,
    ) -> None:
        """Lock, draft, add, emit: one transaction under the role of that process kind."""
        database = Database(self.config.database.dsn(f"qerds_{kind}"))
        keys = PostgresKeys(database.fetch, self.config.bridge.public_dir / "ca.pem")
        issuer = issuer_of(self.config.provider, await keys.active("seal"))
        dossier = (await read_dossiers(database.fetch, [delivery], issuer))[delivery]
        async with database.transaction() as tx:
            head = (await tx.lock([delivery]))[delivery].head
            for event, receipt in events:
                made = one_draft(head, event, dossier, receipt, at)
                await tx.add([*facts, made])
                await tx.emit([Emission(DRAFT, delivery, made.evidence)])
                facts, head = (), head_after(head, made)
        await database.close()

    async def decide(self, delivery: UUID, act: str, events: Sequence[str]) -> None:
        """Both transactions of a decision, with the bridge's receipt between them."""
        ticket = self.bridge.ticket(delivery, [DOCUMENT], PERSON)
        [receipt] = await self.bridge.bridge("gateway").ask([decision_item(ticket, delivery, act)])
        assert isinstance(receipt, wire.Decided)
        decided_at = receipt.at.replace(
            microsecond=receipt.at.microsecond // 1000 * 1000
        )  # as qerds.legal_now() says it
        intent = DecisionIntent(uuid4(), delivery, act, decided_at)
        await self.identify(delivery)
        await self.draft("gateway", delivery, [(e, receipt.receipt) for e in events], [intent], decided_at)
        await self.drain()

    async def identify(self, delivery: UUID) -> None:
        """As the gateway notes that the addressee identified, once for the letter."""
        known = await self.owner.fetchval("SELECT submitted_at FROM qerds.delivery WHERE id = $1", delivery)
        gateway = Database(self.config.database.dsn("qerds_gateway"))
        async with gateway.transaction() as tx:
            who = ("demo", "match", "substantial", PERSON, b"tokens", known)
            await tx.add([Identification(uuid4(), delivery, *who, "birth_name")])
        await gateway.close()

    async def hand_over(self, delivery: UUID) -> None:
        """The whole document sent, and E.1 on a receipt as `release` makes it."""
        moment, right = self.bridge.moment().legal_time, right_to(delivery, [DOCUMENT], PERSON)
        receipt = tickets.issue_receipt(self.bridge.vault.mac, tickets.Receipt(right, "handover", moment, None))
        await self.draft("gateway", delivery, [("E.1", receipt)], [Handover(delivery, 1, True, len(CONTENT), moment)])
        await self.drain()

    async def advance(self, period: str) -> None:
        """The operator's own verb, then the bridge's clock."""
        database = Database(self.config.database.dsn("qerds_operate"))
        await clock.advance_clock(self.config, database, clock.period_of(period))
        await database.close()
        self.ahead += clock.period_of(period)

    async def drain(self, driven: Sequence[str] = DRIVEN) -> None:
        """Every driven stage, until none of them finds anything."""
        async with AsyncExitStack() as stack:
            actors = [
                await stack.enter_async_context(self._actor(row))
                for row in STAGES
                if isinstance(row, Actor) and row.name in driven
            ]
            while [found for turn in actors if (found := await turn())]:
                pass

    @asynccontextmanager
    async def _actor(self, row: Actor[Any, Any]) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
        """One stage's process for a while: `turn` sweeps, takes and handles one batch."""
        stage = row.stage
        dsn = self.config.database.dsn(f"qerds_{stage.name}")
        link, recorder, randomness = Link(dsn, LeaseLost), Recorder(stage.name, print), SystemRandomness()
        box = PostgresMailbox(dsn, link, stage.name, "test", randomness, recorder)
        keys = PostgresKeys(link.call, self.config.bridge.public_dir / "ca.pem")
        bridge = self.bridge.bridge(stage.name)
        given = {
            "facts": PostgresFacts(link, keys, self.config.provider),
            "exports": PostgresExportFacts(link, self.config.provider),
            "consents": PostgresConsentFacts(link),
            "keys": keys,
            "bridge": bridge,
            "authority": bridge,
            "objects": self.objects,
            "relay": GuardedRelay(AcceptingRelay(), recorder),
            "randomness": randomness,
        }
        ports = row.ports(cast(Adapters, SimpleNamespace(**given)), settings_of(self.config))
        await box.start()
        await box.sweep()

        async def turn() -> bool:
            batch = await box.take(stage.batch_max)
            if batch:
                assert not await loop.turn(stage, box, ports, batch, randomness.unit, recorder)
            return bool(batch)

        yield turn
        await box.stop()


def one_draft(head: Head, event: str, dossier: Dossier, receipt: bytes | None, at: datetime | None) -> EvidenceDraft:
    """With what each event must carry."""
    who = IdentifiedPerson(
        "Jeanne", "Martin", None, None, "subject-1", "substantial", "demo", dossier.submitted_at, PERSON
    )
    return draft(
        head,
        event,
        dossier,
        event_time=at,
        receipt=receipt,
        identification=None if receipt is None else who,
        reason=Reason("digest_mismatch", "another digest") if event == "A.2" else None,
    )


async def live(it: Installation) -> Letters:
    """Seven letters, and a batch. The one that nobody claims comes first, because the clock moves for it."""
    unclaimed = await it.deposit()
    await it.advance("P16D")
    await it.advance("PT5M")
    await it.drain()
    received, accepted, refused, notified = [await it.deposit() for _ in range(4)]
    await it.decide(received, "accept", ["C.3", "D.1"])
    await it.decide(accepted, "accept", ["C.3", "D.1"])
    await it.hand_over(received)
    await it.decide(refused, "refuse", ["C.4"])
    rejected = await it.submit()
    await it.draft("ingest", rejected, [("A.2", None)])
    await it.drain()
    await it.pack()
    gateway = Database(it.config.database.dsn("qerds_gateway"))
    packed = await it.owner.fetchval("SELECT upload FROM qerds.upload_segment WHERE object_offset = 10")
    batch = await small_batch.half_drawn(gateway, it.config.database, it.sender, packed)
    submitted = await it.submit()
    async with gateway.transaction() as tx:
        await tx.emit([Emission(SUBMITTED, submitted)])
    await gateway.close()
    return Letters(received, refused, unclaimed, accepted, notified, rejected, submitted, batch)


async def connect(database: DatabaseSettings, role: str) -> "asyncpg.Connection[asyncpg.Record]":
    """As one role, with its own rights."""
    return await asyncpg.connect(
        host=str(database.socket_dir),
        port=database.port,
        database=database.name,
        user=role,
        password=database.password(role),
    )


@asynccontextmanager
async def installation(database: DatabaseSettings, state: Path) -> AsyncIterator[Installation]:
    """Published keys, one sender, no letter yet."""
    config = config_of(database, state)
    enrolled = await senders.register_sender(config, "Test Sender", "sender@example.org")
    owner = await connect(database, "qerds_owner")
    try:
        it = Installation(config, owner, enrolled.sender)
        await it.publish()
        yield it
    finally:
        await owner.close()
