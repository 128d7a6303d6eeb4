"""Which keys there are, what each is for, and from when to when.

Owns     the names of keys (seal-YYYY-n, tsu-YYYY-n, statement-YYYY-n, webhook-YYYY-n, intake-YYYYMM, kek-YYYYMM,
         identity-n, mac-n, ca-n), their certificates and revocation list as files, and the choice of the key that does
         new work
Rules    a key is known by its label in the token; its time is its certificate's, or follows from the month in its name;
         a key does nothing new after its end but stays usable until no draft names it
Elsewhere: key operations (token), making keys (ceremony)
"""

import hashlib
import json
import os
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm_bridge.token.device import KeyMissing, KeyUse, Token, TokenStopped
from pipeline.formats.configuration import Config

MONTHLY_KEY_DAYS = 400  # a new one comes every month; the long end keeps a forgotten rotation from stopping the service
YEARLY_KEY_DAYS = 731  # of webhooks, likewise: receivers keep the keys of two years
LABEL = re.compile(
    r"(?:(ca|identity|mac)-(\d{1,4})|(seal|tsu|statement|webhook)-(\d{4})-(\d{1,4})|(intake|kek)-(\d{4})(0[1-9]|1[0-2]))"
)
PUBLIC_FILE_BYTES_MAX = 1024 * 1024

PublicUse = Literal["seal", "time", "intake", "identity", "webhook"]
_PUBLIC_USES: dict[KeyUse, PublicUse] = {
    "seal": "seal",
    "tsu": "time",
    "intake": "intake",
    "identity": "identity",
    "webhook": "webhook",
}


@dataclass(frozen=True, slots=True)
class BridgeKey:
    """One key; certificate: DER, for seal, tsu and statement; edwards: the public half of a webhook key."""

    key_id: str
    use: KeyUse
    public: ec.EllipticCurvePublicKey | None
    certificate: bytes | None
    not_before: datetime
    not_after: datetime
    edwards: ed25519.Ed25519PublicKey | None = None

    @property
    def public_use(self) -> PublicUse | None:
        """The name under which others know this use; None for keys that nobody else sees."""
        return _PUBLIC_USES.get(self.use)

    @property
    def spki(self) -> bytes | None:
        """SubjectPublicKeyInfo of the public half; None for a secret key."""
        public = self.public or self.edwards
        return None if public is None else public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def certificate_sha256(self) -> bytes:
        if self.certificate is None:
            raise KeyMissing(f"{self.key_id} has no certificate")
        return hashlib.sha256(self.certificate).digest()

    def may_start(self, moment: datetime) -> bool:
        """Whether new work may name this key."""
        return self.not_before <= moment <= self.not_after


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys of the token, oldest first within a use, and the authority's certificate."""

    keys: tuple[BridgeKey, ...]
    authority: x509.Certificate
    authority_label: str

    def of(self, use: KeyUse) -> tuple[BridgeKey, ...]:
        return tuple(key for key in self.keys if key.use == use)

    def newest(self, use: KeyUse, moment: datetime) -> BridgeKey:
        """The key that does new work; raises KeyMissing when none may."""
        usable = [key for key in self.of(use) if key.may_start(moment)]
        if not usable:
            raise KeyMissing(f"no {use} key is valid at {moment:%Y-%m-%d}; run the key ceremony")
        return usable[-1]

    def last(self, use: KeyUse) -> BridgeKey:
        """The newest key of a use that knows no end; raises KeyMissing."""
        if not (keys := self.of(use)):
            raise KeyMissing(f"there is no {use} key; run the key ceremony")
        return keys[-1]

    def by_id(self, key_id: str, use: KeyUse) -> BridgeKey:
        """A key of this use by its name; raises KeyMissing."""
        for key in self.of(use):
            if key.key_id == key_id:
                return key
        raise KeyMissing(f"no {use} key has the name that the item gives")

    def identity_jwk(self) -> bytes:
        """The newest identity key as JSON Web Key (RFC 7517), for encryption to it."""
        key = self.last("identity")
        if key.public is None:
            raise KeyMissing(f"{key.key_id} has no public half")
        point = key.public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        x, y = (urlsafe_b64encode(part).rstrip(b"=").decode() for part in (point[1:33], point[33:]))
        jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": key.key_id, "use": "enc", "alg": "ECDH-ES"}
        return json.dumps(jwk, separators=(",", ":")).encode()


def load(token: Token, config: Config) -> Keyring:
    """Reads labels and certificate files; raises KeyMissing, or TokenStopped for what does not fit together."""
    labels = sorted(
        (parsed for label in token.labels() if (parsed := _parse(label)) is not None), key=lambda p: p.order
    )
    authority_label = next((p.label for p in labels if p.use == "ca"), None)
    if authority_label is None:
        raise KeyMissing("the token holds no authority key; run the key ceremony")
    authority = x509.load_der_x509_certificate(read_certificate(config, authority_label))
    if authority.public_key() != token.public_key(authority_label):
        raise TokenStopped("the authority's certificate is not for the key in the token")
    keys = tuple(_key(token, config, parsed, authority) for parsed in labels if parsed.use != "ca")
    return Keyring(keys, authority, authority_label)


def read_certificate(config: Config, label: str) -> bytes:
    """The certificate file of a key; raises KeyMissing when there is none."""
    path = certificate_path(config, label)
    if not path.exists():
        raise KeyMissing(f"{path.name} is missing; run the key ceremony")
    return path.read_bytes()[:PUBLIC_FILE_BYTES_MAX]


def certificate_path(config: Config, label: str) -> Path:
    return config.bridge.data_dir / "public" / f"{label}.der"


def crl_path(config: Config) -> Path:
    return config.bridge.public_dir / "crl.der"


def write_public(path: Path, data: bytes) -> None:
    """Whole or not at all, and durable: a crash leaves the old file or the new one."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(0o644)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A label taken apart; order sorts seal-2026-10 after seal-2026-9."""

    label: str
    use: KeyUse
    order: tuple[str, int, int]


def _parse(label: str) -> _Parsed | None:
    """None for keys that are not ours: a token may be shared."""
    match = LABEL.fullmatch(label)
    if match is None:
        return None
    single, number, yearly, year, count, monthly, month_year, month = match.groups()
    if single:
        return _Parsed(label, cast("KeyUse", single), (single, int(number), 0))
    if yearly:
        return _Parsed(label, cast("KeyUse", yearly), (yearly, int(year), int(count)))
    return _Parsed(label, cast("KeyUse", monthly), (monthly, int(month_year), int(month)))


def _key(token: Token, config: Config, parsed: _Parsed, authority: x509.Certificate) -> BridgeKey:
    label, use = parsed.label, parsed.use
    token.check_key(label, use)
    if use == "webhook":
        start = datetime(parsed.order[1], 1, 1, tzinfo=UTC)
        edwards = token.edwards_key(label)
        return BridgeKey(label, use, None, None, start, start + timedelta(days=YEARLY_KEY_DAYS), edwards)
    public = None if use in ("kek", "mac") else token.public_key(label)
    if use in ("seal", "tsu", "statement"):
        certificate = x509.load_der_x509_certificate(der := read_certificate(config, label))
        certificate.verify_directly_issued_by(authority)
        if certificate.public_key() != public:
            raise TokenStopped(f"the certificate of {label} is not for the key in the token")
        return BridgeKey(label, use, public, der, certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    if use in ("intake", "kek"):
        start = datetime(parsed.order[1], parsed.order[2], 1, tzinfo=UTC)
        return BridgeKey(label, use, public, None, start, start + timedelta(days=MONTHLY_KEY_DAYS))
    return BridgeKey(label, use, public, None, authority.not_valid_before_utc, authority.not_valid_after_utc)
