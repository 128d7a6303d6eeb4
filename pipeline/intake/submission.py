"""What a request for a delivery must say. Pure.

Owns     the fields of a letter (POST /v1/deliveries, a line of a batch), the digest that makes two requests the same
         letter, and the judgement over the uploads and the consent that it names
Rules    everything a request alone can tell is told at once, before anything is stored; the digest is over what the
         letter says, not over upload identifiers: a file uploaded again is the same letter
Elsewhere: storing (pipeline/stores/senders.py), what only the content can tell (`encrypt`)
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from pipeline.intake.addresses import AddressInvalid, parse_address
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import Fields, day, digest, file_name_mistake, identifier
from pipeline.stores.senders import Consent, Document, Recipient, Submission, Upload

CLIENT_REF = re.compile(r"[A-Za-z0-9._:/-]{1,64}", re.ASCII)  # no @: an address would end up in logs and lists
SIREN = re.compile(r"[0-9]{9}", re.ASCII)  # nine digits, INSEE
DOCUMENTS_MAX = 20
NAME_CHARACTERS_MAX = 200
SUBJECT_CHARACTERS_MAX = 200
METADATA_MAX = 10
METADATA_KEY_CHARACTERS_MAX = 40
METADATA_VALUE_CHARACTERS_MAX = 200
KINDS = ("consumer", "professional")
INLINE_BYTES_MAX = 64 * 1024  # of the content itself; a longer one is worth an upload of its own (docs/client.md)
INLINE_REFUSED = "must be base64 of 1 byte to 64 KiB, without an upload_id; else upload the file"
LANGUAGES = ("fr", "en")


def read_submission(table: Mapping[str, object]) -> tuple[Submission | None, list[Mistake]]:
    """The submission, or everything that is wrong with it."""
    mistakes: list[Mistake] = []
    fields = Fields(table, mistakes)
    client_ref = fields.matching("client_ref", CLIENT_REF, "1 to 64 of A-Z a-z 0-9 . _ : / -", required=False)
    recipient = _recipient(fields)
    consent_ref = fields.text("consent_ref", 64, required=False)
    subject = fields.text("subject", SUBJECT_CHARACTERS_MAX)
    metadata = _metadata(fields)
    documents = _documents(fields)
    fields.end()
    consumer = recipient is not None and recipient.kind == "consumer"
    if consumer and consent_ref is None and table.get("consent_ref") is None:
        fields.mistake("consent_ref", "a consumer has to have consented to electronic mail", "consent_required")
    if mistakes or recipient is None or subject is None:
        return None, mistakes
    request = _digest(client_ref, recipient, consent_ref, subject, metadata, documents)
    return Submission(client_ref, recipient, consent_ref, subject, metadata, tuple(documents), request), []


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


def _recipient(body: Fields) -> Recipient | None:
    fields = body.fields("recipient")
    if fields is None:
        return None
    kind = fields.choice("kind", KINDS)
    email = read_email(fields)
    given_names = fields.text("given_names", NAME_CHARACTERS_MAX)
    birth_name = fields.text("birth_name", NAME_CHARACTERS_MAX)
    usage_name = fields.text("usage_name", NAME_CHARACTERS_MAX, required=False)
    birth_date = fields.parsed("birth_date", day, "a date, YYYY-MM-DD", required=False)
    language = fields.choice("language", LANGUAGES, default="fr")
    organisation = fields.fields("organisation", required=False)
    name = siren = None
    if organisation is not None:
        name = organisation.text("name", NAME_CHARACTERS_MAX)
        siren = organisation.matching("siren", SIREN, "nine digits", required=False)
        organisation.end()
    fields.end()
    if kind is None or email is None or given_names is None or birth_name is None or language is None:
        return None
    return Recipient(kind, email, given_names, birth_name, usage_name, birth_date, name, siren, language)


def _metadata(body: Fields) -> dict[str, str]:
    fields = body.fields("metadata", required=False)
    if fields is None:
        return {}
    names = fields.names()
    if len(names) > METADATA_MAX:
        body.mistake("metadata", f"must have at most {METADATA_MAX} entries")
    found = {}
    for name in names[:METADATA_MAX]:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", name, re.ASCII):
            fields.mistake(name[:100], f"must have a name of 1 to {METADATA_KEY_CHARACTERS_MAX} of A-Z a-z 0-9 . _ -")
        elif (value := fields.text(name, METADATA_VALUE_CHARACTERS_MAX)) is not None:
            found[name] = value
    return found


def _documents(body: Fields) -> list[Document]:
    documents = []
    for part, fields in enumerate(body.items("documents", 1, DOCUMENTS_MAX), start=1):
        inline = fields.value("inline_base64", str, "base64", required=False)
        if inline is not None:  # one that is good was taken out before: it has become the upload
            fields.mistake("inline_base64", INLINE_REFUSED)
        what = "the id that POST /v1/uploads gave"
        upload = fields.parsed("upload_id", identifier, what, required=inline is None)
        file_name = fields.text("file_name", 255)
        if file_name is not None and (wrong := file_name_mistake(file_name)):
            fields.mistake("file_name", wrong)
        sha256 = fields.parsed("sha256", digest, "a SHA-256 digest in hexadecimal or base64")
        fields.end()
        if upload is not None and file_name is not None and sha256 is not None:
            documents.append(Document(part, upload, file_name, sha256))
    return documents


def _digest(
    client_ref: str | None,
    recipient: Recipient,
    consent_ref: str | None,
    subject: str,
    metadata: Mapping[str, str],
    documents: Sequence[Document],
) -> bytes:
    r = recipient
    letter = [
        [r.kind, r.email, r.given_names, r.birth_name, r.usage_name, r.birth_date],
        [r.organisation_name, r.organisation_siren, r.language],
        [client_ref, consent_ref, subject],
        sorted(metadata.items()),
        [[d.file_name, d.sha256.hex()] for d in documents],
    ]
    return hashlib.sha256(json.dumps(["delivery-v1", letter], ensure_ascii=False).encode()).digest()


def judge(submission: Submission, uploads: Mapping[UUID, Upload], consent: Consent | None) -> list[Mistake]:
    """What stored state says against the submission. Anything that changes afterwards is the pipeline's to find."""
    mistakes = []
    for document in submission.documents:
        at = f"/documents/{document.part - 1}"
        upload = uploads.get(document.upload)
        if upload is None:
            mistakes.append(Mistake("upload_unknown", f"{at}/upload_id", "no upload of yours has this id"))
        elif upload.expired:
            mistakes.append(Mistake("upload_expired", f"{at}/upload_id", "was not used within 7 days"))
        elif upload.sha256 != document.sha256:
            mistakes.append(Mistake("digest_mismatch", f"{at}/sha256", "is not the digest of the uploaded bytes"))
    return mistakes + _judge_consent(submission, consent)


def _judge_consent(submission: Submission, consent: Consent | None) -> list[Mistake]:
    if submission.consent_ref is None:
        return []
    if consent is None or consent.email != submission.recipient.email:
        detail = "no consent with this reference was recorded for the recipient's address"
        return [Mistake("consent_unknown", "/consent_ref", detail)]
    if consent.withdrawn_at is not None:
        return [Mistake("consent_withdrawn", "/consent_ref", "was withdrawn; a withdrawal is for ever")]
    return []
