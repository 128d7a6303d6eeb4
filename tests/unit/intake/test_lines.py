"""The lines of a batch: what passes, and where exactly a part is broken."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.intake.lines import LINE_BYTES_MAX, CsvReader, Line, LineBroken, LineReader, NdjsonReader, line_reader

HEADER = b"client_ref,recipient.email,subject\n"


def read(reader: LineReader, body: bytes, piece_bytes: int = 7) -> list[Line]:
    """The body in small pieces, so that every boundary is met."""
    found = [line for at in range(0, len(body), piece_bytes) for line in reader.feed(body[at : at + piece_bytes])]
    return [*found, *reader.finish()]


def broken(reader: LineReader, body: bytes, piece_bytes: int = 7) -> LineBroken:
    with pytest.raises(LineBroken) as caught:
        read(reader, body, piece_bytes)
    return caught.value


# ------------------------------------------------------------------ NDJSON
def test_lines_are_kept_as_they_were_written() -> None:
    """A stored line is the sender's bytes; its number counts from 1; the last line needs no end."""
    body = '\ufeff{"a": "é"}\r\n{"b":1}\n{ "c" : null }'.encode()
    lines = read(NdjsonReader(), body)
    assert [line.number for line in lines] == [1, 2, 3]
    assert [line.body for line in lines] == ['{"a": "é"}'.encode(), b'{"b":1}', b'{ "c" : null }']
    assert [line.table for line in lines] == [{"a": "é"}, {"b": 1}, {"c": None}]


@given(st.lists(st.dictionaries(st.text(), st.text(), max_size=3), max_size=12), st.integers(1, 40))
def test_the_pieces_of_a_body_do_not_matter(tables: list[dict[str, str]], piece_bytes: int) -> None:
    """Wherever the network cuts, the same lines come out."""
    body = b"".join(json.dumps(table, ensure_ascii=True).encode() + b"\n" for table in tables)
    assert [line.table for line in read(NdjsonReader(), body, piece_bytes)] == tables


@pytest.mark.parametrize(
    ("body", "line", "offset", "words"),
    [
        (b'{"a":1}\n{"a":\xff}\n', 2, 8, "not UTF-8"),
        (b'{"a":1}\n\n{"a":1}\n', 2, 8, "empty"),
        (b'{"a":1}\n{"a":1\n', 2, 8, "column"),
        (b"[1]\n", 1, 0, "one JSON object"),
        (b'{"a":1,"a":2}\n', 1, 0, "twice"),
        (b'{"a":1}\n{"a":1}{"b":1}\n', 2, 8, "column"),
        (b'{"a":NaN}', 1, 0, "NaN"),
        (b'{"a":' + b"[" * 5000 + b"\n", 1, 0, "JSON"),
    ],
)
def test_a_broken_line_is_found_where_it_is(body: bytes, line: int, offset: int, words: str) -> None:
    """Bad encoding, no object, half an object: the part is refused with line and byte offset."""
    error = broken(NdjsonReader(), body)
    assert (error.code, error.line, error.byte_offset) == ("part_malformed", line, offset)
    assert words in error.detail


@pytest.mark.parametrize("piece_bytes", [1000, 65536, 10**8])
def test_a_line_that_never_ends_is_refused_early(piece_bytes: int) -> None:
    """A 100 MB line costs the memory of one line, and is told by its number."""
    body = b'{"a":1}\n' + b"x" * (LINE_BYTES_MAX + 2)
    error = broken(NdjsonReader(), body, piece_bytes)
    assert (error.code, error.line, error.byte_offset) == ("line_too_long", 2, 8)
    fits = b'{"a":"' + b"x" * (LINE_BYTES_MAX - 8) + b'"}'
    assert len(read(NdjsonReader(), fits + b"\r\n" + fits + b"\n", piece_bytes)) == 2


@pytest.mark.parametrize("piece_bytes", [1000, 10**8])
def test_the_first_error_is_told(piece_bytes: int) -> None:
    """Not a later one, however the body was cut."""
    error = broken(NdjsonReader(), b"{}\n[]\n" + b"x" * (3 * LINE_BYTES_MAX), piece_bytes)
    assert (error.code, error.line, error.byte_offset) == ("part_malformed", 2, 3)


def test_an_endless_line_takes_no_memory() -> None:
    """What is refused is refused before it is held."""
    reader = NdjsonReader()
    tracemalloc.start()
    with pytest.raises(LineBroken):
        for _ in range(1600):
            reader.feed(b"x" * 65536)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1024 * 1024


# ------------------------------------------------------------------ CSV
def test_rows_become_objects_by_the_names_of_their_columns() -> None:
    """A column is named by its field; an empty cell is an absent field."""
    body = (
        "\ufeffclient_ref,recipient.email,recipient.organisation.name,documents.1.file_name,documents.0.file_name,metadata.cost.centre\r\n"
        'r-1,a@example.org,"Dupont, fils",b.pdf,a.pdf,7\r\n'
        "r-2,,,,,\r\n"
    )
    lines = read(CsvReader({}), body.encode())
    assert [line.table for line in lines] == [
        {
            "client_ref": "r-1",
            "recipient": {"email": "a@example.org", "organisation": {"name": "Dupont, fils"}},
            "documents": [{"file_name": "a.pdf"}, {"file_name": "b.pdf"}],
            "metadata": {"cost.centre": "7"},
        },
        {"client_ref": "r-2"},
    ]
    assert [json.loads(line.body) for line in lines] == [line.table for line in lines]


def test_a_mapping_names_the_columns_that_count() -> None:
    """Columns of the sender's own that are not mapped are left out; French spreadsheets write semicolons."""
    reader = line_reader("csv", {"Courriel": "recipient.email", "Référence": "client_ref"})
    lines = read(reader, "Référence;Montant;Courriel\nr-1;12,50;a@example.org\n".encode())
    assert lines[0].table == {"recipient": {"email": "a@example.org"}, "client_ref": "r-1"}


def test_a_quoted_cell_may_hold_line_ends_and_quotes() -> None:
    """RFC 4180, 2: such a row is one line, and the next one is numbered after it."""
    body = HEADER + b'r-1,a@example.org,"two\nlines ""quoted"""\nr-2,b@example.org,plain'
    lines = read(CsvReader({}), body)
    assert [(line.number, line.table["subject"]) for line in lines] == [(1, 'two\nlines "quoted"'), (2, "plain")]


@pytest.mark.parametrize(
    ("body", "line", "offset", "words"),
    [
        (b"", 1, 0, "begins with its header"),
        (b"r-1,a@example.org,hello\n", 1, 0, "is no header"),
        (b"client_ref,client_ref\n", 1, 0, "twice"),
        (b"recipient.email,recipient\n", 1, 0, "no field"),
        (HEADER + b"r-1,a@example.org\n", 2, 35, "has 2 cells, the header has 3"),
        (HEADER + b"r-1,a@example.org,x\n\nr-2,b@example.org,x\n", 3, 55, "empty"),
        (HEADER + b'r-1,a@example.org,"open\nr-2,b@example.org,x\n', 2, 35, "never closed"),
        (HEADER + b'r-1,a@example.org,"a"b\n', 2, 35, "quote"),
        (HEADER + b"r-1,a@example.org,\xe9t\xe9\n", 2, 53, "not UTF-8"),
    ],
)
def test_a_broken_row_is_found_where_it_begins(body: bytes, line: int, offset: int, words: str) -> None:
    """Missing header, missing cell, a quote never closed: the part is refused with line and byte offset."""
    error = broken(CsvReader({}), body)
    assert (error.code, error.line, error.byte_offset) == ("part_malformed", line, offset)
    assert words in error.detail


def test_a_quote_never_closed_does_not_swallow_the_file() -> None:
    """It is told at the row that opened it, after 64 KiB at most, in linear time."""
    body = HEADER + b'r-1,a@example.org,"open' + b"\n" * 100_000
    error = broken(CsvReader({}), body, 4096)
    assert (error.line, error.byte_offset) == (2, 35)
    assert "not closed" in error.detail


def test_a_mapped_column_that_is_missing() -> None:
    """A header without it is no header of this batch."""
    error = broken(line_reader("csv", {"Courriel": "recipient.email"}), b"Email\na@example.org\n")
    assert (error.line, error.byte_offset) == (1, 0)
    assert "Courriel" in error.detail
