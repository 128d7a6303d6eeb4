"""What a request for a delivery must say. Pure.

Owns     the fields of a letter (POST /v1/deliveries, a line of a batch), the digest that makes two requests the same
         letter, and the judgement over the uploads, the contents and the consent that it names
Rules    everything a request alone can tell is told at once, before anything is stored; the digest is over what the
         letter says, not over upload identifiers: a file uploaded again is the same letter
Elsewhere: its documents (attachments.py), storing (pipeline/stores/senders.py), what only the content can tell
         (`encrypt`)
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pipeline.content.types import type_of
from pipeline.evidence.dossier import RecipientParty
from pipeline.formats.names import given_names_agree, names_agree
from pipeline.intake.addresses import AddressInvalid, parse_address
from pipeline.intake.attachments import UPLOAD, Attachment, Carrier, InForm, Inline, Uploaded, read_attachments
from pipeline.intake.file_names import ending_mistake
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import Fields, day
from pipeline.stores.senders import Consent, DeclaredDocument, SenderUpload, Submission

CLIENT_REF = re.compile(r"[A-Za-z0-9._:/-]{1,64}", re.ASCII)  # no @: an address would end up in logs and lists
SIREN = re.compile(r"[0-9]{9}", re.ASCII)  # nine digits, INSEE
NAME_CHARACTERS_MAX = 200
SUBJECT_CHARACTERS_MAX = 200
METADATA_MAX = 10
METADATA_KEY_CHARACTERS_MAX = 40
METADATA_VALUE_CHARACTERS_MAX = 200
TAG = "+"  # RFC 5233: what follows it names no other mailbox
KINDS = ("consumer", "professional")
LANGUAGES = ("fr", "en")


@dataclass(frozen=True, slots=True)
class SubmittedLetter:
    """A letter that says all that it must; request_sha256 tells whether another request asks for the same one."""

    client_ref: str | None
    recipient: RecipientParty
    language: str
    consent_ref: str | None
    subject: str
    metadata: Mapping[str, str]
    attachments: tuple[Attachment, ...]
    request_sha256: bytes

    @property
    def uploads(self) -> tuple[UUID, ...]:
        """Those that it names."""
        return tuple(a.source.upload for a in self.attachments if isinstance(a.source, Uploaded))

    def submission(self, stored: Mapping[int, UUID]) -> Submission:
        """To be stored. stored: the upload that each document has become whose bytes came with the letter."""
        documents = [
            DeclaredDocument(
                a.part, a.source.upload if isinstance(a.source, Uploaded) else stored[a.part], a.file_name, a.sha256
            )
            for a in self.attachments
        ]
        letter = (self.client_ref, self.recipient, self.language, self.consent_ref, self.subject, self.metadata)
        return Submission(*letter, tuple(documents), self.request_sha256)


def read_letter(table: Mapping[str, object], carrier: Carrier) -> tuple[SubmittedLetter | None, list[Mistake]]:
    """The letter, or everything that is wrong with it."""
    mistakes: list[Mistake] = []
    fields = Fields(table, mistakes)
    client_ref = fields.matching("client_ref", CLIENT_REF, "1 to 64 of A-Z a-z 0-9 . _ : / -", required=False)
    recipient, language = _recipient(fields)
    consent_ref = fields.text("consent_ref", 64, required=False)
    subject = fields.text("subject", SUBJECT_CHARACTERS_MAX)
    metadata = _metadata(fields)
    attachments, of_parts = read_attachments(fields, carrier)
    fields.end()
    consumer = recipient is not None and recipient.kind == "consumer"
    if consumer and consent_ref is None and table.get("consent_ref") is None:
        fields.mistake("consent_ref", "a consumer has to have consented to electronic mail", "consent_required")
    if of_parts or mistakes or recipient is None or language is None or subject is None:
        return None, [*of_parts, *mistakes]
    letter = (client_ref, recipient, language, consent_ref, subject, metadata)
    request = _digest(*letter, attachments)
    return SubmittedLetter(*letter, tuple(attachments), request), []


def read_email(fields: Fields, name: str = "email") -> str | None:
    """An address field, with its own problem code."""
    text = fields.value(name, str, "an e-mail address")
    if text is None:
        return None
    try:
        return parse_address(text)
    except AddressInvalid as error:
        fields.mistake(name, str(error), "email_invalid")
        return None


def read_consenting_email(fields: Fields) -> str | None:
    """The address of somebody who consents, or is asked to: one mailbox, which one person reads, has one name here."""
    email = read_email(fields)
    if email is not None and TAG in email.rpartition("@")[0]:
        fields.mistake(
            "email", f"must be without a tag ({TAG}...): a consent is for the address itself", "email_invalid"
        )
        return None
    return email


def _recipient(body: Fields) -> tuple[RecipientParty | None, str | None]:
    """Whom the letter is for, and the language of the mails to them."""
    fields = body.fields("recipient")
    if fields is None:
        return None, None
    kind = fields.choice("kind", KINDS)
    email = read_email(fields)
    given_names = fields.text("given_names", NAME_CHARACTERS_MAX, kind="name")
    birth_name = fields.text("birth_name", NAME_CHARACTERS_MAX, kind="name")
    usage_name = fields.text("usage_name", NAME_CHARACTERS_MAX, required=False, kind="name")
    birth_date = fields.parsed("birth_date", day, "a date, YYYY-MM-DD", required=False)
    language = fields.choice("language", LANGUAGES, default="fr")
    organisation = fields.fields("organisation", required=False)
    name = siren = None
    if organisation is not None:
        name = organisation.text("name", NAME_CHARACTERS_MAX, kind="name")
        siren = organisation.matching("siren", SIREN, "nine digits", required=False)
        organisation.end()
    fields.end()
    if kind is None or email is None or given_names is None or birth_name is None or language is None:
        return None, None
    return RecipientParty(kind, email, given_names, birth_name, usage_name, birth_date, name, siren), language


def _metadata(body: Fields) -> dict[str, str]:
    fields = body.fields("metadata", required=False)
    if fields is None:
        return {}
    names = fields.names()
    if len(names) > METADATA_MAX:
        body.mistake("metadata", f"must have at most {METADATA_MAX} entries")
    metadata = {}
    for name in names[:METADATA_MAX]:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", name, re.ASCII):
            fields.mistake(name[:100], f"must have a name of 1 to {METADATA_KEY_CHARACTERS_MAX} of A-Z a-z 0-9 . _ -")
        elif (value := fields.text(name, METADATA_VALUE_CHARACTERS_MAX)) is not None:
            metadata[name] = value
    return metadata


def _digest(
    client_ref: str | None,
    recipient: RecipientParty,
    language: str,
    consent_ref: str | None,
    subject: str,
    metadata: Mapping[str, str],
    attachments: Sequence[Attachment],
) -> bytes:
    r = recipient
    letter = [
        [r.kind, r.email, r.given_names, r.birth_name, r.usage_name, r.birth_date and r.birth_date.isoformat()],
        [r.organisation_name, r.organisation_siren, language],
        [client_ref, consent_ref, subject],
        sorted(metadata.items()),
        [[a.file_name, a.sha256.hex()] for a in attachments],
    ]
    return hashlib.sha256(json.dumps(["delivery-v1", letter], ensure_ascii=False).encode()).digest()


def judge(
    letter: SubmittedLetter,
    uploads: Mapping[UUID, SenderUpload],
    consent: Consent | None,
    *,
    birth_date_demanded: bool = False,
) -> list[Mistake]:
    """What stored state says against the letter. Anything that changes afterwards is the pipeline's to find.

    birth_date_demanded: of consumers, by the operator's policy for this sender.
    """
    mistakes = [m for a in letter.attachments if (m := _judge_attachment(a, uploads)) is not None]
    if birth_date_demanded and letter.recipient.kind == "consumer" and letter.recipient.birth_date is None:
        detail = "is required: a consumer is identified by it too"
        mistakes.append(Mistake("birth_date_required", "/recipient/birth_date", detail))
    return mistakes + _judge_consent(letter, consent)


def _judge_attachment(attachment: Attachment, uploads: Mapping[UUID, SenderUpload]) -> Mistake | None:
    """What is to arrive is compared with its digest, and its name with its type, when it does."""
    match attachment.source:
        case Uploaded(name):
            upload = uploads.get(name)
            if upload is None:
                return Mistake("upload_unknown", attachment.pointer(UPLOAD), "no upload of yours has this id")
            if upload.expired:
                return Mistake("upload_expired", attachment.pointer(UPLOAD), "was not used in time")
            sha256, content_type = upload.sha256, upload.content_type
        case Inline(content):
            sha256, content_type = hashlib.sha256(content).digest(), type_of(content)
        case InForm():
            return None
    if sha256 != attachment.sha256:
        return Mistake("digest_mismatch", attachment.pointer("sha256"), "is not the digest of the uploaded bytes")
    wrong = ending_mistake(attachment.file_name, content_type)
    return Mistake("field_invalid", attachment.pointer("file_name"), wrong) if wrong else None


def _is_of(consent: Consent, recipient: RecipientParty) -> bool:
    """Whether the person who consented is the recipient: a mailbox may be a family's.

    Either may be named by more given names than the other, but both by the first.
    """
    theirs, own = consent.given_names, recipient.given_names
    given = given_names_agree(theirs, own, first_may_be_missing=False)
    given = given or given_names_agree(own, theirs, first_may_be_missing=False)
    return given and names_agree(consent.birth_name, recipient.birth_name)


def _judge_consent(letter: SubmittedLetter, consent: Consent | None) -> list[Mistake]:
    if letter.consent_ref is None:
        return []
    if consent is None or consent.email != letter.recipient.email or not _is_of(consent, letter.recipient):
        detail = "no consent with this reference was recorded for this person at the recipient's address"
        return [Mistake("consent_unknown", "/consent_ref", detail)]
    if consent.withdrawn_at is not None:
        return [Mistake("consent_withdrawn", "/consent_ref", "was withdrawn; a withdrawal is for ever")]
    return []
