"""Which certificates may seal or stamp, and who vouches for them: trust anchors given from outside, and CRLs.

Owns the rules for a chain of length one: a leaf issued directly by an anchor. Anchors are given by the person who
verifies, never taken from what is verified. Works offline: revocation is known only from the lists that are handed in,
and a list counts only when the anchor that vouches for the leaf signed it. Reading a certificate is
`formats.certificate_path`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pipeline.formats.certificate_path import UNREADABLE, CertificateUnreadable, read_certificate

Extension = TypeVar("Extension", bound=x509.ExtensionType)

CRL_BYTES_MAX = 1_048_576


class CertificateRefused(ValueError):
    """A certificate or revocation list that does not count, and why."""


def load(der: bytes) -> x509.Certificate:
    """One DER certificate, read strictly."""
    try:
        return read_certificate(der)
    except CertificateUnreadable as error:
        raise CertificateRefused(str(error)) from error


def load_anchors(source: bytes) -> tuple[bytes, ...]:
    """DER certificates from a PEM bundle or one DER file."""
    try:
        if b"-----BEGIN" in source:
            certificates = x509.load_pem_x509_certificates(source)
        else:
            certificates = [x509.load_der_x509_certificate(source)]
    except ValueError as error:
        raise CertificateRefused("not a certificate, neither PEM nor DER") from error
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def check_seal_certificate(der: bytes) -> None:
    """A leaf for seals: not an authority, and its key may sign (RFC 5280 sections 4.2.1.3 and 4.2.1.9)."""
    leaf = load(der)
    usage = _extension(leaf, x509.KeyUsage)
    if _is_authority(leaf) or usage is None or not (usage.digital_signature or usage.content_commitment):
        raise CertificateRefused("the certificate is not for seals")
    if _extension(leaf, x509.ExtendedKeyUsage) is not None:
        raise CertificateRefused("the certificate has an extended key usage, so it is not the one for seals")


def check_issued(der: bytes, anchors: Sequence[bytes], moment: datetime) -> bytes:
    """The anchor that vouches for a leaf at `moment` (DER); raises when there is none.

    RFC 5280 section 6.1, for a path of one certificate: issuer name and signature, validity of both at the moment,
    authority and key usage of the issuer.
    """
    leaf = load(der)
    _check_validity(leaf, moment, "the certificate")
    for anchor_der in anchors:
        anchor = load(anchor_der)
        if not _issued(der, anchor_der):
            continue
        usage = _extension(anchor, x509.KeyUsage)
        if not _is_authority(anchor) or usage is None or not usage.key_cert_sign:
            raise CertificateRefused("the issuer is not a certificate authority")
        _check_validity(anchor, moment, "the trust anchor")
        return anchor_der
    raise CertificateRefused("no given trust anchor issued the certificate")


@lru_cache(maxsize=256)
def _issued(leaf_der: bytes, anchor_der: bytes) -> bool:
    try:
        load(leaf_der).verify_directly_issued_by(load(anchor_der))
    except (InvalidSignature, *UNREADABLE):
        return False  # another anchor may be the one
    return True


def _check_validity(certificate: x509.Certificate, moment: datetime, name: str) -> None:
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        raise CertificateRefused(f"{name} was not valid at that time")


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A CRL that an anchor signed."""

    anchor_der: bytes
    crl: x509.CertificateRevocationList


def load_crl(der: bytes, anchors: Sequence[bytes]) -> RevocationList | None:
    """The list with the anchor that signed it; None when no given anchor did, so that it says nothing."""
    crl = _parse_crl(der)
    for anchor_der in anchors:
        key = load(anchor_der).public_key()
        if crl.issuer != load(anchor_der).subject or not isinstance(key, ec.EllipticCurvePublicKey):
            continue
        if crl.is_signature_valid(key):
            return RevocationList(anchor_der, crl)
    return None


@lru_cache(maxsize=16)
def _parse_crl(der: bytes) -> x509.CertificateRevocationList:
    if len(der) > CRL_BYTES_MAX:
        raise CertificateRefused("revocation list too large")
    try:
        crl = x509.load_der_x509_crl(der)
        crl.issuer  # noqa: B018 - parsed lazily, like the signature's algorithm and the entries
        crl.signature_hash_algorithm  # noqa: B018
        for entry in crl:
            entry.extensions  # noqa: B018
    except UNREADABLE as error:
        raise CertificateRefused("not a revocation list") from error
    return crl


# RFC 3161 section 4: after a revocation for these reasons, tokens made before it stay valid; after any other, none is.
_HARMLESS_FOR_TIME_STAMPS = frozenset(
    {
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
    }
)


def check_not_revoked(
    der: bytes, anchor_der: bytes, lists: Sequence[RevocationList], moment: datetime, *, time_stamping: bool
) -> None:
    """Raises when a list says that the certificate was revoked, in a way that touches what was done at `moment`.

    A seal proved to be older than the revocation stands (EN 319 102-1 clause 5.6.2.4); a token of a time-stamping
    unit whose key was compromised does not, because its own time is what the key could forge.
    """
    leaf = load(der)
    for revocation_list in lists:
        entry = revocation_list.crl.get_revoked_certificate_by_serial_number(leaf.serial_number)
        if revocation_list.anchor_der != anchor_der or entry is None:
            continue
        if _revoked_since(entry) <= moment or (time_stamping and _reason(entry) not in _HARMLESS_FOR_TIME_STAMPS):
            raise CertificateRefused("the certificate was revoked at that time")


def _revoked_since(entry: x509.RevokedCertificate) -> datetime:
    """The earlier of revocation and invalidity date (RFC 5280 section 5.3.2: when the key was last good)."""
    try:
        invalidity = entry.extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date_utc
    except x509.ExtensionNotFound:
        return entry.revocation_date_utc
    return min(entry.revocation_date_utc, invalidity)


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None
