"""The documents of a letter as its sender declares them, and where the bytes of each are. Pure.

Owns     the three ways: an upload that is named by its id, a content in the JSON as base64, a part of the form that the
         letter comes in; and taking the contents out of a line of a batch
Rules    a document has one way. What is no content is refused as one, and not taken for a missing upload
         no plain content reaches the database: of a line, what is good base64 leaves for the store when the line
         arrives, and what is not leaves an empty text, which the judgement of the line refuses
Elsewhere: the letter around them (submission.py), their way into the store (gateway/sender/attachments.py, packs.py)
"""

import re
from base64 import b64decode
from binascii import Error as Base64Invalid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple
from uuid import UUID

from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import FILE_NAME_CHARACTERS_MAX, Fields, digest, file_name_mistake, identifier

DOCUMENTS_MAX = 20
UPLOAD, INLINE, PART = "upload_id", "inline_base64", "part"
METADATA = "metadata"  # the name of the form's first part, which is the letter itself
PART_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
INLINE_BYTES_MAX = 64 * 1024  # of the content itself; a longer one is worth an upload of its own
INLINE_REFUSED = "must be base64 of 1 byte to 64 KiB, without an upload_id; else upload the file"
NAMELESS = "content"


class Carrier(Enum):
    """What a letter comes in, which says where its documents may be."""

    LINE = auto()  # of a batch: uploads, because its contents were taken out when it arrived
    JSON = auto()  # uploads and contents
    FORM = auto()  # these, and parts of the form


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The bytes were uploaded before."""

    upload: UUID


@dataclass(frozen=True, slots=True)
class Inline:
    """The bytes stood in the letter."""

    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class InForm:
    """The bytes are the part of this name, and still to come."""

    name: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """One document: its number in the letter, counted from 1, what its sender says of it, where its bytes are."""

    part: int
    file_name: str
    sha256: bytes
    source: Uploaded | Inline | InForm

    def pointer(self, name: str) -> str:
        """RFC 6901, of one of its fields in the letter."""
        return f"/documents/{self.part - 1}/{name}"


# ------------------------------------------------------------------ of a letter
def read_attachments(letter: Fields, carrier: Carrier) -> tuple[list[Attachment], list[Mistake]]:
    """All that are right, and what is wrong with names of parts; other mistakes are noted with those of the letter."""
    attachments: list[Attachment] = []
    of_parts: list[Mistake] = []
    names: set[str] = set()
    for part, fields in enumerate(letter.items("documents", 1, DOCUMENTS_MAX), start=1):
        is_part = carrier is Carrier.FORM and fields.table.get(PART) is not None
        source = _in_form(fields, names, of_parts) if is_part else _here(fields, carrier)
        file_name = fields.text("file_name", FILE_NAME_CHARACTERS_MAX)
        if file_name is not None and (wrong := file_name_mistake(file_name)):
            fields.mistake("file_name", wrong)
        sha256 = fields.parsed("sha256", digest, "a SHA-256 digest in hexadecimal or base64")
        fields.end()
        if source is not None and file_name is not None and sha256 is not None:
            attachments.append(Attachment(part, file_name, sha256, source))
    return attachments, of_parts


def _here(fields: Fields, carrier: Carrier) -> Uploaded | Inline | None:
    """An upload or a content; of a line, its content was replaced by an upload, if it was one."""
    if carrier is Carrier.LINE or fields.table.get(INLINE) is None:
        is_refused = fields.value(INLINE, str, "base64", required=False) is not None
    else:
        fields.note(INLINE, UPLOAD)
        if content := inline_content(fields.table):
            return Inline(content)
        is_refused = True
    if is_refused:
        fields.mistake(INLINE, INLINE_REFUSED)
    upload = fields.parsed(UPLOAD, identifier, "the id that POST /v1/uploads gave", required=not is_refused)
    return None if upload is None else Uploaded(upload)


def _in_form(fields: Fields, names: set[str], of_parts: list[Mistake]) -> InForm | None:
    """The part; `names`: those of the documents before, to which this one's is added."""
    fields.note(INLINE, UPLOAD)
    name = fields.take(PART)
    if fields.table.get(INLINE) is not None:
        fields.mistake(INLINE, INLINE_REFUSED)
    if not isinstance(name, str) or not PART_NAME.fullmatch(name) or name == METADATA:
        wrong = f"must be the name of a part, 1 to 64 of A-Z a-z 0-9 . _ -, and not {METADATA}"
    elif name in names:
        wrong = "is the part of another document"
    elif fields.table.get(UPLOAD) is not None:
        wrong = "must stand without an upload_id"
    else:
        names.add(name)
        return InForm(name)
    of_parts.append(Mistake("field_invalid", fields.pointer(PART), wrong))
    return None


def inline_content(document: Mapping[str, Any]) -> bytes:
    """The content that stands in a document; empty when it is not base64, too long, or beside an upload."""
    value = document.get(INLINE)
    try:
        content = b64decode(value, validate=True) if isinstance(value, str) and UPLOAD not in document else b""
    except (Base64Invalid, ValueError):
        return b""
    return content if len(content) <= INLINE_BYTES_MAX else b""


# ------------------------------------------------------------------ of a line of a batch
class LineContent(NamedTuple):
    """A content of a line: its place among the documents, counted from 0, and the name that its upload gets."""

    place: int
    file_name: str
    content: bytes


def has_contents(line: Mapping[str, Any]) -> bool:
    """Whether a line carries anything that may be one."""
    documents = line.get("documents")
    return isinstance(documents, list) and any(isinstance(d, dict) and d.get(INLINE) is not None for d in documents)


def take_contents(line: Mapping[str, Any]) -> tuple[list[Any], list[LineContent]]:
    """The documents of a line that has contents, without them, and the contents: each wants its upload_id now."""
    documents, contents = list(line["documents"]), []
    for place, document in enumerate(documents):
        if not isinstance(document, dict) or document.get(INLINE) is None:
            continue
        if content := inline_content(document):
            documents[place] = {name: value for name, value in document.items() if name != INLINE}
            contents.append(LineContent(place, _file_name(document.get("file_name")), content))
        else:
            documents[place] = {**document, INLINE: ""}
    return documents, contents


def _file_name(name: object) -> str:
    """What is no file name makes the line a rejected one, later."""
    return name if isinstance(name, str) and file_name_mistake(name) is None else NAMELESS
