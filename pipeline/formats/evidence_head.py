"""What the bridge must know of an evidence before it seals it, read from the bytes that will be sealed.

Owns the vocabulary (namespaces, times) and the strict reading of the head. The bridge decides by the head
whether a seal is allowed, so nothing in the bytes may be understood otherwise by a later reader: canonical subset
only, known top-level elements only, each at its place, no second `Id`, no signature. The full template and its
reading are in `pipeline.evidence.form.xml`; this file reads the head alone and writes nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from pipeline.formats import xades
from pipeline.formats.canonical_xml import Attributes, Cursor, Element, XmlRefused, parse
from pipeline.formats.events import CODE_OF_URI

ERDS = "http://uri.etsi.org/19522/v1#"
OURS = "urn:qerds:evidence:1"
VERSION = "EN319522v1.1.1"  # the constant of EN 319 522-3 clause 5.2.2.3, also in its V1.2.1

ORDINAL_MAX = 2**32 - 1  # four bytes in `evidence_id`
MODES = frozenset({"non_qualified", "qualified"})

OURS_DECLARED: Attributes = (("xmlns:q", OURS),)
DS_DECLARED: Attributes = (("xmlns:ds", xades.DS),)
_DIGEST_METHOD: Attributes = (*DS_DECLARED, ("Algorithm", xades.SHA256))

_TOP_LEVEL = (
    "erds:EvidenceIdentifier",
    "erds:ERDSEventId",
    "erds:EventReasons",
    "EventTime",
    "erds:EvidenceIssuerPolicyID",
    "erds:EvidenceIssuerDetails",
    "erds:SenderDetails",
    "erds:RecipientDetails",
    "erds:SubmissionTime",
    "erds:MessageIdentifier",
    "erds:UserContentInfo",
    "erds:TransactionLogInformation",
    "erds:Extensions",
)
_OPTIONAL = frozenset({"erds:EventReasons", "erds:Extensions"})
_YEAR_MIN, _YEAR_MAX = 2000, 2999  # adding days or converting zones cannot overflow
_MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


class HeadError(ValueError):
    """The bytes are not an evidence in our template form."""


@dataclass(frozen=True, slots=True)
class EvidenceHead:
    evidence_id: UUID
    dom_id: str
    event: str
    event_time: datetime
    delivery: UUID
    sequence: int
    predecessor_sha256: bytes | None
    certificate_sha256: bytes
    person_sha256: bytes | None
    documents: tuple[bytes, ...]  # SHA-256 of each, in their order
    mode: str


def evidence_id(delivery: UUID, event: str, ordinal: int) -> UUID:
    """The one identifier of a fact: drafting twice gives the same evidence, so a repeat cannot make a second one.

    A UUID of version 8 (RFC 9562 section 5.8) cut from a SHA-256 over delivery, event and ordinal.
    """
    seed = b"qerds-evidence-v1" + delivery.bytes + event.encode("ascii") + ordinal.to_bytes(4, "big")
    cut = bytearray(hashlib.sha256(seed).digest()[:16])
    cut[6] = 0x80 | (cut[6] & 0x0F)
    cut[8] = 0x80 | (cut[8] & 0x3F)
    return UUID(bytes=bytes(cut))


def dom_id_of(evidence: UUID) -> str:
    return f"evidence-{evidence}"


def time_of(text: str) -> datetime:
    if not _MILLISECONDS.fullmatch(text):
        raise XmlRefused(f"time not in milliseconds and UTC: {text[:40]!r}")
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise XmlRefused(f"no such time: {text!r}") from error
    if not _YEAR_MIN <= moment.year <= _YEAR_MAX:
        raise XmlRefused(f"time out of range: {text!r}")
    return moment


def uuid_of(text: str) -> UUID:
    try:
        value = UUID(text)
    except ValueError as error:
        raise XmlRefused("not a UUID") from error
    if str(value) != text:
        raise XmlRefused("UUID not in its one spelling")
    return value


def number_of(text: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,17}", text, re.ASCII):
        raise XmlRefused(f"not a number in its one spelling: {text[:20]!r}")
    return int(text)


def bytes_of(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise XmlRefused("not base64") from error
    if xades.base64_text(data) != text:
        raise XmlRefused("base64 not in its one spelling")
    return data


def sha256_in(cursor: Cursor) -> bytes:
    """The digest written by `xades.digest_elements`."""
    if cursor.text("ds:DigestMethod", _DIGEST_METHOD):
        raise XmlRefused("text in DigestMethod")
    digest = bytes_of(cursor.text("ds:DigestValue", DS_DECLARED))
    if len(digest) != 32:
        raise XmlRefused("digest is not SHA-256")
    return digest


def parse_evidence_head(canonical: bytes) -> EvidenceHead:
    """Read the head of canonical evidence bytes; `HeadError` for anything but our template form."""
    try:
        return _head(parse(canonical))
    except XmlRefused as error:
        raise HeadError(str(error)) from error


def _head(root: Element) -> EvidenceHead:
    parts = _top_level(root)
    identifier = parts["erds:EvidenceIdentifier"].text
    if not identifier.startswith("urn:uuid:"):
        raise XmlRefused("evidence identifier is not a UUID")
    evidence = uuid_of(identifier.removeprefix("urn:uuid:"))
    dom_id = dom_id_of(evidence)
    if root.attributes != (("xmlns:erds", ERDS), ("Id", dom_id), ("version", VERSION)):
        raise XmlRefused("attributes of the evidence")
    event = CODE_OF_URI.get(parts["erds:ERDSEventId"].text)
    if event is None:
        raise XmlRefused("unknown event")
    record = _record(parts["erds:TransactionLogInformation"])
    if evidence != evidence_id(record.delivery, event, record.ordinal):
        raise XmlRefused("evidence identifier does not belong to this delivery and event")
    return EvidenceHead(
        evidence_id=evidence,
        dom_id=dom_id,
        event=event,
        event_time=time_of(parts["EventTime"].text),
        delivery=record.delivery,
        sequence=record.sequence,
        predecessor_sha256=record.predecessor_sha256,
        certificate_sha256=_certificate_sha256(parts["erds:EvidenceIssuerDetails"]),
        person_sha256=_person_sha256(parts.get("erds:Extensions")),
        documents=_documents(parts["erds:UserContentInfo"]),
        mode=record.mode,
    )


def _top_level(root: Element) -> dict[str, Element]:
    """Every top-level element once, in the order of the schema, with no attribute of its own."""
    if root.name != "erds:Evidence":
        raise XmlRefused("not an evidence")
    cursor, parts = Cursor(root), {}
    for name in _TOP_LEVEL:
        if name not in _OPTIONAL or cursor.next_is(name):
            parts[name] = cursor.element(name)
            _refuse_identifiers(parts[name])
    cursor.end()
    return parts


def _refuse_identifiers(element: Element) -> None:
    """A second `Id` could make `#Id` name another element than the root; a redeclared prefix another vocabulary."""
    for name, value in element.attributes:
        if name in ("Id", "ID", "id", "xml:id") or (name == "xmlns:erds" and value != ERDS):
            raise XmlRefused(f"attribute not allowed: {name}")
    for inner in element.children:
        _refuse_identifiers(inner)


@dataclass(frozen=True, slots=True)
class Record:
    """Our transaction log record: where an evidence stands in its delivery."""

    delivery: UUID
    ordinal: int
    sequence: int
    predecessor_sha256: bytes | None
    config_version: str
    mode: str
    seal_key_id: str


def _record(element: Element) -> Record:
    information = Cursor(element)
    log = information.inside("erds:TransactionLog")
    record = read_record(log)
    log.end()
    information.end()
    return record


def read_record(log: Cursor) -> Record:
    cursor = log.inside("q:Record", OURS_DECLARED)
    delivery = uuid_of(cursor.text("q:Delivery"))
    ordinal = number_of(cursor.text("q:Ordinal"))
    sequence = number_of(cursor.text("q:Sequence"))
    predecessor = None
    if cursor.next_is("q:Predecessor"):
        inner = cursor.inside("q:Predecessor")
        predecessor = sha256_in(inner)
        inner.end()
    config_version = cursor.text("q:ConfigVersion")
    mode = cursor.text("q:Mode")
    seal_key_id = cursor.text("q:SealKey")
    cursor.end()
    if ordinal > ORDINAL_MAX:
        raise XmlRefused("ordinal too large")
    if mode not in MODES:
        raise XmlRefused("unknown mode")
    if sequence < 1 or (sequence == 1) != (predecessor is None):
        raise XmlRefused("the first evidence, and only the first, has no predecessor")
    return Record(delivery, ordinal, sequence, predecessor, config_version, mode, seal_key_id)


def _certificate_sha256(issuer: Element) -> bytes:
    cursor = Cursor(issuer)
    cursor.element("erds:Identity")
    sha256 = read_certificate_sha256(cursor)
    cursor.end()
    return sha256


def read_certificate_sha256(issuer: Cursor) -> bytes:
    details = issuer.inside("erds:CertificateDetails")
    identifier = details.inside("CertID")
    digest = identifier.inside("CertDigest")
    sha256 = sha256_in(digest)
    for cursor in (digest, identifier, details):
        cursor.end()
    return sha256


def _documents(content: Element) -> tuple[bytes, ...]:
    """The digests in UserContentInfo, numbered 1, 2, 3."""
    cursor, digests = Cursor(content), list[bytes]()
    count = number_of(cursor.text("ComposingParts"))
    infos = cursor.inside("erds:PartsInfo")
    while infos.next_is("erds:PartInfo"):
        part = infos.inside("erds:PartInfo")
        if number_of(part.text("Identifier")) != len(digests) + 1:
            raise XmlRefused("parts are not numbered 1, 2, 3")
        part.text("ContentType")
        digests.append(sha256_in(part))
        part.end()
    infos.end()
    cursor.end()
    if count != len(digests):
        raise XmlRefused("number of parts")
    return tuple(digests)


def _person_sha256(extensions: Element | None) -> bytes | None:
    """The digest of the identified person, in the one q:Identification; none without an identification."""
    sha256 = None
    for extension in extensions.children if extensions else ():
        if extension.name != "erds:Extension":
            raise XmlRefused("unknown extension")
        cursor = Cursor(extension)
        if not cursor.next_is("q:Identification"):
            continue
        if sha256 is not None:
            raise XmlRefused("two identifications")
        identification = cursor.inside("q:Identification", OURS_DECLARED)
        cursor.end()
        person = identification.inside("q:Person")
        sha256 = sha256_in(person)
        person.end()
    return sha256
