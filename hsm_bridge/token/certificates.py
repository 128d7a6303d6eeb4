"""Certificates and revocation lists of the embedded authority, signed by its key in the token.

Owns     the profiles: authority, seal, time-stamping unit, statements, revocation list; and the key object that signs
         in the token
Rules    pure but for the signature: moment and serial number come from the caller
Elsewhere: when they are made (ceremony, crl renewal in service), files
Source   RFC 5280; ETSI EN 319 412-3 (seal), RFC 3161 section 2.3 and ETSI EN 319 422 (time-stamping unit)
"""

import hashlib
from datetime import datetime, timedelta
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import Buffer
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hsm_bridge.token.device import Token
from hsm_bridge.token.signatures import der_signature
from pipeline.formats.configuration import Mode, Provider
from pipeline.formats.statement import PURPOSE

CA_DAYS = 3652  # ten years
SEAL_DAYS = 1095  # three years
UNIT_DAYS = 1826  # five years: tokens stay checkable long after the key's last use
STATEMENT_KEY_DAYS = 1095  # three years; a statement itself lives for two weeks
CRL_DAYS = 7  # renewed daily, so that a week without the bridge does no harm
DEMONSTRATION = "Demonstration service, not legally recognised"


class TokenSigningKey(ec.EllipticCurvePrivateKey):
    """A key that stays in the token, in the form that certificate builders want."""

    def __init__(self, token: Token, label: str) -> None:
        self._token = token
        self._label = label

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        if not isinstance(signature_algorithm, ec.ECDSA) or not isinstance(
            signature_algorithm.algorithm, hashes.SHA256
        ):
            raise TypeError("only ECDSA with SHA-256")
        return der_signature(self._token.sign(self._label, hashlib.sha256(data).digest()))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._token.public_key(self._label)

    @property
    def curve(self) -> ec.EllipticCurve:
        return ec.SECP256R1()

    @property
    def key_size(self) -> int:
        return self.curve.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        raise TypeError("a signing key")

    def private_numbers(self) -> NoReturn:
        raise TypeError("the key is in the token")

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,  # noqa: A002  the name in the base class
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> NoReturn:
        raise TypeError("the key is in the token")

    def __copy__(self) -> "TokenSigningKey":
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> "TokenSigningKey":
        return self


def authority_certificate(key: TokenSigningKey, provider: Provider, mode: Mode, serial: int, moment: datetime) -> bytes:
    """The self-signed certificate that verifiers pin."""
    name = _name(provider, mode, f"{provider.name} CA")
    builder = _builder(name, name, key.public_key(), serial, moment, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
    return _signed(builder, key)


def seal_certificate(
    authority: x509.Certificate,
    key: TokenSigningKey,
    public: ec.EllipticCurvePublicKey,
    provider: Provider,
    mode: Mode,
    serial: int,
    moment: datetime,
) -> bytes:
    """For seals of the provider as a legal person."""
    name = _name(provider, mode, f"{provider.name} seal")
    builder = _builder(name, authority.subject, public, serial, moment, SEAL_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    # digitalSignature and nonRepudiation: validators of PDF seals want the second
    builder = builder.add_extension(_usage("digital_signature", "content_commitment"), critical=True)
    return _signed(_issued_by(builder, authority), key)


def unit_certificate(
    authority: x509.Certificate,
    key: TokenSigningKey,
    public: ec.EllipticCurvePublicKey,
    provider: Provider,
    mode: Mode,
    serial: int,
    moment: datetime,
) -> bytes:
    """For time-stamp tokens and nothing else: RFC 3161 section 2.3 wants one extended key usage, critical."""
    name = _name(provider, mode, f"{provider.name} time-stamping unit")
    builder = _builder(name, authority.subject, public, serial, moment, UNIT_DAYS)
    return _for_one_purpose(builder, ExtendedKeyUsageOID.TIME_STAMPING, authority, key)


def statement_certificate(
    authority: x509.Certificate,
    key: TokenSigningKey,
    public: ec.EllipticCurvePublicKey,
    provider: Provider,
    mode: Mode,
    serial: int,
    moment: datetime,
) -> bytes:
    """For statements of what is published and nothing else: readers want this usage, alone and critical."""
    name = _name(provider, mode, f"{provider.name} statements")
    builder = _builder(name, authority.subject, public, serial, moment, STATEMENT_KEY_DAYS)
    return _for_one_purpose(builder, PURPOSE, authority, key)


def _for_one_purpose(
    builder: x509.CertificateBuilder, purpose: x509.ObjectIdentifier, authority: x509.Certificate, key: TokenSigningKey
) -> bytes:
    """A leaf whose key signs for this purpose alone."""
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage("digital_signature"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    return _signed(_issued_by(builder, authority), key)


def revocation_list(authority: x509.Certificate, key: TokenSigningKey, number: int, moment: datetime) -> bytes:
    """A full list; nothing is revoked in an embedded installation, and saying so needs a fresh list."""
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=authority.subject, last_update=moment, next_update=moment + timedelta(days=CRL_DAYS)
    )
    builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    builder = builder.add_extension(_authority_key(authority), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _name(provider: Provider, mode: Mode, common: str) -> x509.Name:
    attributes = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, provider.country),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, provider.name),
    ]
    if mode == "non_qualified":
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, DEMONSTRATION))
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, serial: int, moment: datetime, days: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public,
        serial_number=serial,
        not_valid_before=moment,
        not_valid_after=moment + timedelta(days=days),
    )
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _issued_by(builder: x509.CertificateBuilder, authority: x509.Certificate) -> x509.CertificateBuilder:
    return builder.add_extension(_authority_key(authority), critical=False)


def _authority_key(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _usage(*allowed: str) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in allowed for name in names})


def _signed(builder: x509.CertificateBuilder, key: TokenSigningKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
