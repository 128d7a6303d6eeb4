"""Declared types against bytes, and the names of objects."""

import pytest

from pipeline.content.names import check_object_name, object_name
from pipeline.content.types import JPEG, PDF, PNG, TEXT, TypeCheck, TypeMismatch


def check(declared: str, *pieces: bytes) -> None:
    checking = TypeCheck(declared)
    for piece in pieces:
        checking.update(piece)
    checking.finish()


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        (PDF, b"%PDF-1.7\n..."),
        (PNG, b"\x89PNG\r\n\x1a\n...."),
        (JPEG, b"\xff\xd8\xff\xe0...."),
        (TEXT, "Résiliation du bail\r\n\tà Évreux".encode()),
        (TEXT, b""),
    ],
)
def test_a_content_of_its_type_passes_however_it_is_cut(declared: str, content: bytes) -> None:
    """Pieces of one byte, also inside a UTF-8 sequence, are as good as the whole."""
    check(declared, content)
    check(declared, *(content[i : i + 1] for i in range(len(content))))


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        (PDF, b""),
        (PDF, b"%PD"),
        (PDF, b"\x89PNG\r\n\x1a\n"),
        (PDF, b"\n%PDF-1.7"),
        (PNG, b"MZ\x90\x00"),
        (JPEG, b"<html>"),
        (TEXT, b"\xff\xfe"),
        (TEXT, b"cut \xc3"),
        (TEXT, b"nul \x00"),
        (TEXT, b"bell \x07"),
        ("application/zip", b"PK"),
    ],
)
def test_a_content_of_another_type_is_refused(declared: str, content: bytes) -> None:
    """What does not begin like its type, or is no clean UTF-8 text, is a mismatch, and never passes by being short."""
    with pytest.raises(TypeMismatch):
        check(declared, content)


@pytest.mark.parametrize("name", ["", "../x", "a" * 31, "A" * 32, "g" * 32, "a" * 33, "a" * 32 + "\n", "١" * 32])
def test_names_that_could_leave_the_folder_are_no_names(name: str) -> None:
    """Only 32 lower-case hexadecimal digits name an object."""
    with pytest.raises(ValueError, match="hexadecimal"):
        check_object_name(name)


def test_a_name_is_its_random_bytes() -> None:
    """Sixteen random bytes make one valid name; fewer make none."""
    assert check_object_name(object_name(bytes(range(16)))) == "000102030405060708090a0b0c0d0e0f"
    with pytest.raises(ValueError, match="random"):
        object_name(b"short")
