"""XAdES seals (ETSI EN 319 132-1, level B-B and B-T) written by template, already in canonical form.

Owns every byte of a seal: the bridge composes what it signs with these functions, and `pipeline.evidence`
re-emits a seal with the same functions and compares. The fragments are byte-equal to their exclusive Canonical
XML, so hashing a fragment is hashing what a verifier canonicalises; both references and SignedInfo name exclusive
C14N explicitly, because a reference without a transform is digested with inclusive C14N by other verifiers.
Signs nothing, parses nothing, knows no evidence vocabulary.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime

from pipeline.formats.instants import seconds_text

DS = "http://www.w3.org/2000/09/xmldsig#"
XADES = "http://uri.etsi.org/01903/v1.3.2#"
SIGNED_PROPERTIES_TYPE = "http://uri.etsi.org/01903#SignedProperties"  # EN 319 132-1 clause 4.4
EXCLUSIVE_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
ECDSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
SHA3_256 = "http://www.w3.org/2007/05/xmldsig-more#sha3-256"

EVIDENCE_END = b"</erds:Evidence>"
SIGNATURE_RAW_BYTES = 64  # r and s of a P-256 signature, XML Signature 1.1 section 6.4.3
PACKAGE_DOM_ID = "package"
# Purposes of seals over what is no evidence, nor a package of them: readers say so. Identifiers from UUIDs (X.667).
# The first is what the service lists, in lines that nobody checked; the second is of papers, and nothing seals any yet.
LIST_OF_THE_SERVICE = "urn:oid:2.25.144953922997375303292417217533035904084"
READING_COPY = "urn:oid:2.25.236131667331294935621232277929964591600"
PACKAGE_ENTRIES_MAX = 500
ENTRY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,119}")

PackageEntries = Sequence[tuple[str, bytes]]  # (name inside the container, SHA-256 of its bytes)


def base64_text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def digest_elements(digest: bytes, algorithm: str = SHA256) -> str:
    """DigestMethod and DigestValue where `ds` is not yet declared by an element of the canonical output."""
    return (
        f'<ds:DigestMethod xmlns:ds="{DS}" Algorithm="{algorithm}"></ds:DigestMethod>'
        f'<ds:DigestValue xmlns:ds="{DS}">{base64_text(digest)}</ds:DigestValue>'
    )


def signed_properties(evidence_dom_id: str, signing_time: datetime, certificate_der: bytes) -> bytes:
    """SignedProperties of an evidence seal: when, with which certificate, over what kind of object."""
    return _signed_properties(evidence_dom_id, signing_time, certificate_der, ["text/xml"])


def package_signed_properties(
    entries: PackageEntries, signing_time: datetime, certificate_der: bytes, purpose: str | None = None
) -> bytes:
    """SignedProperties of a package seal: one DataObjectFormat per entry, in the order of the references. purpose: of a
    seal over what is no package of evidences."""
    formats = [entry_mime_type(name) for name, _ in entries]
    return _signed_properties(PACKAGE_DOM_ID, signing_time, certificate_der, formats, purpose)


def _signed_properties(
    dom_id: str, signing_time: datetime, certificate_der: bytes, mime_types: list[str], purpose: str | None = None
) -> bytes:
    certificate_sha256 = hashlib.sha256(certificate_der).digest()
    # EN 319 132-1 clause 5.2.4: a DataObjectFormat for every signed object but the properties themselves.
    objects = "".join(
        f'<xades:DataObjectFormat ObjectReference="#{dom_id}-reference-{number}">'
        f"<xades:MimeType>{mime_type}</xades:MimeType></xades:DataObjectFormat>"
        for number, mime_type in enumerate(mime_types, start=1)
    )
    return (
        f'<xades:SignedProperties xmlns:xades="{XADES}" Id="{dom_id}-properties">'
        "<xades:SignedSignatureProperties>"
        f"<xades:SigningTime>{seconds_text(signing_time)}</xades:SigningTime>"
        "<xades:SigningCertificateV2><xades:Cert><xades:CertDigest>"
        f"{digest_elements(certificate_sha256)}"
        "</xades:CertDigest></xades:Cert></xades:SigningCertificateV2>"
        "</xades:SignedSignatureProperties>"
        f"<xades:SignedDataObjectProperties>{objects}{_commitment(purpose)}</xades:SignedDataObjectProperties>"
        "</xades:SignedProperties>"
    ).encode()


def _commitment(purpose: str | None) -> str:
    """EN 319 132-1 clause 5.2.3: what the seal says of all that it is over."""
    if purpose is None:
        return ""
    return (
        "<xades:CommitmentTypeIndication><xades:CommitmentTypeId>"
        f'<xades:Identifier Qualifier="OIDAsURN">{purpose}</xades:Identifier>'
        "</xades:CommitmentTypeId><xades:AllSignedDataObjects></xades:AllSignedDataObjects>"
        "</xades:CommitmentTypeIndication>"
    )


def signed_info(evidence_dom_id: str, canonical_sha256: bytes, signed_properties_bytes: bytes) -> bytes:
    """SignedInfo of an evidence seal; ECDSA signs the SHA-256 of these bytes."""
    reference = _reference(
        f"{evidence_dom_id}-reference-1",
        f"#{evidence_dom_id}",
        canonical_sha256,
        transforms=[ENVELOPED, EXCLUSIVE_C14N],
    )
    return _signed_info(evidence_dom_id, reference, signed_properties_bytes)


def package_signed_info(entries: PackageEntries, signed_properties_bytes: bytes) -> bytes:
    """SignedInfo of a package seal: one reference per entry, over its raw bytes."""
    if not 1 <= len(entries) <= PACKAGE_ENTRIES_MAX:
        raise ValueError(f"{len(entries)} package entries, 1 to {PACKAGE_ENTRIES_MAX} allowed")
    references = "".join(
        _reference(f"{PACKAGE_DOM_ID}-reference-{number}", _entry_uri(name), sha256, transforms=[])
        for number, (name, sha256) in enumerate(entries, start=1)
    )
    return _signed_info(PACKAGE_DOM_ID, references, signed_properties_bytes)


def _entry_uri(name: str) -> str:
    """Names need no percent-encoding by construction, so name and URI are the same string."""
    if not ENTRY_NAME.fullmatch(name) or ".." in name or "//" in name:
        raise ValueError(f"package entry name not allowed: {name[:120]!r}")
    return name


def _signed_info(dom_id: str, references: str, signed_properties_bytes: bytes) -> bytes:
    properties = _reference(
        f"{dom_id}-reference-properties",
        f"#{dom_id}-properties",
        hashlib.sha256(signed_properties_bytes).digest(),
        transforms=[EXCLUSIVE_C14N],
        reference_type=SIGNED_PROPERTIES_TYPE,
    )
    return (
        f'<ds:SignedInfo xmlns:ds="{DS}">'
        f'<ds:CanonicalizationMethod Algorithm="{EXCLUSIVE_C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{ECDSA_SHA256}"></ds:SignatureMethod>'
        f"{references}{properties}</ds:SignedInfo>"
    ).encode()


def _reference(
    dom_id: str, uri: str, sha256: bytes, *, transforms: list[str], reference_type: str | None = None
) -> str:
    if len(sha256) != hashlib.sha256().digest_size:
        raise ValueError(f"digest of {len(sha256)} bytes is not SHA-256")
    of_type = f' Type="{reference_type}"' if reference_type else ""
    steps = "".join(f'<ds:Transform Algorithm="{transform}"></ds:Transform>' for transform in transforms)
    return (
        f'<ds:Reference Id="{dom_id}"{of_type} URI="{uri}">'
        + (f"<ds:Transforms>{steps}</ds:Transforms>" if steps else "")
        + f'<ds:DigestMethod Algorithm="{SHA256}"></ds:DigestMethod>'
        f"<ds:DigestValue>{base64_text(sha256)}</ds:DigestValue></ds:Reference>"
    )


def signature_value_element(signature_raw: bytes) -> bytes:
    """Canonical SignatureValue; the SHA-256 of these bytes is the imprint that the time-stamp signs.

    EN 319 132-1 clause 5.3: the signature time-stamp covers the canonicalised ds:SignatureValue element.
    """
    if len(signature_raw) != SIGNATURE_RAW_BYTES:
        raise ValueError(f"signature of {len(signature_raw)} bytes, {SIGNATURE_RAW_BYTES} expected")
    return f'<ds:SignatureValue xmlns:ds="{DS}">{base64_text(signature_raw)}</ds:SignatureValue>'.encode()


def imprint_sha256(signature_raw: bytes) -> bytes:
    return hashlib.sha256(signature_value_element(signature_raw)).digest()


def signature_element(
    evidence_dom_id: str,
    signed_info_bytes: bytes,
    signature_raw: bytes,
    certificate_der: bytes,
    signed_properties_bytes: bytes,
    token: bytes | None = None,
) -> bytes:
    """The whole ds:Signature: level B-B without a time-stamp token, B-T with one.

    KeyInfo holds the leaf certificate and nothing else: a verifier must not find chain material it might trust.
    """
    return b"".join(
        [
            f'<ds:Signature xmlns:ds="{DS}" Id="{evidence_dom_id}-signature">'.encode(),
            signed_info_bytes,
            signature_value_element(signature_raw),
            b"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>",
            base64.b64encode(certificate_der),
            b"</ds:X509Certificate></ds:X509Data></ds:KeyInfo><ds:Object>",
            f'<xades:QualifyingProperties xmlns:xades="{XADES}" Target="#{evidence_dom_id}-signature">'.encode(),
            signed_properties_bytes,
            b"" if token is None else _signature_time_stamp(token),
            b"</xades:QualifyingProperties></ds:Object></ds:Signature>",
        ]
    )


def sealed_document(
    dom_id: str, event_time: datetime, canonical: bytes, certificate_der: bytes, signature_raw: bytes, token: bytes
) -> tuple[bytes, bytes]:
    """(SignedInfo that the signature must be over, the evidence with its seal and token inside). The first three are of
    one evidence, as the strict reader of its head gives them."""
    properties = signed_properties(dom_id, event_time, certificate_der)
    info = signed_info(dom_id, hashlib.sha256(canonical).digest(), properties)
    return info, with_seal(
        canonical, signature_element(dom_id, info, signature_raw, certificate_der, properties, token)
    )


def with_seal(canonical: bytes, element: bytes) -> bytes:
    """The seal is the last thing in the evidence, enveloped."""
    return canonical[: -len(EVIDENCE_END)] + element + EVIDENCE_END


def package_signature_element(
    signed_info_bytes: bytes,
    signature_raw: bytes,
    certificate_der: bytes,
    signed_properties_bytes: bytes,
    token: bytes | None = None,
) -> bytes:
    return signature_element(
        PACKAGE_DOM_ID, signed_info_bytes, signature_raw, certificate_der, signed_properties_bytes, token
    )


def _signature_time_stamp(token: bytes) -> bytes:
    """The token names its canonicalisation, which is what `signature_value_element` wrote."""
    return (
        "<xades:UnsignedProperties><xades:UnsignedSignatureProperties><xades:SignatureTimeStamp>"
        f'<ds:CanonicalizationMethod Algorithm="{EXCLUSIVE_C14N}"></ds:CanonicalizationMethod>'
        f"<xades:EncapsulatedTimeStamp>{base64_text(token)}</xades:EncapsulatedTimeStamp>"
        "</xades:SignatureTimeStamp></xades:UnsignedSignatureProperties></xades:UnsignedProperties>"
    ).encode()


_MIME_TYPES = {
    "xml": "text/xml",
    "json": "application/json",
    "csv": "text/csv",
    "cer": "application/pkix-cert",  # RFC 2585 section 4.1
    "crl": "application/pkix-crl",
}


def entry_mime_type(name: str) -> str:
    """Type of a package entry, from its extension; `mimetype` itself is plain text."""
    if name == "mimetype":
        return "text/plain"
    return _MIME_TYPES.get(name.rpartition(".")[2], "application/octet-stream")
