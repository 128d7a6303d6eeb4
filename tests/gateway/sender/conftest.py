"""The whole gateway in one process: real PostgreSQL as its own role, a local object store, ASGI instead of sockets."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway import health, trust
from gateway.app import behind_edge
from gateway.sender import routes
from gateway.sender.ports import CheckedObjects
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.objects import LocalObjects
from pipeline.adapters.postgres.batches import PostgresBatchStore
from pipeline.adapters.postgres.consents import PostgresConsentStore
from pipeline.adapters.postgres.exports import PostgresExportStore
from pipeline.adapters.postgres.feed import PostgresEventStore
from pipeline.adapters.postgres.sandbox import PostgresSandboxClock
from pipeline.adapters.postgres.senders import PostgresSenderStore
from pipeline.connect import database_of
from pipeline.content.envelope import SUITE, Decryptor, associated_data
from pipeline.errors import Transient
from pipeline.formats import configuration
from pipeline.formats.configuration import Config
from pipeline.formats.context import intake_info
from pipeline.formats.identity_providers import EMBEDDED
from pipeline.ports.bridge import PublishedKey
from pipeline.process.recorder import Recorder
from tests.fakes.checking import CheckerHere
from tests.servers import PostgresServer

PUBLIC_URL = "http://gateway.test"
SECRET = "a demo secret"
SCOPES = ["deliveries:write", "deliveries:read", "evidence:read", "consents:write", "webhooks:write"]
PDF = b"%PDF-1.7\nR\xc3\xa9siliation du bail\n%%EOF\n"


class FixedClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def now(self) -> datetime:
        return self.moment


class SoftKeys:
    """Published keys without a bridge: an intake key in software."""

    def __init__(self) -> None:
        self.intake = ec.generate_private_key(ec.SECP256R1())
        self.documents: dict[str, bytes] = {}
        self.anchor = b""
        self.webhook_keys: list[PublishedKey] = []

    async def active(self, use: str) -> PublishedKey:
        if use != "intake":
            raise Transient(f"no key for {use}")
        spki = self.intake.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        now = datetime.now(UTC)
        return PublishedKey("intake-1", use, spki, None, now, now + timedelta(days=1))

    async def every(self, use: str) -> Sequence[PublishedKey]:
        return self.webhook_keys

    async def by_id(self, key_id: str) -> PublishedKey:
        return await self.active("intake")

    async def statement(self) -> bytes:
        return b"head.payload.signature"

    async def trust_anchor(self) -> bytes:
        return self.anchor

    async def document(self, name: str) -> bytes | None:
        return self.documents.get(name)


@dataclass
class GatewayParts:
    """The gateway's ports, with what a test may change."""

    config: Config
    senders: PostgresSenderStore
    sandbox: PostgresSandboxClock | None
    batches: PostgresBatchStore
    consents: PostgresConsentStore
    exports: PostgresExportStore
    events: PostgresEventStore
    objects: CheckedObjects
    keys: SoftKeys
    clock: FixedClock
    recorder: Recorder
    ids: SystemRandomness = field(default_factory=SystemRandomness)
    checker: CheckerHere = field(default_factory=CheckerHere)


@dataclass
class World:
    """One gateway, its database, and HTTP clients for two senders."""

    server: PostgresServer
    parts: GatewayParts
    draining: bool = False
    log: list[str] = field(default_factory=list)

    def application(self) -> httpx.ASGITransport:
        table = [
            *health.routes(self.parts, lambda: self.draining),
            *routes.routes(self.parts),
            *trust.routes(self.parts.keys),
        ]
        return httpx.ASGITransport(behind_edge(table, self.parts))

    def anonymous(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self.application(), base_url=PUBLIC_URL)

    async def sender(self, client_id: str = "demo") -> httpx.AsyncClient:
        """A client with a token."""
        client = self.anonymous()
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
        answer = await client.post("/oauth2/token", data=form)
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return client

    @property
    def objects_dir(self) -> Path:
        """Where the store keeps its files."""
        place = self.parts.config.objects.place
        assert isinstance(place, Path)
        return place

    def psql(self, sql: str) -> str:
        return self.server.psql(sql, self.parts.config.database.name)

    def count(self, table: str) -> int:
        return int(self.psql(f"SELECT count(*) FROM {table}"))

    def add_sender(self, client_id: str, jwk: dict[str, Any] | None = None) -> UUID:
        sender = uuid4()
        key = "NULL" if jwk is None else f"'{json.dumps(jwk)}'"
        self.psql(
            "INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at) VALUES "
            f"('{sender}', 'Étude Dupont', 'sender@example.org', 'high', 'video', now());"
            "INSERT INTO qerds.sender_client (client_id, sender, secret_sha256, public_jwk, scopes) VALUES "
            f"('{client_id}', '{sender}', '\\x{sha256(SECRET.encode()).hexdigest()}', {key}, "
            f"'{{{','.join(SCOPES)}}}')"
        )
        return sender


def make_config(database: configuration.DatabaseSettings, state: Path) -> Config:
    """An embedded installation's configuration around this database."""
    return configuration.parse(
        {
            "config_version": "embedded-1",
            "mode": "non_qualified",
            "embedded": True,
            "provider": {"name": "Demo", "country": "FR", "policy_oid": "2.25.1.1", "tsa_policy_oid": "2.25.1.2"},
            "database": {
                "socket_dir": str(database.socket_dir),
                "port": database.port,
                "name": database.name,
                "password_dir": str(database.password_dir),
            },
            "token": {"module": "none", "label": "none", "pin_file": "none"},
            "bridge": {"socket_dir": str(state), "data_dir": str(state), "public_dir": str(state)},
            "objects": {"root": str(state)},
            "mail": {"host": "127.0.0.1", "port": 25, "security": "none", "from_address": "notice@registered.example"},
            "gateway": {"host": "127.0.0.1", "port": 8400, "public_url": PUBLIC_URL},
            "identity": {
                "minimum_level": "substantial",
                "providers": {
                    EMBEDDED: {
                        "kind": "franceconnect_plus",
                        "issuer": "http://127.0.0.1:8403",
                        "client_id": "qerds-portal",
                        "client_secret_file": "none",
                        "jwks_file": "none",
                    }
                },
            },
        }
    )


@pytest.fixture
async def world(
    postgres: PostgresServer, database: configuration.DatabaseSettings, tmp_path: Path
) -> AsyncIterator[World]:
    config = make_config(database, tmp_path)
    connections = database_of(config, "qerds_gateway")
    keys = SoftKeys()
    log: list[str] = []
    parts = GatewayParts(
        config=config,
        senders=PostgresSenderStore(connections),
        sandbox=PostgresSandboxClock(connections),
        batches=PostgresBatchStore(connections),
        consents=PostgresConsentStore(connections),
        exports=PostgresExportStore(connections),
        events=PostgresEventStore(connections),
        objects=LocalObjects(tmp_path),
        keys=keys,
        clock=FixedClock(),
        recorder=Recorder("gateway", write=log.append),
    )
    made = World(postgres, parts, log=log)
    made.psql(
        "INSERT INTO qerds.published_key (key_id, use, spki, not_before, until) VALUES "
        "('intake-1', 'intake', '\\x00', now(), now() + interval '400 days')"
    )
    made.add_sender("demo")
    made.add_sender("other")
    yield made
    await connections.close()


# ------------------------------------------------------------------ requests that are right
def content_digest(content: bytes) -> str:
    return f"sha-256=:{b64encode(sha256(content).digest()).decode()}:"


async def upload(
    client: httpx.AsyncClient, content: bytes = PDF, headers: dict[str, str] | None = None
) -> httpx.Response:
    given = {
        "Content-Type": "application/pdf",
        "Content-Digest": content_digest(content),
        "Content-Disposition": "attachment; filename*=UTF-8''R%C3%A9siliation.pdf",
        **(headers or {}),
    }
    return await client.post("/v1/uploads", content=content, headers=given)


def plain_contents(world: World) -> list[bytes]:
    """Every upload of one segment, opened with the intake key; sorted by their bytes."""
    rows = world.psql(
        "SELECT u.sender, u.id, g.object, g.content_format, g.bytes, encode(g.sealed_key, 'hex') "
        "FROM qerds.upload u JOIN qerds.upload_segment g ON g.upload = u.id"
    )
    found = []
    for row in rows.split():
        sender, upload_id, name, content_format, plain_bytes, sealed = row.split("|")
        info = intake_info(UUID(sender), UUID(upload_id), 1, name, content_format, int(plain_bytes))
        key = SUITE.decrypt(bytes.fromhex(sealed), world.parts.keys.intake, info=info)
        (path,) = world.objects_dir.rglob(name)
        decryptor = Decryptor(key, associated_data(name))
        found.append(decryptor.update(path.read_bytes()) + decryptor.finish())
    return sorted(found)


def letter(upload_id: str, content: bytes = PDF, **changes: Any) -> dict[str, Any]:
    """A professional's letter."""
    return {
        "recipient": {
            "kind": "professional",
            "email": "jean@example.org",
            "given_names": "Jean Pierre",
            "birth_name": "Martin",
            "language": "fr",
        },
        "subject": "Résiliation",
        "documents": [{"upload_id": upload_id, "file_name": "Résiliation.pdf", "sha256": sha256(content).hexdigest()}],
        **changes,
    }


async def uploaded_letter(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await upload(client)
    assert answer.status_code == 201, answer.text
    return letter(answer.json()["id"], **changes)


CONSENT = {
    "email": "jean@example.org",
    "given_names": "Jean Pierre",
    "birth_name": "Martin",
    "obtained_at": "2026-01-05T10:00:00.000Z",
    "method": "web_form",
    "text_sha256": "ab" * 32,
}


def problem(answer: httpx.Response, status: int, code: str, *pointers: str) -> dict[str, Any]:
    """The answer is this problem, well-formed, and names at least these fields."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"] == f"{PUBLIC_URL}/v1/problems/{code}"
    assert body["request_id"] == answer.headers["request-id"]
    assert body["title"]
    assert body["detail"]
    assert body["remedy"]
    assert set(pointers) <= {error["pointer"] for error in body["errors"]}, body["errors"]
    return body
