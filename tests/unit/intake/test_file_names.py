"""What a recipient may be handed, against a sender who hides a program in a name."""

import hashlib
from base64 import b64encode
from typing import Any
from uuid import uuid4

import pytest

from pipeline.content.types import ALLOWED, JPEG, PDF, PNG, TEXT
from pipeline.intake.attachments import Carrier
from pipeline.intake.file_names import ALL_ENDINGS, ENDINGS, RUNS
from pipeline.intake.reading import file_name_mistake
from pipeline.intake.submission import judge, read_letter

GOOD = [
    ("facture.pdf", PDF),
    ("Résiliation du 1.2.2026.pdf", PDF),
    ("FACTURE.PDF", PDF),
    ("S.A. Dupont & Fils.pdf", PDF),
    ("facture.pdf.pdf", PDF),
    ("à lire… (n° 12).pdf", PDF),
    ("facture", PDF),
    ("請求書.pdf", PDF),
    ("photo.jpg", JPEG),
    ("photo.JPEG", JPEG),
    ("photo.png", PNG),
    ("lettre.txt", TEXT),
    ("annexe.csv", TEXT),
    ("com.pdf", PDF),
    ("console.pdf", PDF),
    ("exe.pdf", PDF),
    ("a" * 251 + ".pdf", PDF),
]
HIDING = [
    *(
        "facture.pdf.exe",
        "facture.exe.pdf",
        "facture.EXE.pdf",
        "facture.exe    .pdf",
        "facture.pdf    .exe",
        "a.jpg.pdf",
    ),
    *(
        "facture.hta",
        "facture.lnk",
        "facture.PdF.sCr",
        "facture.desktop",
        "facture.command",
        "facture.xyz",
        "facture.p",
    ),
    *("facture.pdf.", "facture.pdf ", "facture.pdf. .", ".pdf", ".htaccess", "..", ".", "facture.", "facture..pdf.exe"),
    *("facture.pdf:x.exe", "facture.pdf::$DATA", "../facture.pdf", "a\\b.pdf", "C:facture.pdf"),
    *("CON", "con.pdf", "Nul.pdf", "COM1.pdf", "lpt9 .pdf", "COM¹.pdf", "CONIN$", "aux.x.pdf"),
    *(
        "facture．exe",
        "facture․exe",
        "facture．pdf",
        "facture.ｅｘｅ",
        "facture.ехе",
        "facture.pdf\u202egpj.exe",
        "facture.e\u200bxe",
    ),
    *("facture.\u2063exe", "facture.exe\u00a0.pdf", "facture.exe\u3000.pdf", "facture.pdf\n.exe", "facture\0.exe.pdf"),
]


@pytest.mark.parametrize(("name", "content_type"), GOOD, ids=lambda v: ascii(v)[:30])
def test_names_of_documents_pass(name: str, content_type: str) -> None:
    """With the ending of the type, or without one; dots and the names of endings inside are no endings."""
    assert file_name_mistake(name, content_type) is None


@pytest.mark.parametrize("name", HIDING, ids=ascii)
@pytest.mark.parametrize("content_type", [PDF, None])
def test_names_that_hide_what_they_are_are_refused(name: str, content_type: str | None) -> None:
    """Programs, double endings, ends that a desktop cuts off, devices, look-alikes; also before the type is known."""
    assert file_name_mistake(name, content_type) is not None


@pytest.mark.parametrize("content_type", ALLOWED)
def test_no_ending_that_runs_is_taken_at_either_place(content_type: str) -> None:
    """All of the table, in both cases, as the ending and right before one of the type."""
    for ending in RUNS:
        for name in (f"facture.{ending}", f"facture.{ending.upper()}", f"facture.{ending}.{ENDINGS[content_type][0]}"):
            assert file_name_mistake(name, content_type), name
    assert not RUNS & ALL_ENDINGS


@pytest.mark.parametrize("content_type", ALLOWED)
def test_the_ending_is_that_of_the_type(content_type: str) -> None:
    """An ending of another type, however harmless, makes another program open the document."""
    for ending in ALL_ENDINGS:
        assert (file_name_mistake(f"facture.{ending}", content_type) is None) == (ending in ENDINGS[content_type])


def letter(name: str, content: bytes, **source: str) -> dict[str, Any]:
    person = {"kind": "professional", "email": "a@example.com", "given_names": "Zoé", "birth_name": "Lefèvre"}
    document = {"file_name": name, "sha256": hashlib.sha256(content).hexdigest(), **source}
    return {"recipient": person, "subject": "Contract", "documents": [document]}


def test_a_name_in_a_letter_is_judged_by_the_type_of_its_content() -> None:
    """A content that comes with the letter: text is no PDF."""
    for name, content, is_good in (("a.pdf", b"%PDF-1.7", True), ("a.pdf", b"MZ", False), ("a.txt", b"MZ", True)):
        read, mistakes = read_letter(letter(name, content, inline_base64=b64encode(content).decode()), Carrier.JSON)
        assert read is not None, mistakes
        assert [m.pointer for m in judge(read, {}, None)] == ([] if is_good else ["/documents/0/file_name"])


def test_a_name_in_a_letter_without_its_upload_is_not_judged_twice() -> None:
    """An upload that nobody knows has no type."""
    read, _ = read_letter(letter("a.pdf", b"x", upload_id=str(uuid4())), Carrier.LINE)
    assert read is not None
    assert [m.code for m in judge(read, {}, None)] == ["upload_unknown"]
