"""Reads canonical evidence bytes back into their content, strictly: the inverse of `xml.render`.

`read` re-renders what it read and compares every byte, so a document that says the same in another spelling, or
says something this version cannot understand, is refused. Judges form only; nothing here is a proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from pipeline.evidence.content import EvidenceContent
from pipeline.evidence.dossier import Deposit, Issuer, Part, Reason, RecipientParty, SenderParty
from pipeline.evidence.form import xml
from pipeline.evidence.form.xml import ValueRefused
from pipeline.formats import xades
from pipeline.formats.canonical_xml import Attributes, Cursor, Element, XmlRefused, parse
from pipeline.formats.events import CODE_OF_URI
from pipeline.formats.evidence_head import (
    DS_DECLARED,
    ERDS,
    OURS_DECLARED,
    VERSION,
    Record,
    bytes_of,
    dom_id_of,
    evidence_id,
    number_of,
    read_certificate_sha256,
    read_record,
    sha256_in,
    time_of,
    uuid_of,
)
from pipeline.formats.person import IdentifiedPerson

Found = TypeVar("Found")
_SHA3_METHOD: Attributes = (*DS_DECLARED, ("Algorithm", xades.SHA3_256))


class NotOurForm(ValueError):
    """The bytes are not an evidence that this service writes."""


def read(canonical: bytes) -> EvidenceContent:
    """The content of canonical bytes; `NotOurForm` unless rendering it gives the same bytes again."""
    try:
        content = _evidence(parse(canonical))
        rendered = xml.render(content)
    except (XmlRefused, ValueRefused) as error:
        raise NotOurForm(str(error)) from error
    if rendered != canonical:
        raise NotOurForm("the evidence is not in the form this service writes")
    return content


def _evidence(root: Element) -> EvidenceContent:
    cursor = Cursor(root)
    evidence = uuid_of(_after(cursor.text("erds:EvidenceIdentifier"), "urn:uuid:"))
    if root.attributes != (("xmlns:erds", ERDS), ("Id", dom_id_of(evidence)), ("version", VERSION)):
        raise XmlRefused("attributes of the evidence")
    event = CODE_OF_URI.get(cursor.text("erds:ERDSEventId"))
    if event is None:
        raise XmlRefused("unknown event")
    reason = _inside(cursor, "erds:EventReasons", _reason) if cursor.next_is("erds:EventReasons") else None
    event_time = time_of(cursor.text("EventTime"))
    policy_oid = _inside(cursor, "erds:EvidenceIssuerPolicyID", _policy)
    name, country, certificate = _inside(cursor, "erds:EvidenceIssuerDetails", _issuer)
    sender = _inside(cursor, "erds:SenderDetails", _sender)
    recipient, assurance = _inside(cursor, "erds:RecipientDetails", _recipient)
    submitted_at = time_of(cursor.text("erds:SubmissionTime"))
    number = cursor.text("erds:MessageIdentifier")
    parts = _inside(cursor, "erds:UserContentInfo", _user_content)
    record = _inside(cursor, "erds:TransactionLogInformation", _log)
    if evidence != evidence_id(record.delivery, event, record.ordinal):
        raise XmlRefused("evidence identifier does not belong to this delivery and event")
    extensions = _Extensions(cursor.inside("erds:Extensions"), parts, assurance)
    cursor.end()
    return EvidenceContent(
        evidence=evidence,
        event=event,
        reason=reason,
        event_time=event_time,
        issuer=Issuer(name, country, policy_oid, record.seal_key_id, certificate),
        sender=sender,
        recipient=recipient,
        submitted_at=submitted_at,
        number=number,
        parts=extensions.parts,
        delivery=record.delivery,
        ordinal=record.ordinal,
        sequence=record.sequence,
        predecessor_sha256=record.predecessor_sha256,
        config_version=record.config_version,
        mode=record.mode,
        deposit=extensions.deposit,
        client_ref=extensions.client_ref,
        consent_ref=extensions.consent_ref,
        identification=extensions.identification,
        details=extensions.details,
    )


def _inside(cursor: Cursor, name: str, reader: Callable[[Cursor], Found]) -> Found:
    inner = cursor.inside(name)
    value = reader(inner)
    inner.end()
    return value


def _after(text: str, prefix: str) -> str:
    if not text.startswith(prefix):
        raise XmlRefused(f"value does not start with {prefix}")
    return text[len(prefix) :]


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise XmlRefused("not a date") from error


def _reason(cursor: Cursor) -> Reason:
    inner = cursor.inside("erds:EventReason")
    reason = Reason(_after(inner.text("Code"), xml.REASON_URI), inner.text("Details"))
    inner.end()
    return reason


def _policy(cursor: Cursor) -> str:
    return _after(cursor.text("PolicyID"), xml.POLICY_URN)


def _issuer(cursor: Cursor) -> tuple[str, str, bytes]:
    identity = _identity(cursor)
    name, country = identity.take(xml.LEGAL_NAME), identity.take(xml.COUNTRY)
    identity.end()
    return name, country, read_certificate_sha256(cursor)


class _Identity:
    """The saml:Attribute elements of an erds:Identity, by name."""

    def __init__(self, cursor: Cursor) -> None:
        self._values: dict[str, str] = {}
        while cursor.next_is("saml:Attribute"):
            element = cursor.any_attributes("saml:Attribute")
            name = dict(element.attributes).get("Name", "")
            value = Cursor(element)
            if name in self._values:
                raise XmlRefused("attribute given twice")
            self._values[name] = value.text("saml:AttributeValue")
            value.end()
        cursor.end()

    def take(self, name: str) -> str:
        value = self._values.pop(name, None)
        if value is None:
            raise XmlRefused(f"missing {name}")
        return value

    def maybe(self, name: str) -> str | None:
        return self._values.pop(name, None)

    def end(self) -> None:
        if self._values:
            raise XmlRefused("unknown attribute")


def _identity(cursor: Cursor) -> _Identity:
    return _Identity(cursor.inside("erds:Identity"))


@dataclass(frozen=True, slots=True)
class _Assurance:
    level: str
    method: str
    moment: datetime


def _assurance(cursor: Cursor) -> _Assurance:
    outer = cursor.inside("AssuranceLevelsDetails")
    level = outer.inside("GlobalAssuranceLevel")
    uri = level.text("AssuranceLevel")
    level.end()
    details = outer.inside("erds:AuthenticationDetails")
    moment = time_of(details.text("AuthenticationTime"))
    method = _after(details.text("AuthenticationMethod"), xml.METHOD_URI)
    details.end()
    outer.end()
    prefix = xml.LEVEL_URI if uri.startswith(xml.LEVEL_URI) else xml.OTHER_LEVEL_URI
    return _Assurance(_after(uri, prefix), method, moment)


def _sender(cursor: Cursor) -> SenderParty:
    identity = _identity(cursor)
    name, email = identity.take(xml.LEGAL_NAME), identity.take(xml.EMAIL)
    identity.end()
    assurance = _assurance(cursor)
    return SenderParty(name, email, assurance.level, assurance.method, assurance.moment)


def _recipient(cursor: Cursor) -> tuple[RecipientParty, _Assurance | None]:
    identity = _identity(cursor)
    birth_date = identity.maybe(xml.BIRTH_DATE)
    recipient = RecipientParty(
        kind=identity.take(xml.KIND),
        email=identity.take(xml.EMAIL),
        given_names=identity.take(xml.GIVEN_NAMES),
        birth_name=identity.take(xml.BIRTH_NAME),
        usage_name=identity.maybe(xml.USAGE_NAME),
        birth_date=None if birth_date is None else _date(birth_date),
        organisation_name=identity.maybe(xml.LEGAL_NAME),
        organisation_siren=identity.maybe(xml.SIREN),
    )
    identity.end()
    return recipient, _assurance(cursor) if cursor.next_is("AssuranceLevelsDetails") else None


@dataclass(frozen=True, slots=True)
class _PartInfo:
    content_type: str
    sha256: bytes


def _user_content(cursor: Cursor) -> list[_PartInfo]:
    count = number_of(cursor.text("ComposingParts"))
    infos: list[_PartInfo] = []
    all_parts = cursor.inside("erds:PartsInfo")
    while all_parts.next_is("erds:PartInfo"):
        part = all_parts.inside("erds:PartInfo")
        if number_of(part.text("Identifier")) != len(infos) + 1:
            raise XmlRefused("parts are not numbered 1, 2, 3")
        infos.append(_PartInfo(part.text("ContentType"), sha256_in(part)))
        part.end()
    all_parts.end()
    if count != len(infos):
        raise XmlRefused("number of parts")
    return infos


def _log(cursor: Cursor) -> Record:
    log = cursor.inside("erds:TransactionLog")
    record = read_record(log)
    log.end()
    return record


class _Extensions:
    """Our extensions, each at most once and in the order of the template."""

    def __init__(self, cursor: Cursor, infos: list[_PartInfo], assurance: _Assurance | None) -> None:
        self._cursor = cursor
        self._infos = infos
        self._assurance = assurance
        self._next: Cursor | None = None
        self.parts = self._one("Documents", self._documents) or ()
        self.deposit = self._one("Deposit", _deposit)
        self.client_ref = self._text("ClientReference")
        self.consent_ref = self._text("Consent")
        self.identification = self._one("Identification", self._identified)
        self.details = self._one("Details", _details) or ()
        if self._peek() is not None:
            raise XmlRefused("unknown extension")
        if (self.identification is None) != (assurance is None):
            raise XmlRefused("identification and assurance level belong together")

    def _peek(self) -> Cursor | None:
        if self._next is None and self._cursor.next_is("erds:Extension"):
            self._next = self._cursor.inside("erds:Extension")
        if self._next is None:
            self._cursor.end()
        return self._next

    def _one(self, name: str, reader: Callable[[Cursor], Found]) -> Found | None:
        extension = self._peek()
        if extension is None or not extension.next_is(f"q:{name}"):
            return None
        inner = extension.inside(f"q:{name}", OURS_DECLARED)
        value = reader(inner)
        inner.end()
        extension.end()
        self._next = None
        return value

    def _text(self, name: str) -> str | None:
        extension = self._peek()
        if extension is None or not extension.next_is(f"q:{name}"):
            return None
        text = extension.text(f"q:{name}", OURS_DECLARED)
        extension.end()
        self._next = None
        return text

    def _documents(self, cursor: Cursor) -> tuple[Part, ...]:
        parts = []
        for number, info in enumerate(self._infos, start=1):
            document = cursor.inside("q:Document")
            if number_of(document.text("q:Number")) != number:
                raise XmlRefused("documents are not numbered 1, 2, 3")
            file_name, size = document.text("q:FileName"), number_of(document.text("q:Bytes"))
            sha3_256 = _second_digest(document) if document.next_is("ds:DigestMethod") else None
            document.end()
            parts.append(Part(number, file_name, info.content_type, size, info.sha256, sha3_256))
        return tuple(parts)

    def _identified(self, cursor: Cursor) -> IdentifiedPerson:
        if self._assurance is None:
            raise XmlRefused("identification without assurance level")
        person = _inside(cursor, "q:Person", sha256_in)
        given_names, birth_name = cursor.text("q:GivenNames"), cursor.text("q:BirthName")
        usage_name = cursor.text("q:UsageName") if cursor.next_is("q:UsageName") else None
        birth_date = _date(cursor.text("q:BirthDate")) if cursor.next_is("q:BirthDate") else None
        return IdentifiedPerson(
            given_names=given_names,
            birth_name=birth_name,
            usage_name=usage_name,
            birth_date=birth_date,
            subject=cursor.text("q:Subject"),
            level=self._assurance.level,
            method=self._assurance.method,
            authenticated_at=self._assurance.moment,
            person_sha256=person,
        )


def _second_digest(document: Cursor) -> bytes:
    if document.text("ds:DigestMethod", _SHA3_METHOD):
        raise XmlRefused("text in DigestMethod")
    return bytes_of(document.text("ds:DigestValue", DS_DECLARED))


def _deposit(cursor: Cursor) -> Deposit:
    return Deposit(
        evidence=uuid_of(_after(cursor.text("q:Evidence"), "urn:uuid:")),
        sha256=_inside(cursor, "q:Digest", sha256_in),
        deposited_at=time_of(cursor.text("q:DepositedAt")),
        seal_signature_sha256=_inside(cursor, "q:Seal", sha256_in),
    )


def _details(cursor: Cursor) -> tuple[tuple[str, str], ...]:
    details = []
    while cursor.next_is("q:Detail"):
        element = cursor.any_attributes("q:Detail")
        if element.children or len(element.attributes) != 1:
            raise XmlRefused("detail")
        details.append((element.attributes[0][1], element.text))
    return tuple(details)
