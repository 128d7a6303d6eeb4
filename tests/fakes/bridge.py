"""The bridge in memory, with software keys: for the simulation and for tests that need no token.

Owns     a software stand-in for the token, a small authority over it, and sockets that are function calls. Everything
         else is the bridge's own code, reached through the client's own encoding and the adapter's own translation
Rules    no clock and no randomness of its own; passes the same contract suite as the real bridge
Elsewhere: anything for production, where no key exists outside a token
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import anyio.lowlevel
import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from hsm_bridge import wire
from hsm_bridge.client import BridgeAway, BridgeClient
from hsm_bridge.clock import ClockAway, ClockComparison, ClockReading
from hsm_bridge.operations import descriptions, statements, tickets
from hsm_bridge.operations.table import OPERATIONS
from hsm_bridge.operations.vault import Moment, Vault
from hsm_bridge.service import perform_item
from hsm_bridge.token import certificates
from hsm_bridge.token.device import KeyMissing, KeyUse, PointInvalid, TagMismatch, Token
from hsm_bridge.token.keyring import BridgeKey, Keyring
from hsm_bridge.wire import Caller
from pipeline.adapters.bridge import SocketBridge
from pipeline.formats.checked_table import structure
from pipeline.formats.configuration import (
    BridgeSettings,
    Config,
    DatabaseSettings,
    GatewaySettings,
    IdentitySettings,
    MailSettings,
    ObjectsSettings,
    Provider,
    TokenSettings,
)
from pipeline.formats.context import documents_sha256, person_sha256
from pipeline.ports.bridge import PublishedKey
from tests.bridge_process import identity_table

NO_FILE = Path("/nonexistent")
POLICY = "2.25.329800735698586629295641978511506172918"
CURVE_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
EXACT = ec.ECDSA(utils.Prehashed(SHA256()), deterministic_signing=True)
LABELS: tuple[tuple[str, KeyUse], ...] = (
    ("ca-1", "ca"),
    ("identity-1", "identity"),
    ("intake-202601", "intake"),
    ("kek-202601", "kek"),
    ("mac-1", "mac"),
    ("seal-2026-1", "seal"),
    ("tsu-2026-1", "tsu"),
    ("webhook-2026-1", "webhook"),
    ("statement-2026-1", "statement"),
)


class SoftwareToken(Token):
    """The token's operations on keys in memory."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._pairs: dict[str, ec.EllipticCurvePrivateKey] = {}
        self._secrets: dict[str, bytes] = {}
        self.used: set[KeyUse] = set()  # since somebody cleared it
        for label, use in LABELS:
            if use in ("kek", "mac", "webhook"):
                self._secrets[label] = random(32)
            else:
                scalar = int.from_bytes(random(40), "big") % (CURVE_ORDER - 1) + 1
                self._pairs[label] = ec.derive_private_key(scalar, ec.SECP256R1())

    def sign(self, label: str, sha256: bytes) -> bytes:
        r, s = utils.decode_dss_signature(self._pair(label).sign(sha256, EXACT))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def sign_edwards(self, label: str, data: bytes) -> bytes:
        return ed25519.Ed25519PrivateKey.from_private_bytes(self._secret(label)).sign(data)

    def edwards_key(self, label: str) -> ed25519.Ed25519PublicKey:
        return ed25519.Ed25519PrivateKey.from_private_bytes(self._secret(label)).public_key()

    def agree(self, label: str, point: bytes) -> bytes:
        try:
            peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except ValueError as error:
            raise PointInvalid("not a point of P-256") from error
        return self._pair(label).exchange(ec.ECDH(), peer)

    def encrypt(self, label: str, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
        return AESGCM(self._secret(label)).encrypt(nonce, plain, associated)

    def decrypt(self, label: str, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        try:
            return AESGCM(self._secret(label)).decrypt(nonce, sealed, associated)
        except InvalidTag as error:
            raise TagMismatch("does not open") from error

    def mac(self, label: str, data: bytes) -> bytes:
        return hmac.digest(self._secret(label), data, hashlib.sha256)

    def random(self, count_bytes: int) -> bytes:
        return self._random(count_bytes)

    def public_key(self, label: str) -> ec.EllipticCurvePublicKey:
        return self._pair(label).public_key()

    def _pair(self, label: str) -> ec.EllipticCurvePrivateKey:
        self.used |= {use for name, use in LABELS if name == label}
        if label not in self._pairs:
            raise KeyMissing(label)
        return self._pairs[label]

    def _secret(self, label: str) -> bytes:
        self.used |= {use for name, use in LABELS if name == label}
        if label not in self._secrets:
            raise KeyMissing(label)
        return self._secrets[label]


class FakeBridge:
    """One bridge; `bridge(caller)` gives the ports of a caller kind.

    `away` makes every call Transient before anything is done; `lose_answers` counts down calls that are done but
    whose answer is lost. legal_now and now are the two clocks; random gives bytes.
    """

    def __init__(
        self,
        *,
        legal_now: Callable[[], datetime],
        random: Callable[[int], bytes],
        now: Callable[[], datetime] | None = None,
        identity: IdentitySettings | None = None,
        valid_from: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    ) -> None:
        self.database_now: Callable[[], datetime] | None = None  # what the clock is compared with
        self.away = False
        self.lose_answers = 0
        self._legal_now = legal_now
        self._now = now or legal_now
        token = self._token = SoftwareToken(random)
        settings = _settings(identity)
        ring, crl = _keyring(token, settings, valid_from)
        self.vault = Vault(token, ring, settings, crl)

    def bridge(self, caller: str) -> SocketBridge:
        """The ports that this caller kind has."""
        return SocketBridge(self.client(caller))

    def client(self, caller: str) -> BridgeClient:
        return _InMemoryClient(self, cast("Caller", caller))

    @property
    def authority(self) -> bytes:
        """DER of the authority's certificate."""
        return self.vault.keyring.authority.public_bytes(Encoding.DER)

    @property
    def crl(self) -> bytes:
        return self.vault.crl

    def published(self) -> list[PublishedKey]:
        """What the bridge would publish in the database."""
        return [
            PublishedKey(k.key_id, k.public_use, k.spki, k.certificate, k.not_before, k.not_after)
            for k in self.vault.keyring.keys
            if k.public_use is not None and k.spki is not None
        ]

    def statement(self, documents: Sequence[tuple[str, int, bytes]] = ()) -> bytes:
        """What the bridge would state of its keys and of these documents (name, version, body)."""
        return statements.state(self.vault, descriptions.public_keys(self.vault), documents, self._now())

    def ticket(self, delivery: UUID, documents: Iterable[bytes], person: bytes | None = None) -> bytes:
        """A ticket as verify_identity gives it, for tests that are not about identification. documents: the SHA-256 of
        each."""
        now = self._now()
        expires = now + timedelta(seconds=tickets.TICKET_SECONDS)
        return tickets.issue_ticket(self.vault.mac, tickets.Ticket(right_to(delivery, documents, person), now, expires))

    def moment(self) -> Moment:
        """Both clocks now."""
        return Moment(self._now(), self._legal_now())

    def perform(self, op: str, item: bytes) -> wire.ItemResult:
        """One item as it goes over the wire; no other key is used than the table says."""
        operation = OPERATIONS[op]
        self._token.used.clear()
        result = perform_item(operation, self.vault, msgspec.Raw(item), self.moment()).result
        assert self._token.used <= operation.keys, (op, self._token.used)
        return result

    def respond(self, caller: Caller, op: str, items: list[bytes]) -> wire.Response:
        """What the server and the service do, without sockets, threads and records."""
        if self.away:
            raise BridgeAway(f"{op}: away")
        if caller not in OPERATIONS[op].callers:
            return wire.Response(id=0, err=wire.DENIED)
        if OPERATIONS[op].needs_legal_time and not self._is_clock_good():
            return wire.Response(id=0, err=wire.CLOCK_AWAY)
        results = [self.perform(op, item) for item in items]
        if self.lose_answers:
            self.lose_answers -= 1
            raise BridgeAway(f"{op}: the answer is lost")
        return wire.Response(id=0, results=results)

    def on_another_host(self, legal_now: Callable[[], datetime]) -> "FakeBridge":
        """The same keys under another clock, which nobody compares with the database's: an authority elsewhere."""
        other = copy(self)
        other._legal_now, other.database_now = legal_now, None
        return other

    def _is_clock_good(self) -> bool:
        """As the bridge compares it."""
        if self.database_now is None:
            return True
        own = self._legal_now()
        comparison = ClockComparison(self._legal_now, lambda: 0.0)
        comparison.keep(ClockReading(own, self.database_now(), own))
        try:
            comparison.check()
        except ClockAway:
            return False
        return True


class _InMemoryClient(BridgeClient):
    """The client with a function call for a socket."""

    def __init__(self, fake: FakeBridge, caller: Caller) -> None:
        super().__init__(NO_FILE)
        self._fake = fake
        self._caller = caller

    async def exchange(self, op: str, items: list[bytes]) -> wire.Response:
        await anyio.lowlevel.checkpoint()  # as the real one: others may run before the answer is there
        response = self._fake.respond(self._caller, op, items)
        await anyio.lowlevel.checkpoint()
        return wire.decode(wire.encode(response), wire.Response)


def right_to(delivery: UUID, documents: Iterable[bytes], person: bytes | None = None) -> tickets.Right:
    """What an identification found, of somebody who is the addressee."""
    person = person or person_sha256("Jeanne", "Martin", date(1980, 5, 17), "subject-1")
    return tickets.Right(
        delivery, person, "substantial", "consumer", documents_sha256(documents), bytes(32), "birth_name"
    )


def decision_item(ticket: bytes, delivery: UUID, act: str) -> wire.Decide:
    """A decision as the portal asks for it; the intent is no test's matter but those of receipts."""
    return wire.Decide(ticket, delivery, act, UUID(int=1), "1/en", bytes(32))


def pinned(jwks_file: Path) -> IdentitySettings:
    """The identity providers of the tests, whose keys are in that file."""
    return structure(IdentitySettings, identity_table(NO_FILE, jwks_file))


def _settings(identity: IdentitySettings | None) -> Config:
    return Config(
        config_version="fake-1",
        mode="non_qualified",
        embedded=True,
        provider=Provider("Test Delivery", "FR", f"{POLICY}.1", f"{POLICY}.2"),
        token=TokenSettings(NO_FILE, "fake", NO_FILE),
        bridge=BridgeSettings(NO_FILE, NO_FILE, NO_FILE),
        objects=ObjectsSettings(root=NO_FILE),
        mail=MailSettings("127.0.0.1", 1, "none", "notice@registered.example"),
        gateway=GatewaySettings("127.0.0.1", 1, "http://127.0.0.1:8400"),
        identity=identity or pinned(NO_FILE),
        database=DatabaseSettings(socket_dir=NO_FILE, port=1, name="fake", password_dir=NO_FILE),
    )


def _keyring(token: SoftwareToken, settings: Config, valid_from: datetime) -> tuple[Keyring, bytes]:
    def serial() -> int:
        return int.from_bytes(token.random(16), "big") | 1

    key = certificates.TokenSigningKey(token, "ca-1")
    provider, mode = settings.provider, settings.mode
    der = certificates.authority_certificate(key, provider, mode, serial(), valid_from)
    authority = x509.load_der_x509_certificate(der)
    issue = {
        "seal": certificates.seal_certificate,
        "tsu": certificates.unit_certificate,
        "statement": certificates.statement_certificate,
    }
    keys = []
    for label, use in LABELS[1:]:
        public = None if use in ("kek", "mac", "webhook") else token.public_key(label)
        issued = None
        if use in issue and public is not None:
            issued = issue[use](authority, key, public, provider, mode, serial(), valid_from)
        since, until = valid_from, valid_from + timedelta(days=certificates.SEAL_DAYS)
        if issued is not None:
            certificate = x509.load_der_x509_certificate(issued)
            since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        edwards = token.edwards_key(label) if use == "webhook" else None
        keys.append(BridgeKey(label, use, public, issued, since, until, edwards))
    return Keyring(tuple(keys), authority, "ca-1"), certificates.revocation_list(authority, key, 1, valid_from)
