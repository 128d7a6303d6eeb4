"""Tables as senders have them: CSV of spreadsheets, NDJSON of programs; what is broken is said with its line."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.client.lines import (
    LINE_BYTES_MAX,
    ColumnMap,
    SourceInvalid,
    files_of,
    line_bytes,
    read_map,
    rows,
    with_uploads,
)
from pipeline.client.push import PART_ROWS_MAX, attachment, cut, look_through

CSV = "client_ref,recipient.email,recipient.kind,documents.0.file,documents.1.file,metadata.dossier\n"


def table(
    tmp_path: Path, text: str, name: str = "letters.csv", columns: ColumnMap | None = None
) -> list[dict[str, Any]]:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return list(rows(path, columns or ColumnMap()))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"subject": "a", "subject": "b"}', "line 1 has the name 'subject' twice"),
        ('{"recipient": {"email": "a", "email": "b"}}', "line 1 has the name 'email' twice"),
        ('{"subject": "\\ud800"}', "line 1 is not JSON in UTF-8"),
        ("[" * 30_000, "line 1 is not JSON in UTF-8"),
    ],
)
def test_a_line_that_would_be_sent_as_another_one_is_refused(tmp_path: Path, line: str, said: str) -> None:
    """What the service refuses of a line is not mended on the way by choosing one of two values."""
    with pytest.raises(SourceInvalid, match=said):
        table(tmp_path, line + "\n", "letters.ndjson")


def test_a_csv_row_becomes_the_object_of_a_line(tmp_path: Path) -> None:
    """Columns are fields, empty cells are absent, documents come in their order."""
    [row] = table(tmp_path, CSV + 'r-1,jean@example.org,professional,a.pdf,"b, c.pdf",D-7\n')
    assert row == {
        "client_ref": "r-1",
        "recipient": {"email": "jean@example.org", "kind": "professional"},
        "documents": [{"file": "a.pdf"}, {"file": "b, c.pdf"}],
        "metadata": {"dossier": "D-7"},
    }
    [row] = table(tmp_path, CSV + "r-2,,,,b.pdf,\n")
    assert row == {"client_ref": "r-2", "documents": [{"file": "b.pdf"}]}


def test_spreadsheets_write_semicolons_a_byte_order_mark_and_line_ends_in_cells(tmp_path: Path) -> None:
    """A file as a French spreadsheet saves it is read as it is meant."""
    [row] = table(tmp_path, '\ufeffclient_ref;subject\r\nr-1;"Résiliation\nannuelle"\r\n')
    assert row == {"client_ref": "r-1", "subject": "Résiliation\nannuelle"}


def test_a_map_names_columns_and_defaults(tmp_path: Path) -> None:
    """Only mapped columns count; the defaults are the batch's."""
    (tmp_path / "m.toml").write_text(
        '[columns]\n"E-mail" = "recipient.email"\n[defaults]\nsubject = "Bail"\nrecipient = {kind = "professional"}\n'
    )
    mapping = read_map(tmp_path / "m.toml")
    [row] = table(tmp_path, "Nom,E-mail\nMartin,jean@example.org\n", columns=mapping)
    assert row == {"recipient": {"email": "jean@example.org"}}
    assert mapping.defaults == {"subject": "Bail", "recipient": {"kind": "professional"}}


@pytest.mark.parametrize(
    "text",
    ["[columns]\nx = 1\n", "columns = 3\n", "[other]\n", "[columns", '[columns]\n"absent" = "subject"\n'],
)
def test_a_map_that_cannot_be_meant_is_refused(tmp_path: Path, text: str) -> None:
    """Before anything is sent."""
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(SourceInvalid):
        table(tmp_path, "subject\nx\n", columns=read_map(tmp_path / "m.toml"))


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.csv", "subject,client_ref\nx\n", "line 2"),
        ("a.csv", 'subject\nx\n"never closed\n', "line 3"),
        ("a.csv", "", "header"),
        ("a.csv", "subject,subject\nx,y\n", "two columns"),
        ("a.csv", "documents.file\nx\n", "documents"),
        ("a.ndjson", '{"subject": 1}\n[]\n', "line 2"),
        ("a.ndjson", "{}\n{", "line 2"),
        ("a.ndjson", '{"x": "' + "y" * LINE_BYTES_MAX + '"}\n', "line 1"),
    ],
)
def test_a_broken_table_is_said_with_its_line(tmp_path: Path, name: str, text: str, where: str) -> None:
    """Nobody looks for a missing quote in a million lines."""
    with pytest.raises(SourceInvalid, match=where):
        table(tmp_path, text, name)


def test_bytes_that_are_no_text_are_said_with_their_line(tmp_path: Path) -> None:
    """Latin-1 is refused and not guessed."""
    for name in ("a.csv", "a.ndjson"):
        (tmp_path / name).write_bytes(b"subject\nR\xe9siliation\n")
        with pytest.raises(SourceInvalid):
            list(rows(tmp_path / name, ColumnMap()))


def test_files_become_uploads(tmp_path: Path) -> None:
    """The rest of a document's entry stays; a line without files stays as it was."""
    row = {"documents": [{"file": "sub/a.pdf"}, {"upload_id": "u"}, {"file": "b.pdf", "file_name": "Bail.pdf"}]}
    assert files_of(row) == ["sub/a.pdf", "b.pdf"]
    made = with_uploads(row, {"sub/a.pdf": ("u-1", "aa"), "b.pdf": ("u-2", "bb")})
    assert made["documents"] == [
        {"file_name": "a.pdf", "upload_id": "u-1", "sha256": "aa"},
        {"upload_id": "u"},
        {"file_name": "Bail.pdf", "upload_id": "u-2", "sha256": "bb"},
    ]
    assert with_uploads({"documents": "odd"}, {}) == {"documents": "odd"}
    assert json.loads(line_bytes({"a": "é"})) == {"a": "é"}


def test_a_file_outside_the_folder_is_refused(tmp_path: Path) -> None:
    """A table from elsewhere sends no file that its sender did not put there."""
    folder = tmp_path / "attach"
    folder.mkdir()
    for name in ("../secret", "/etc/hostname"):
        with pytest.raises(SourceInvalid):
            attachment(folder, name)
    with pytest.raises(SourceInvalid, match="--attach"):
        attachment(None, "a.pdf")


def test_a_look_through_counts_and_finds_missing_files(tmp_path: Path) -> None:
    """Before anything is sent."""
    path = tmp_path / "letters.ndjson"
    path.write_text('{"documents": [{"file": "a.pdf"}]}\n' * 3)
    with pytest.raises(SourceInvalid, match="line 1"):
        look_through(path, ColumnMap(), tmp_path)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-")
    assert look_through(path, ColumnMap(), tmp_path) == 3
    path.write_text("")
    with pytest.raises(SourceInvalid, match="no lines"):
        look_through(path, ColumnMap(), tmp_path)


def test_parts_are_bounded_in_bytes_and_rows() -> None:
    """The same rows always make the same parts; nothing is left out."""
    small: list[dict[str, Any]] = [{"n": n} for n in range(PART_ROWS_MAX + 5)]
    assert [len(part) for part in cut(iter(small))] == [PART_ROWS_MAX, 5]
    large: list[dict[str, Any]] = [{"x": "y" * 60_000} for _ in range(300)]
    parts = list(cut(iter(large)))
    assert sum(len(part) for part in parts) == 300
    assert max(sum(len(line_bytes(row)) for row in part) for part in parts) <= 8 * 1024 * 1024
