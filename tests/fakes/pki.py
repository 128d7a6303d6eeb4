"""A certificate authority, a seal and a time-stamping unit in software, for tests only.

Signs what the bridge signs, with the same `pipeline.formats` functions. Product code has no software keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipeline.evidence.facts import EvidenceDraft
from pipeline.evidence.form import xades
from pipeline.evidence.package import snapshot as package
from pipeline.formats import tst
from pipeline.formats.package_form import SnapshotContents
from pipeline.formats.xades import imprint_sha256

FROM = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2036, 1, 1, tzinfo=UTC)
TSA_POLICY = "2.25.329800735698586629295641978511506172918.2"
TIME_STAMPING = [ExtendedKeyUsageOID.TIME_STAMPING]


@dataclass(frozen=True, slots=True)
class Signer:
    """A key with its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.der).digest()

    def sign_raw(self, message: bytes) -> bytes:
        """ECDSA with SHA-256, r and s of 32 bytes each."""
        r, s = utils.decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def authority(name: str = "Test Authority", *, is_authority: bool = True) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key, FROM, UNTIL)
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    builder = builder.add_extension(_usage(certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Signer(key, builder.sign(key, hashes.SHA256()))


def leaf(
    issuer: Signer,
    name: str = "Test Seal",
    *,
    purposes: list[x509.ObjectIdentifier] | None = None,
    addresses: Sequence[str] = (),
    not_before: datetime = FROM,
    not_after: datetime = UNTIL,
) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, issuer.certificate.subject, key, not_before, not_after)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(certificates=False), critical=True)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    builder = builder.add_extension(issuer_key, critical=False)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
    if addresses:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(one)) for one in addresses])
        builder = builder.add_extension(names, critical=False)
    return Signer(key, builder.sign(issuer.key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=not certificates,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def revocation_list(
    issuer: Signer,
    revoked: list[tuple[Signer, datetime, x509.ReasonFlags]],
    at: datetime = FROM + timedelta(days=60),
) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    builder = builder.last_update(at).next_update(at + timedelta(days=7))
    for signer, since, reason in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(signer.certificate.serial_number)
        entry = entry.revocation_date(since).add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def time_stamp(
    unit: Signer, imprint: bytes, gen_time: datetime, *, accuracy_seconds: int = 1, certificate: bytes | None = None
) -> bytes:
    """A token as the bridge's authority makes it."""
    stamp = tst.Stamp(
        policy=TSA_POLICY,
        imprint_algorithm="sha256",
        imprint=imprint,
        serial=x509.random_serial_number() >> 32,
        gen_time=gen_time,
        accuracy_seconds=accuracy_seconds,
        nonce=None,
    )
    info = tst.encode_stamp(stamp)
    signature = unit.key.sign(tst.signed_attributes(info, unit.sha256), ec.ECDSA(hashes.SHA256()))
    issuer = unit.certificate.issuer.public_bytes()
    serial = unit.certificate.serial_number
    return tst.encode_token(info, signature, issuer, serial, unit.sha256, certificate or unit.der)


@dataclass(frozen=True, slots=True)
class Provider:
    """A whole small trust service."""

    root: Signer
    seal: Signer
    unit: Signer

    @classmethod
    def new(cls) -> Provider:
        root = authority()
        return cls(root, leaf(root), leaf(root, "Test Time-Stamping Unit", purposes=TIME_STAMPING))

    def sealed(self, draft: EvidenceDraft, lag: timedelta = timedelta(milliseconds=250)) -> bytes:
        """An assembled B-T document, its seal checked as the seal stage checks it."""
        return self.sealed_bytes(draft.canonical, draft.event_time + lag)

    def sealed_bytes(self, canonical: bytes, stamped_at: datetime) -> bytes:
        signature = self.seal.sign_raw(xades.signed_parts(canonical, self.seal.der).info)
        xades.verified_seal(canonical, self.seal.der, signature)
        token = time_stamp(self.unit, imprint_sha256(signature), stamped_at)
        return xades.assemble(canonical, self.seal.der, signature, token)

    def packed(self, snapshot: SnapshotContents, signing_time: datetime) -> bytes:
        return self.packed_raw(package.package_to_sign(snapshot, signing_time))

    def packed_raw(self, to_sign: package.PackageToSign) -> bytes:
        signature = self.seal.sign_raw(package.package_signed_info(to_sign, self.seal.der))
        token = time_stamp(self.unit, imprint_sha256(signature), to_sign.signing_time + timedelta(seconds=1))
        return package.finish(to_sign, self.seal.der, signature, token)
