"""A letter that waits for its recipient: real database, the bridge's own code, the embedded identity provider.

Owns     the smallest world in which the portal's pages can be walked, and a browser to walk them
Rules    everything between the pieces is real but HTTP (ASGITransport); seals and tokens are made by the bridge when a
         test says so, so that a test can look at a page before and after
Elsewhere: the stages; what they do between two pages is one call of `stamp`
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import asyncpg
import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc.jwk import ECKey, KeySet
from starlette.applications import Starlette

from deploy.local.identity_provider import keys as provider_keys
from deploy.local.identity_provider.server import StandInProvider
from deploy.local.identity_provider.tokens import TokenIssuer
from gateway.faces import page_routes
from pipeline.adapters.identity_http import HttpBackChannel
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.consents import PostgresConsentStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.dossiers import issuer_of, read_dossiers
from pipeline.adapters.postgres.keys import PostgresKeys
from pipeline.adapters.postgres.portal import PostgresPortalStore
from pipeline.content.envelope import CONTENT_FORMAT, Encryptor, associated_data
from pipeline.delivery.facts import ContentWrap, Notice
from pipeline.delivery.number import with_check_digit
from pipeline.evidence.draft import draft
from pipeline.evidence.facts import EvidenceSeal, EvidenceToken
from pipeline.evidence.time_stamp import checked_time_stamp
from pipeline.formats.configuration import Config, DatabaseSettings, parse
from pipeline.formats.context import AddresseeRecord, ContentContext, WrapContext, content_context, wrap_context
from pipeline.formats.identity_providers import EMBEDDED
from pipeline.formats.xades import imprint_sha256
from pipeline.ports.bridge import wire
from tests.bridge_process import SECOND, provider_key, second_table, write_jwks
from tests.fakes.bridge import FakeBridge
from tests.fakes.checking import CheckerHere
from tests.fakes.objects import MemoryObjects
from tests.fakes.oidc_provider import OidcPeer

PUBLIC_URL = "https://portal.example"
ISSUER = "http://127.0.0.1:8403"
SENDER_NAME = "Zyxel-Canary Insurance"
SENDER_EMAIL = "claims@zyxel-canary.example"
SUBJECT = "Zyxel-Canary contract 4711"
FILE_NAME = "Zyxel-Canary résumé.pdf"
CANARY = "zyxel-canary"
CONTENTS = (b"%PDF-1.7 " + b"first document " * 100_000, b"%PDF-1.7 second, small")
ANGELA = {"person": "angela"}
STRANGER = {"person": "other", "given_name": "Bob", "family_name": "Stranger", "birthdate": "1970-01-01"}
LETTER_DAYS = 15


@dataclass(frozen=True, slots=True)
class Ports:
    """What gateway.faces.page_routes takes."""

    config: Config
    portal: PostgresPortalStore
    consents: PostgresConsentStore
    objects: MemoryObjects
    bridge: Any
    keys: PostgresKeys
    identity: Mapping[str, HttpBackChannel]
    ids: SystemRandomness
    checker: CheckerHere = field(default_factory=CheckerHere)


@dataclass(slots=True)
class World:
    """One installation with letters in it."""

    config: Config
    fake: FakeBridge
    ports: Ports
    app: Starlette
    provider: Starlette
    roles: Mapping[str, Database]
    owner: Any
    tokens: dict[UUID, str] = field(default_factory=dict)

    async def value(self, sql: str, *arguments: object) -> Any:
        """One value, asked as the owner of the tables."""
        return await self.owner.fetchval(sql, *arguments)

    async def letter(self, *, birth_date: str | None = "1962-08-24", contents: Sequence[bytes] = CONTENTS) -> "Letter":
        """A deposited and announced letter for Angela Dubois; C.1 is drafted and not stamped."""
        delivery, sender = self.ports.ids.uuid7(), self.ports.ids.uuid7()
        number = with_check_digit("".join(str(secrets.randbelow(10)) for _ in range(13)))
        await self._submission(delivery, sender, number, birth_date)
        keys = b""
        for part, content in enumerate(contents, start=1):
            keys += await self._upload(delivery, sender, part, content)
        context = WrapContext(
            delivery,
            tuple((hashlib.sha256(c).digest(), hashlib.sha3_256(c).digest(), len(c)) for c in contents),
            AddresseeRecord(
                "consumer",
                "Angela Claire Louise",
                "Dubois",
                None,
                None if birth_date is None else date.fromisoformat(birth_date),
            ),
            "substantial",
        )
        bridge, kept = self.fake.bridge("encrypt"), []
        for index, piece in enumerate(context.parts):
            until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
            about = content_context(ContentContext(self.ports.ids.uuid7(), *piece, until))
            [made] = await bridge.ask([wire.WrapContent(about, keys[index * 32 : index * 32 + 32])])
            assert not isinstance(made, wire.Denied)
            kept.append(wire.WrappedContent(made.key_id, made.wrapped, about))
        [wrap] = await bridge.ask([wire.DeriveWrap(wrap_context(context), tuple(kept))])
        assert not isinstance(wrap, wire.Denied)
        await self.draft(
            "encrypt", delivery, "A.1", ContentWrap(delivery, wrap.key_id, wrap_context(context), wrap.wrapped)
        )
        await self.stamp()
        token = secrets.token_urlsafe(16)
        today = datetime.now(UTC).date()
        last_day = today + timedelta(days=LETTER_DAYS)
        notice = Notice(
            delivery, 1, today, last_day, "en", f"<{delivery}@example>", hashlib.sha256(token.encode()).digest(),
            bytes(32), b"mail", datetime.now(UTC),
        )  # fmt: skip
        await self.draft("notify", delivery, "C.1", notice, ordinal=1)
        return Letter(delivery, number, token)

    async def open_letter(self, **how: Any) -> "Letter":
        """A letter that can be decided."""
        letter = await self.letter(**how)
        await self.stamp()
        return letter

    async def draft(self, role: str, delivery: UUID, event: str, *facts: object, ordinal: int = 0) -> None:
        """Any event, by the role that may."""
        issuer = issuer_of(self.config.provider, await self.ports.keys.active("seal"))
        dossiers = await read_dossiers(self.roles[role].fetch, [delivery], issuer)
        async with self.roles[role].transaction() as tx:
            locked = (await tx.lock([delivery]))[delivery]
            await tx.add([*facts, draft(locked.head, event, dossiers[delivery], ordinal=ordinal)])

    async def stamp(self) -> list[str]:
        """What seal and timestamp would do now; the events that became proofs."""
        rows = await self.owner.fetch(
            "SELECT e.evidence, e.delivery, e.event, e.canonical, e.receipt, e.event_time FROM qerds.evidence e "
            "WHERE NOT EXISTS (SELECT FROM qerds.evidence_seal s WHERE s.evidence = e.evidence) ORDER BY e.sequence"
        )
        for row in rows:
            [seal] = await self.fake.bridge("seal").ask([wire.SealEvidence(row["canonical"], row["receipt"])])
            assert not isinstance(seal, wire.Denied), seal
            async with self.roles["seal"].transaction() as tx:
                await tx.add([EvidenceSeal(row["evidence"], seal.signature, seal.key_id)])
            item = wire.TimeStamp(imprint_sha256(seal.signature), row["event_time"])
            [stamped] = await self.fake.bridge("timestamp").ask([item])
            assert not isinstance(stamped, wire.Denied), stamped
            stamp = checked_time_stamp(stamped.token, seal.signature, row["event_time"])
            async with self.roles["timestamp"].transaction() as tx:
                await tx.lock([row["delivery"]])
                await tx.add([EvidenceToken(row["evidence"], stamped.token, stamp.gen_time)])
                for advanced in await tx.advance([row["delivery"]]):
                    await tx.add(advanced.windows)
        return [row["event"] for row in rows]

    async def state(self, letter: "Letter") -> str:
        """The letter's state."""
        return str(await self.value("SELECT state FROM qerds.delivery WHERE id = $1", letter.delivery))

    async def drafted(self, letter: "Letter") -> list[str]:
        """Its events in order."""
        rows = await self.owner.fetch(
            "SELECT event FROM qerds.evidence WHERE delivery = $1 ORDER BY sequence", letter.delivery
        )
        return [row["event"] for row in rows]

    async def waiting(self, stage: str) -> int:
        """Messages in a stage's outbox."""
        return int(await self.value(f'SELECT count(*) FROM outbox."{stage}"'))

    async def _submission(self, delivery: UUID, sender: UUID, number: str, birth_date: str | None) -> None:
        await self.owner.execute(
            "INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at) "
            "VALUES ($1, $2, $3, 'substantial', 'contract', clock_timestamp())",
            sender,
            SENDER_NAME,
            SENDER_EMAIL,
        )
        await self.owner.execute(
            "INSERT INTO qerds.delivery (id, number, sender, request_sha256, lane, mode, config_version, "
            "recipient_kind, recipient_email, given_names, birth_name, birth_date, "
            "language, consent_ref, subject, submitted_at) "
            "VALUES ($1, $2, $3, $4, 0, 'non_qualified', 'embedded-1', 'consumer', 'angela@example.net', "
            "'Angela Claire Louise', 'Dubois', $5, 'en', 'consent-1', $6, qerds.legal_now())",
            delivery,
            number,
            sender,
            bytes(32),
            birth_date,
            SUBJECT,
        )

    async def _upload(self, delivery: UUID, sender: UUID, part: int, content: bytes) -> bytes:
        upload, name, key = self.ports.ids.uuid7(), os.urandom(16).hex(), os.urandom(32)
        encryptor = Encryptor(key, associated_data(name), os.urandom(32), os.urandom(7))
        sealed = encryptor.update(content) + encryptor.finish()

        async def chunks() -> AsyncIterator[bytes]:
            yield sealed

        await self.ports.objects.put(name, chunks())
        digest = hashlib.sha256(content).digest()
        file_name = FILE_NAME.replace(".pdf", f" {part}.pdf")
        await self.owner.execute(
            "INSERT INTO qerds.upload (id, sender, file_name, content_type, bytes, sha256, sha3_256, expires_at) "
            "VALUES ($1, $2, $3, 'application/pdf', $4, $5, $6, clock_timestamp() + interval '7 days')",
            upload,
            sender,
            file_name,
            len(content),
            digest,
            hashlib.sha3_256(content).digest(),
        )
        intake = await self.ports.keys.active("intake")
        await self.owner.execute(
            "INSERT INTO qerds.upload_segment "
            "(upload, segment, object, content_format, bytes, intake_key_id, sealed_key) "
            "VALUES ($1, 1, $2, $3, $4, $5, $6)",
            upload,
            name,
            CONTENT_FORMAT,
            len(content),
            intake.key_id,
            b"sealed",
        )
        await self.owner.execute(
            "INSERT INTO qerds.delivery_document (delivery, part, upload, file_name, sha256) "
            "VALUES ($1, $2, $3, $4, $5)",
            delivery,
            part,
            upload,
            file_name,
            digest,
        )
        return key


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter of the world and its claim token."""

    delivery: UUID
    number: str
    token: str

    def address(self, language: str = "en") -> str:
        """Its page."""
        return f"/{language}/letter/{self.number}"


class Browser:
    """A person with a browser: follows links and sends forms as the pages offer them."""

    def __init__(self, world: World, language: str = "en") -> None:
        self.world = world
        self.seen: list[httpx.Response] = []
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(world.app), base_url=PUBLIC_URL, headers={"Accept-Language": language}
        )
        self.provider = httpx.AsyncClient(transport=httpx.ASGITransport(world.provider), base_url=ISSUER)

    async def __aenter__(self) -> "Browser":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()
        await self.provider.aclose()

    async def get(self, address: str) -> httpx.Response:
        """One GET, redirects not followed."""
        self.seen.append(await self.http.get(address))
        return self.seen[-1]

    async def go(self, address: str) -> httpx.Response:
        """GET, following redirects within the portal."""
        answer = await self.get(address)
        while answer.is_redirect:
            answer = await self.get(urljoin(str(answer.url), answer.headers["location"]))
        return answer

    async def post(self, address: str, fields: Mapping[str, str], **headers: str) -> httpx.Response:
        """A form as a browser sends it."""
        sent = {"Sec-Fetch-Site": "same-origin", "Origin": PUBLIC_URL} | headers
        self.seen.append(await self.http.post(address, data=dict(fields), headers=sent))
        return self.seen[-1]

    async def claim(self, letter: Letter) -> httpx.Response:
        """Follows the link in the mail."""
        return await self.go(f"/c/{letter.token}")

    async def follows_without_cookies(self, link: str) -> None:
        """As a program that looks into mails: it is sent for a cookie once, then told what is missing."""
        for _ in range(3):
            self.http.cookies.clear()
            first = await self.get(link)
            assert (first.status_code, first.headers["location"]) == (303, f"{link}?cookie")
            self.http.cookies.clear()
            second = await self.get(first.headers["location"])
            assert (second.status_code, "did not keep our cookie" in second.text) == (403, True)

    async def sign_in(self, letter: Letter, picked: Mapping[str, str] = ANGELA, attack: str = "none") -> httpx.Response:
        """From the identity page to the provider and back; the page at the end."""
        page = await self.go(f"{letter.address()}/identity")
        leaving = await self.post(f"{letter.address()}/identity", hidden(page.text))
        if leaving.status_code != 303:
            return leaving
        return await self.go(await self.pick(leaving.headers["location"], picked, attack))

    async def pick(self, authorization: str, picked: Mapping[str, str], attack: str = "none") -> str:
        """At the provider: the address it sends the browser back to."""
        picker = await self.provider.get(authorization)
        assert picker.status_code == 200, picker.text
        back = await self.provider.post("/interaction", data=hidden(picker.text) | dict(picked) | {"attack": attack})
        assert back.status_code == 303, back.text
        return str(back.headers["location"])

    async def decide(self, letter: Letter, act: str) -> httpx.Response:
        """Through the confirmation page; the answer to its form."""
        page = await self.go(f"{letter.address()}/{act}")
        return await self.post(f"{letter.address()}/{act}", hidden(page.text) | {"understood": "yes"})


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page))


@asynccontextmanager
async def world(database: DatabaseSettings, state: Path, second: OidcPeer | None = None) -> AsyncIterator[World]:
    """Builds it, and takes it down. second: another identity provider beside the embedded one."""
    table = config_table(state, database)
    if second is not None:
        table["identity"]["providers"][SECOND] = _second(state, second.secret)
    config = parse(table)
    provider_keys.prepare(config)
    fake = FakeBridge(
        legal_now=lambda: datetime.now(UTC),
        random=os.urandom,
        identity=config.identity,
    )
    (state / "ca.pem").write_bytes(x509.load_der_x509_certificate(fake.authority).public_bytes(Encoding.PEM))
    owner = await asyncpg.connect(
        host=str(database.socket_dir), port=database.port, database=database.name, user="qerds_owner",
        password=database.password("qerds_owner"),
    )  # fmt: skip
    roles = {
        role: Database(database.dsn(f"qerds_{role}")) for role in ("gateway", "encrypt", "notify", "seal", "timestamp")
    }
    try:
        await _publish(owner, fake)
        yield await _assemble(config, fake, owner, roles, second)
    finally:
        for role in roles.values():
            await role.close()
        await owner.close()


async def _assemble(
    config: Config, fake: FakeBridge, owner: Any, roles: Mapping[str, Database], second: OidcPeer | None
) -> World:
    described = await _identity_key(owner)
    signing = provider_keys.prepare(config)
    foreign = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256", "kid": signing.kid or ""})

    async def recipient_key() -> ECKey:
        return described

    provider = StandInProvider(
        TokenIssuer(ISSUER, signing, foreign),
        config.identity.providers[EMBEDDED].client_id,
        provider_keys.client_secret(config),
        f"{PUBLIC_URL}/identity/callback/{EMBEDDED}",
        recipient_key,
    ).app()
    served = {EMBEDDED: provider} | ({} if second is None else {SECOND: second.app()})
    keys = PostgresKeys(roles["gateway"].fetch, config.bridge.public_dir / "ca.pem")
    ports = Ports(
        config=config,
        portal=PostgresPortalStore(roles["gateway"], keys, config.provider),
        consents=PostgresConsentStore(roles["gateway"]),
        objects=MemoryObjects(),
        bridge=fake.bridge("gateway"),
        keys=keys,
        identity={
            name: HttpBackChannel(settings, httpx.ASGITransport(served[name]))
            for name, settings in config.identity.providers.items()
        },
        ids=SystemRandomness(),
    )
    return World(config, fake, ports, Starlette(routes=page_routes(ports)), provider, roles, owner)


def _second(state: Path, secret: str) -> dict[str, object]:
    """The second provider's place in the configuration, with its files."""
    files = {"secret": state / "second-secret", "jwks": state / "second.jwks.json"}
    files["secret"].write_text(f"{secret}\n")
    files["secret"].chmod(0o600)
    write_jwks(files["jwks"], provider_key())
    return second_table(**files)


async def _publish(owner: Any, fake: FakeBridge) -> None:
    for key in fake.published():
        await owner.execute(
            "INSERT INTO qerds.published_key (key_id, use, spki, certificate, not_before, until) "
            "VALUES ($1, $2, $3, $4, $5, $6)",
            key.key_id,
            key.use,
            key.spki,
            key.certificate,
            key.not_before,
            key.until,
        )
    document = b'{"keys":[' + fake.vault.keyring.identity_jwk() + b"]}"
    await owner.execute(
        "INSERT INTO qerds.published_document (name, version, body) VALUES ('identity_jwks', 1, $1), ('crl', 1, $2)",
        document,
        fake.crl,
    )
    statement = fake.statement([("identity_jwks", 1, document), ("crl", 1, fake.crl)])
    await owner.execute("INSERT INTO qerds.published_statement (body) VALUES ($1)", statement)


async def _identity_key(owner: Any) -> ECKey:
    body = await owner.fetchval("SELECT body FROM qerds.published_document WHERE name = 'identity_jwks'")
    [key] = KeySet.import_key_set(json.loads(body)).keys
    assert isinstance(key, ECKey)
    return key


NO_DATABASE = DatabaseSettings(
    socket_dir=Path("/nonexistent"), port=5432, name="none", password_dir=Path("/nonexistent")
)


def config_table(state: Path, database: DatabaseSettings = NO_DATABASE) -> dict[str, Any]:
    """The configuration of an embedded installation whose files are in `state`."""
    return {
        "config_version": "embedded-1",
        "mode": "non_qualified",
        "embedded": True,
        "provider": {
            "name": "Test Delivery",
            "country": "FR",
            "policy_oid": "2.25.1.1",
            "tsa_policy_oid": "2.25.1.2",
        },
        "database": {
            "socket_dir": str(database.socket_dir),
            "port": database.port,
            "name": database.name,
            "password_dir": str(database.password_dir),
        },
        "token": {"module": "/nonexistent", "label": "fake", "pin_file": "/nonexistent"},
        "bridge": {"socket_dir": str(state), "data_dir": str(state), "public_dir": str(state)},
        "objects": {"root": str(state / "objects")},
        "mail": {"host": "127.0.0.1", "port": 2525, "security": "none", "from_address": "notice@registered.example"},
        "gateway": {"host": "127.0.0.1", "port": 8400, "public_url": PUBLIC_URL},
        "identity": {
            "minimum_level": "substantial",
            "providers": {
                EMBEDDED: {
                    "kind": "franceconnect_plus",
                    "issuer": ISSUER,
                    "client_id": "qerds-portal",
                    "client_secret_file": str(state / "secrets" / "identity-client-secret"),
                    "jwks_file": str(state / "identity-provider.jwks.json"),
                }
            },
        },
    }
