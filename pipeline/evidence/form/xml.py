"""An evidence in the XML of ETSI EN 319 522-3, written by template in canonical form.

Owns the template: order, prefixes, escapes and the limits on values. Global elements carry the `erds` prefix, local
ones are in no namespace (the schema sets no elementFormDefault); every namespace is declared where exclusive
canonicalisation would declare it. Values with control characters or beyond their limit are refused, never repaired:
a repaired value would be sealed as something nobody said. `one_line` is for callers that hold text from outside.
The inverse is `reading`.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from uuid import UUID

from pipeline.evidence.content import EvidenceContent
from pipeline.evidence.dossier import Deposit, Issuer, Part, Reason, RecipientParty, SenderParty
from pipeline.formats.canonical_xml import escape_attribute, escape_text
from pipeline.formats.events import EVENTS
from pipeline.formats.evidence_head import ERDS, OURS, VERSION, dom_id_of
from pipeline.formats.instants import time_text
from pipeline.formats.person import IdentifiedPerson
from pipeline.formats.xades import DS, SHA3_256, base64_text, digest_elements

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
NAME_FORMAT = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"

# Attribute names of the eIDAS SAML profile; `urn:qerds:` where the profile has none.
LEGAL_NAME = "http://eidas.europa.eu/attributes/legalperson/LegalName"
GIVEN_NAMES = "http://eidas.europa.eu/attributes/naturalperson/CurrentGivenName"
USAGE_NAME = "http://eidas.europa.eu/attributes/naturalperson/CurrentFamilyName"
BIRTH_NAME = "http://eidas.europa.eu/attributes/naturalperson/BirthName"
BIRTH_DATE = "http://eidas.europa.eu/attributes/naturalperson/DateOfBirth"
COUNTRY = "urn:qerds:attribute:Country"
EMAIL = "urn:qerds:attribute:Email"
SIREN = "urn:qerds:attribute:Siren"
KIND = "urn:qerds:attribute:Kind"

LEVEL_URI = "http://eidas.europa.eu/LoA/"
LEVELS = frozenset({"low", "substantial", "high"})  # Regulation (EU) 2015/1502
OTHER_LEVEL_URI = "urn:qerds:level:"
METHOD_URI = "urn:qerds:method:"
# No public list has the reason codes other than relay; EventReason/Code is any URI, so ours have their own base.
REASON_URI = "urn:qerds:reason:"
POLICY_URN = "urn:oid:"  # RFC 3061

VALUE_CHARACTERS_MAX = 2_000  # a relay's longest answer is 1,000 (RFC 5321 section 4.5.3.1.5, twice over)
PARTS_MAX = 20
DETAILS_MAX = 30
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+#-]{0,199}", re.ASCII)


class ValueRefused(ValueError):
    """A value cannot stand in an evidence: control character, too long, or not of its form."""


def one_line(text: str, characters_max: int = VALUE_CHARACTERS_MAX) -> str:
    """Outside text made fit for an evidence: control characters become spaces, the rest is cut at the limit."""
    return _REFUSED.sub(" ", text)[:characters_max]


def text_value(value: str, name: str) -> str:
    """The escaped value; refuses an empty one, since absent and empty must not look alike."""
    if not value or len(value) > VALUE_CHARACTERS_MAX:
        raise ValueRefused(f"{name}: {len(value)} characters, 1 to {VALUE_CHARACTERS_MAX} allowed")
    if _REFUSED.search(value):
        raise ValueRefused(f"{name}: control character")
    return escape_text(value)


def token_value(value: str, name: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueRefused(f"{name}: not a token: {value[:40]!r}")
    return value


def digest_value(value: bytes, name: str) -> bytes:
    if len(value) != 32:
        raise ValueRefused(f"{name}: digest of {len(value)} bytes")
    return value


def number_value(value: int, name: str) -> str:
    if not 0 <= value < 10**18:
        raise ValueRefused(f"{name}: {value}")
    return str(value)


def render(content: EvidenceContent) -> bytes:
    """The canonical bytes: what is stored, sealed, and compared again after parsing."""
    c = content
    return (
        f"{opening(c.evidence)}"
        f"{event_element(c.event)}"
        f"{_reason(c.reason)}"
        f"{event_time_element(c.event_time)}"
        f"{_issuer(c.issuer)}"
        f"{_sender(c.sender)}"
        f"{_recipient(c.recipient, c.identification)}"
        f"<erds:SubmissionTime>{time_text(c.submitted_at)}</erds:SubmissionTime>"
        f"<erds:MessageIdentifier>{token_value(c.number, 'number')}</erds:MessageIdentifier>"
        f"{_user_content(c.parts)}"
        f"{_log_record(c)}"
        f"<erds:Extensions>{_extensions(c)}</erds:Extensions>"
        "</erds:Evidence>"
    ).encode()


def opening(evidence: UUID) -> str:
    """How the bytes of every evidence begin. The database compares it with the row (migration 0013)."""
    return (
        f'<erds:Evidence xmlns:erds="{ERDS}" Id="{dom_id_of(evidence)}" version="{VERSION}">'
        f"<erds:EvidenceIdentifier>urn:uuid:{evidence}</erds:EvidenceIdentifier>"
    )


# What the row of an evidence says too; pipeline/evidence/binding.py looks for these, as they are written here.
def event_element(event: str) -> str:
    return f"<erds:ERDSEventId>{EVENTS[event].uri}</erds:ERDSEventId>"


def event_time_element(moment: datetime) -> str:
    return f"<EventTime>{time_text(moment)}</EventTime>"


def certificate_element(sha256: bytes) -> str:
    return f"<CertDigest>{digest_elements(digest_value(sha256, 'seal certificate'))}</CertDigest>"


def delivery_element(delivery: UUID) -> str:
    return f"<q:Delivery>{delivery}</q:Delivery>"


def sequence_element(sequence: int) -> str:
    return f"<q:Sequence>{number_value(sequence, 'sequence')}</q:Sequence>"


def predecessor_element(sha256: bytes | None) -> str:
    """Nothing for the first one of a letter."""
    if sha256 is None:
        return ""
    return f"<q:Predecessor>{digest_elements(digest_value(sha256, 'predecessor'))}</q:Predecessor>"


def _reason(reason: Reason | None) -> str:
    if reason is None:
        return ""
    return (
        "<erds:EventReasons><erds:EventReason>"
        f"<Code>{REASON_URI}{token_value(reason.code, 'reason code')}</Code>"
        f"<Details>{text_value(reason.text, 'reason')}</Details></erds:EventReason></erds:EventReasons>"
    )


def _issuer(issuer: Issuer) -> str:
    certificate = certificate_element(issuer.seal_certificate_sha256)
    return (
        "<erds:EvidenceIssuerPolicyID>"
        f"<PolicyID>{POLICY_URN}{token_value(issuer.policy_oid, 'policy')}</PolicyID></erds:EvidenceIssuerPolicyID>"
        f"<erds:EvidenceIssuerDetails><erds:Identity>"
        f"{_attribute(LEGAL_NAME, issuer.name)}{_attribute(COUNTRY, issuer.country)}</erds:Identity>"
        f"<erds:CertificateDetails><CertID>{certificate}</CertID></erds:CertificateDetails>"
        "</erds:EvidenceIssuerDetails>"
    )


def _attribute(name: str, value: str) -> str:
    return (
        f'<saml:Attribute xmlns:saml="{SAML}" Name="{escape_attribute(name)}" NameFormat="{NAME_FORMAT}">'
        f"<saml:AttributeValue>{text_value(value, name)}</saml:AttributeValue></saml:Attribute>"
    )


def _optional_attribute(name: str, value: str | None) -> str:
    return "" if value is None else _attribute(name, value)


def _sender(sender: SenderParty) -> str:
    return (
        f"<erds:SenderDetails><erds:Identity>{_attribute(LEGAL_NAME, sender.name)}"
        f"{_attribute(EMAIL, sender.email)}</erds:Identity>"
        f"{_assurance(sender.identity_level, time_text(sender.identified_at), sender.identity_method)}"
        "</erds:SenderDetails>"
    )


def _recipient(recipient: RecipientParty, identification: IdentifiedPerson | None) -> str:
    """The addressee as the sender declared it, and how the person was identified once somebody was."""
    assurance = ""
    if identification is not None:
        moment = time_text(identification.authenticated_at)
        assurance = _assurance(identification.level, moment, identification.method)
    return (
        "<erds:RecipientDetails><erds:Identity>"
        f"{_attribute(KIND, token_value(recipient.kind, 'recipient kind'))}"
        f"{_attribute(GIVEN_NAMES, recipient.given_names)}"
        f"{_attribute(BIRTH_NAME, recipient.birth_name)}"
        f"{_optional_attribute(USAGE_NAME, recipient.usage_name)}"
        f"{_optional_attribute(BIRTH_DATE, _date(recipient.birth_date))}"
        f"{_optional_attribute(LEGAL_NAME, recipient.organisation_name)}"
        f"{_optional_attribute(SIREN, recipient.organisation_siren)}"
        f"{_attribute(EMAIL, recipient.email)}</erds:Identity>{assurance}</erds:RecipientDetails>"
    )


def _date(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def level_uri(level: str) -> str:
    return (LEVEL_URI if level in LEVELS else OTHER_LEVEL_URI) + token_value(level, "level")


def _assurance(level: str, moment: str, method: str) -> str:
    return (
        f"<AssuranceLevelsDetails><GlobalAssuranceLevel><AssuranceLevel>{level_uri(level)}</AssuranceLevel>"
        "</GlobalAssuranceLevel><erds:AuthenticationDetails>"
        f"<AuthenticationTime>{moment}</AuthenticationTime>"
        f"<AuthenticationMethod>{METHOD_URI}{token_value(method, 'method')}</AuthenticationMethod>"
        "</erds:AuthenticationDetails></AssuranceLevelsDetails>"
    )


def _user_content(parts: tuple[Part, ...]) -> str:
    if not 1 <= len(parts) <= PARTS_MAX:
        raise ValueRefused(f"{len(parts)} parts, 1 to {PARTS_MAX} allowed")
    if [part.number for part in parts] != list(range(1, len(parts) + 1)):
        raise ValueRefused("parts are not numbered 1, 2, 3")
    each = "".join(
        f"<erds:PartInfo><Identifier>{part.number}</Identifier>"
        f"<ContentType>{text_value(part.content_type, 'content type')}</ContentType>"
        f"{digest_elements(digest_value(part.sha256, 'part'))}</erds:PartInfo>"
        for part in parts
    )
    return (
        f"<erds:UserContentInfo><ComposingParts>{len(parts)}</ComposingParts>"
        f"<erds:PartsInfo>{each}</erds:PartsInfo></erds:UserContentInfo>"
    )


def _log_record(c: EvidenceContent) -> str:
    return (
        f'<erds:TransactionLogInformation><erds:TransactionLog><q:Record xmlns:q="{OURS}">'
        f"{delivery_element(c.delivery)}<q:Ordinal>{number_value(c.ordinal, 'ordinal')}</q:Ordinal>"
        f"{sequence_element(c.sequence)}{predecessor_element(c.predecessor_sha256)}"
        f"<q:ConfigVersion>{token_value(c.config_version, 'configuration version')}</q:ConfigVersion>"
        f"<q:Mode>{token_value(c.mode, 'mode')}</q:Mode>"
        f"<q:SealKey>{token_value(c.issuer.seal_key_id, 'seal key')}</q:SealKey>"
        "</q:Record></erds:TransactionLog></erds:TransactionLogInformation>"
    )


def _extensions(c: EvidenceContent) -> str:
    inside = [_documents(c.event, c.parts)]
    if c.deposit is not None:
        inside.append(_deposit(c.deposit))
    if c.client_ref is not None:
        inside.append(_ours("ClientReference", text_value(c.client_ref, "client reference")))
    if c.consent_ref is not None:
        inside.append(_ours("Consent", text_value(c.consent_ref, "consent reference")))
    if c.identification is not None:
        inside.append(_identification(c.identification))
    if c.details:
        inside.append(_details(c.details))
    return "".join(f"<erds:Extension>{element}</erds:Extension>" for element in inside)


def _ours(name: str, inside: str) -> str:
    return f'<q:{name} xmlns:q="{OURS}">{inside}</q:{name}>'


def _documents(event: str, parts: tuple[Part, ...]) -> str:
    """The second digest of each part. PartInfo has room for one, and two PartInfo would mean two parts."""
    return _ours(
        "Documents",
        "".join(
            f"<q:Document><q:Number>{part.number}</q:Number>"
            f"<q:FileName>{text_value(part.file_name, 'file name')}</q:FileName>"
            f"<q:Bytes>{number_value(part.bytes, 'bytes')}</q:Bytes>"
            f"{_second_digest(event, part)}</q:Document>"
            for part in parts
        ),
    )


def _second_digest(event: str, part: Part) -> str:
    """Left out of an A.2 about a document that nobody has read whole: what is not known is not said."""
    if part.sha3_256 is None:
        if event != "A.2":
            raise ValueRefused(f"{event} about a document that nobody has read")
        return ""
    return (
        f'<ds:DigestMethod xmlns:ds="{DS}" Algorithm="{SHA3_256}"></ds:DigestMethod>'
        f'<ds:DigestValue xmlns:ds="{DS}">{base64_text(digest_value(part.sha3_256, "part"))}</ds:DigestValue>'
    )


def _deposit(deposit: Deposit) -> str:
    return _ours(
        "Deposit",
        f"<q:Evidence>urn:uuid:{deposit.evidence}</q:Evidence>"
        f"<q:Digest>{digest_elements(digest_value(deposit.sha256, 'deposit'))}</q:Digest>"
        f"<q:DepositedAt>{time_text(deposit.deposited_at)}</q:DepositedAt>"
        f"<q:Seal>{digest_elements(digest_value(deposit.seal_signature_sha256, 'deposit seal'))}</q:Seal>",
    )


def _identification(who: IdentifiedPerson) -> str:
    """The digest binds the whole identified person; it stands first, because the bridge compares it."""

    def optional(name: str, value: str | None) -> str:
        return "" if value is None else f"<q:{name}>{text_value(value, name)}</q:{name}>"

    return _ours(
        "Identification",
        f"<q:Person>{digest_elements(digest_value(who.person_sha256, 'person'))}</q:Person>"
        f"<q:GivenNames>{text_value(who.given_names, 'given names')}</q:GivenNames>"
        f"<q:BirthName>{text_value(who.birth_name, 'birth name')}</q:BirthName>"
        f"{optional('UsageName', who.usage_name)}{optional('BirthDate', _date(who.birth_date))}"
        f"<q:Subject>{text_value(who.subject, 'subject')}</q:Subject>",
    )


def _details(details: tuple[tuple[str, str], ...]) -> str:
    if len(details) > DETAILS_MAX:
        raise ValueRefused(f"{len(details)} details, at most {DETAILS_MAX}")
    return _ours(
        "Details",
        "".join(
            f'<q:Detail Name="{token_value(name, "detail name")}">{text_value(value, name)}</q:Detail>'
            for name, value in details
        ),
    )
