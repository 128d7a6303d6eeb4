"""The sealed document: canonical evidence with its XAdES seal inside (ETSI EN 319 132-1, B-B and B-T).

Owns putting together (`assemble`, of rows `assemble_stored`), checking a seal (`verified_seal`; `check_fresh_seal` by
who had it made), and the strict way back (`take_apart`). A document is accepted only if assembling its parts again
gives the same bytes, so there is nothing in it that was not looked at. Time-stamps are judged in `time_stamp`,
certificates in `certificates`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pipeline.evidence.certificates import CertificateRefused, load
from pipeline.formats import xades
from pipeline.formats.canonical_xml import Cursor, XmlRefused, parse
from pipeline.formats.evidence_head import EvidenceHead, HeadError, bytes_of, dom_id_of, parse_evidence_head

_SIGNATURE_START = b'<ds:Signature xmlns:ds="'


class SealInvalid(ValueError):
    """The seal does not hold, or the document is not one that `assemble` writes."""


@dataclass(frozen=True, slots=True)
class SealParts:
    """What varies in a signature element; everything else follows from it and from what is signed."""

    signature: bytes
    certificate_der: bytes
    token: bytes | None
    signing_time: str  # as written; an evidence's follows from its EventTime, a package's is its own


@dataclass(frozen=True, slots=True)
class SealedDocument:
    canonical: bytes
    seal: SealParts


@dataclass(frozen=True, slots=True)
class SignedParts:
    """SignedInfo and SignedProperties as they must be for one evidence and one certificate."""

    dom_id: str
    info: bytes
    properties: bytes


def signed_parts(canonical: bytes, certificate_der: bytes) -> SignedParts:
    """Recompute what the bridge signed; SigningTime is EventTime in whole seconds."""
    try:
        head = parse_evidence_head(canonical)
    except HeadError as error:
        raise SealInvalid(f"not an evidence: {error}") from error
    return _signed(head.dom_id, head.event_time, canonical, certificate_der)


def _signed(dom_id: str, event_time: datetime, canonical: bytes, certificate_der: bytes) -> SignedParts:
    properties = xades.signed_properties(dom_id, event_time, certificate_der)
    info = xades.signed_info(dom_id, hashlib.sha256(canonical).digest(), properties)
    return SignedParts(dom_id, info, properties)


def assemble(canonical: bytes, certificate_der: bytes, signature: bytes, token: bytes | None) -> bytes:
    """The document to store and ship unchanged: B-B without a token, B-T with one."""
    return _assembled(signed_parts(canonical, certificate_der), canonical, certificate_der, signature, token)


def _assembled(
    signed: SignedParts, canonical: bytes, certificate_der: bytes, signature: bytes, token: bytes | None
) -> bytes:
    element = xades.signature_element(signed.dom_id, signed.info, signature, certificate_der, signed.properties, token)
    return xades.with_seal(canonical, element)


def assemble_stored(canonical: bytes, certificate_der: bytes, signature: bytes, token: bytes | None) -> bytes:
    """`assemble` for who has its parts from rows: SealInvalid for a certificate that the evidence does not name."""
    try:
        head = parse_evidence_head(canonical)
    except HeadError as error:
        raise SealInvalid(f"not an evidence: {error}") from error
    if head.certificate_sha256 != hashlib.sha256(certificate_der).digest():
        raise SealInvalid("the evidence names another seal certificate")
    signed = _signed(head.dom_id, head.event_time, canonical, certificate_der)
    return _assembled(signed, canonical, certificate_der, signature, token)


def verified_seal(canonical: bytes, certificate_der: bytes, signature: bytes) -> None:
    """Raises SealInvalid unless `signature` (r and s) seals exactly these bytes with this certificate's key."""
    try:
        head = parse_evidence_head(canonical)
    except HeadError as error:
        raise SealInvalid(f"not an evidence: {error}") from error
    check_seal_of(head, canonical, certificate_der, signature)


def check_seal_of(head: EvidenceHead, canonical: bytes, certificate_der: bytes, signature: bytes) -> None:
    """`verified_seal` for who has read the head: it must be what `parse_evidence_head` makes of these bytes."""
    if head.certificate_sha256 != hashlib.sha256(certificate_der).digest():
        raise SealInvalid("the evidence names another seal certificate")
    signed = _signed(head.dom_id, head.event_time, canonical, certificate_der)
    check_signature(signed.info, signature, certificate_der)


def check_fresh_seal(
    evidence: UUID, event_time: datetime, canonical: bytes, certificate_der: bytes, signature: bytes
) -> None:
    """Raises SealInvalid unless `signature` seals these bytes as this evidence of this time, with this certificate.

    For who has just had drafted bytes sealed. The bytes are not read again: identifier, time and certificate are under
    the signature, so one that verifies says that the bridge read the same ones in the bytes.
    """
    signed = _signed(dom_id_of(evidence), event_time, canonical, certificate_der)
    check_signature(signed.info, signature, certificate_der)


def check_signature(signed_info: bytes, signature: bytes, certificate_der: bytes) -> None:
    """ECDSA with SHA-256 on P-256, the only suite this service seals with."""
    if len(signature) != xades.SIGNATURE_RAW_BYTES:
        raise SealInvalid("signature of the wrong length")
    try:
        key = load(certificate_der).public_key()
    except CertificateRefused as error:
        raise SealInvalid(str(error)) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SealInvalid("the seal key is not on P-256")
    half = xades.SIGNATURE_RAW_BYTES // 2
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    try:
        key.verify(encode_dss_signature(r, s), signed_info, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise SealInvalid("the signature does not verify") from error


def take_apart(document: bytes) -> SealedDocument:
    """Split an assembled document; raises SealInvalid unless assembling the parts gives the same bytes."""
    start = document.rfind(_SIGNATURE_START)
    if start < 0 or not document.endswith(xades.EVIDENCE_END):
        raise SealInvalid("no seal inside the evidence")
    canonical = document[:start] + xades.EVIDENCE_END
    seal = read_signature(document[start : -len(xades.EVIDENCE_END)])
    if assemble(canonical, seal.certificate_der, seal.signature, seal.token) != document:
        raise SealInvalid("the seal is not in the form this service writes")
    return SealedDocument(canonical, seal)


def read_signature(element: bytes) -> SealParts:
    """The varying parts of a ds:Signature. The caller re-emits and compares, which judges all the rest."""
    try:
        root = parse(element)
        if root.name != "ds:Signature":
            raise XmlRefused("not a signature")
        cursor = Cursor(root)
        cursor.any_attributes("ds:SignedInfo")
        signature = bytes_of(cursor.any_attributes("ds:SignatureValue").text)
        data = cursor.inside("ds:KeyInfo").inside("ds:X509Data")
        certificate_der = bytes_of(data.text("ds:X509Certificate"))
        qualifying = Cursor(cursor.inside("ds:Object").any_attributes("xades:QualifyingProperties"))
        properties = Cursor(qualifying.any_attributes("xades:SignedProperties"))
        signing_time = Cursor(properties.element("xades:SignedSignatureProperties")).text("xades:SigningTime")
        token = _token(qualifying) if qualifying.next_is("xades:UnsignedProperties") else None
    except XmlRefused as error:
        raise SealInvalid(f"not a seal: {error}") from error
    if len(signature) != xades.SIGNATURE_RAW_BYTES:
        raise SealInvalid("signature of the wrong length")
    return SealParts(signature, certificate_der, token, signing_time)


def _token(qualifying: Cursor) -> bytes:
    properties = qualifying.inside("xades:UnsignedProperties").inside("xades:UnsignedSignatureProperties")
    stamp = properties.inside("xades:SignatureTimeStamp")
    stamp.any_attributes("ds:CanonicalizationMethod")
    return bytes_of(stamp.text("xades:EncapsulatedTimeStamp"))
