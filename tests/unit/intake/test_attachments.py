"""The documents of a letter: one way each, read once, and what is none of the ways."""

from base64 import b64encode
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from pipeline.intake.attachments import Attachment, Carrier, InForm, Inline, Uploaded, take_contents
from pipeline.intake.submission import judge, read_letter

UPLOAD = UUID("01a0d9c5-0000-7000-8000-000000000000")
CONTENT = b"a letter of a few words"
SHA256 = sha256(CONTENT)
NAMED = {"upload_id": str(UPLOAD)}
INLINE = {"inline_base64": b64encode(CONTENT).decode()}
PART = {"part": "a"}


def letter(*sources: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """One that lacks nothing, with these documents."""
    recipient = {"kind": "professional", "email": "a@example.org", "given_names": "A", "birth_name": "B"}
    documents = [{"file_name": "a.txt", "sha256": SHA256.hexdigest(), **source} for source in sources]
    return {"recipient": recipient, "subject": "s", "documents": documents, **changes}


def test_each_document_has_one_way() -> None:
    """An upload, a content, a part of the form: in the order in which they stand, whichever they are."""
    read, mistakes = read_letter(letter(NAMED, INLINE, PART), Carrier.FORM)
    assert read is not None
    assert mistakes == []
    assert read.attachments == (
        Attachment(1, "a.txt", SHA256.digest(), Uploaded(UPLOAD)),
        Attachment(2, "a.txt", SHA256.digest(), Inline(CONTENT)),
        Attachment(3, "a.txt", SHA256.digest(), InForm("a")),
    )
    assert read.uploads == (UPLOAD,)


def test_a_letter_is_the_same_whichever_way_its_documents_come() -> None:
    """The digest of the request is over what the letter says."""
    letters = [read_letter(letter(source), Carrier.FORM)[0] for source in (NAMED, INLINE, PART)]
    assert len({read.request_sha256 for read in letters if read is not None}) == 1


@pytest.mark.parametrize(
    ("carrier", "source", "field"),
    [
        (Carrier.LINE, INLINE, "inline_base64"),
        (Carrier.LINE, PART, "part"),
        (Carrier.JSON, PART, "part"),
        (Carrier.JSON, {**INLINE, **NAMED}, "inline_base64"),
        (Carrier.FORM, {**INLINE, **PART}, "inline_base64"),
        (Carrier.FORM, {**NAMED, **PART}, "part"),
    ],
)
def test_a_way_that_is_none_here(carrier: Carrier, source: dict[str, Any], field: str) -> None:
    """A line has its contents taken out, parts are of a form, and two ways at once are none: named with the field."""
    read, mistakes = read_letter(letter(source), carrier)
    assert read is None
    assert f"/documents/0/{field}" in {mistake.pointer for mistake in mistakes}


def test_what_is_here_is_judged_and_what_is_to_come_is_not() -> None:
    """A content by its own digest, an upload by the stored one, a part when it arrives."""
    read, _ = read_letter(letter(*({**source, "sha256": "ab" * 32} for source in (INLINE, PART))), Carrier.FORM)
    assert read is not None
    assert [(m.code, m.pointer) for m in judge(read, {}, None)] == [("digest_mismatch", "/documents/0/sha256")]


def test_a_content_is_in_no_text() -> None:
    """Whatever writes the letter down, in a log or an error, writes no content."""
    read, _ = read_letter(letter(INLINE), Carrier.JSON)
    assert "few words" not in repr(read)


def test_a_line_without_its_contents_is_a_letter_once_they_are_uploads() -> None:
    """What was good is replaced by the upload that it became; what was not is refused, and is not plain any more."""
    line = letter(INLINE, {"inline_base64": "no base64"})
    documents, contents = take_contents(line)
    assert [(content.place, content.file_name, content.content) for content in contents] == [(0, "a.txt", CONTENT)]
    documents[0]["upload_id"] = str(UPLOAD)
    read, mistakes = read_letter({**line, "documents": documents}, Carrier.LINE)
    assert read is None
    assert [mistake.pointer for mistake in mistakes] == ["/documents/1/inline_base64"]
    assert "no base64" not in repr(documents)
