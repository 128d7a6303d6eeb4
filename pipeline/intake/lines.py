"""The lines of a batch as they arrive: NDJSON or CSV, a piece of the body at a time.

Owns     where a line ends, and whether it is one JSON object or one row of cells; CSV rows become JSON objects here
Rules    syntax only: whether a letter can be made of a line is judged when it is drawn. Memory holds one line and one
         piece, however long the body is. The first error ends the part, with its line and byte offset
Elsewhere: fields (submission.py), CSV columns and paths (columns.py), storing (gateway/sender/batch_items.py)
Source   RFC 8259, RFC 4180
"""

import csv
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pipeline.intake.columns import Columns, ColumnsInvalid, read_header
from pipeline.intake.mistakes import Unreadable
from pipeline.intake.reading import read_json

LINE_BYTES_MAX = 64 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line that is well-formed: its number in the part, its object, and the bytes of the object."""

    number: int
    body: bytes
    table: Mapping[str, object]


class LineBroken(ValueError):
    """The part cannot be taken. line counts from 1 in the body as it is; byte_offset from 0, where it went wrong."""

    def __init__(self, code: str, line: int, byte_offset: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.line = line
        self.byte_offset = byte_offset
        self.detail = detail


class LineReader(Protocol):
    """A body on its way through. Both raise LineBroken; `number` of lines came out so far."""

    number: int

    def feed(self, piece: bytes) -> Sequence[Line]:
        """The lines that this piece completes."""

    def finish(self) -> Sequence[Line]:
        """The body is over: the line without an end, if there is one."""


class _Physical:
    """The body cut at its line ends, with places. A line end is LF or CRLF."""

    def __init__(self) -> None:
        self._rest = b""
        self.line = 0  # number of the last line given out
        self.begins = 0  # where that line begins
        self._next = 0

    def cut(self, piece: bytes) -> list[bytes]:
        """The lines that are complete now; step over each of them."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        return lines

    def check_rest(self) -> None:
        """After the complete lines: the unfinished one may not grow for ever."""
        if len(self._rest) > LINE_BYTES_MAX + 1:
            self._too_long(self.line + 1, self._next)

    def step(self, raw: bytes) -> bytes:
        """Go on to this line; without its CR, and at the very beginning without a byte order mark."""
        self.line += 1
        self.begins = self._next
        self._next += len(raw) + 1
        line = raw.removesuffix(b"\r")
        if self.line == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if len(line) > LINE_BYTES_MAX:
            self._too_long(self.line, self.begins)
        return line

    def last(self) -> list[bytes]:
        """What stands after the last line end, if anything does."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    def broken(self, detail: str, at: int = 0) -> LineBroken:
        return LineBroken("part_malformed", self.line, self.begins + at, detail)

    @staticmethod
    def _too_long(line: int, offset: int) -> None:
        raise LineBroken("line_too_long", line, offset, f"is longer than {LINE_BYTES_MAX} bytes")


class NdjsonReader:
    """One JSON object a line, kept as the sender wrote it."""

    def __init__(self) -> None:
        self.number = 0
        self._physical = _Physical()

    def feed(self, piece: bytes) -> Sequence[Line]:
        """The lines that this piece completes."""
        lines = [self._line(raw) for raw in self._physical.cut(piece)]
        self._physical.check_rest()
        return lines

    def finish(self) -> Sequence[Line]:
        """The line without an end."""
        return [self._line(raw) for raw in self._physical.last()]

    def _line(self, raw: bytes) -> Line:
        body = self._physical.step(raw)
        if not body.strip():
            raise self._physical.broken("is empty")
        try:
            table = read_json(body)
        except Unreadable as error:
            raise self._physical.broken(f"is not one JSON object in UTF-8: {error.detail}") from error
        self.number += 1
        return Line(self.number, body, table)


class CsvReader:
    """A header, then one row a line; a quoted cell may hold line ends. Rows come out as JSON objects."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self.number = 0
        self._mapping = mapping
        self._physical = _Physical()
        self._columns: Columns | None = None
        self._delimiter = ","
        self._open: list[bytes] = []  # the physical lines of a row whose quote is not closed yet
        self._open_bytes = self._quotes = 0
        self._began = (1, 0)  # line and offset of the row under way

    def feed(self, piece: bytes) -> Sequence[Line]:
        """The rows that this piece completes."""
        rows = [row for raw in self._physical.cut(piece) for row in self._row(raw)]
        self._physical.check_rest()
        return rows

    def finish(self) -> Sequence[Line]:
        """The row without an end."""
        rows = [row for raw in self._physical.last() for row in self._row(raw)]
        if self._open:
            raise self._broken("opens a quote that is never closed")
        if self._columns is None:
            raise LineBroken("part_malformed", 1, 0, "is empty; a CSV part begins with its header")
        return rows

    def _row(self, raw: bytes) -> list[Line]:
        line = self._physical.step(raw)
        if not self._open:
            self._began = (self._physical.line, self._physical.begins)
            self._open_bytes = self._quotes = 0
        self._open.append(line)
        self._open_bytes += len(line) + 1
        self._quotes += line.count(b'"')
        if self._open_bytes > LINE_BYTES_MAX + 1:
            raise self._broken(f"opens a quote that is not closed within {LINE_BYTES_MAX} bytes")
        if self._quotes % 2:
            return []
        row, self._open = b"\n".join(self._open), []
        return self._complete(row)

    def _complete(self, row: bytes) -> list[Line]:
        try:
            text = row.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._broken(f"byte {error.start} of it is not UTF-8", error.start) from error
        if self._columns is None:
            self._delimiter = _delimiter(text)
        cells = self._cells(text)
        try:
            if self._columns is None:
                self._columns = read_header(cells, self._mapping)
                return []
            table = self._columns.table(cells)
        except ColumnsInvalid as error:
            raise self._broken(str(error)) from error
        body = json.dumps(table, ensure_ascii=False).encode()
        if len(body) > LINE_BYTES_MAX:
            raise LineBroken("line_too_long", *self._began, f"is longer than {LINE_BYTES_MAX} bytes as JSON")
        self.number += 1
        return [Line(self.number, body, table)]

    def _cells(self, text: str) -> list[str]:
        if not text.strip():
            raise self._broken("is empty")
        try:
            [cells] = csv.reader([text], delimiter=self._delimiter, strict=True)
        except (csv.Error, ValueError) as error:
            raise self._broken("is not a row of CSV: a quote stands where none may") from error
        return cells

    def _broken(self, detail: str, at: int = 0) -> LineBroken:
        line, begins = self._began
        return LineBroken("part_malformed", line, begins + at, detail)


def line_reader(line_format: str, mapping: Mapping[str, str]) -> LineReader:
    """format: ndjson or csv."""
    return CsvReader(mapping) if line_format == "csv" else NdjsonReader()


def _delimiter(header: str) -> str:
    """Spreadsheets write a semicolon where the comma is the decimal mark, as in French."""
    return ";" if header.count(";") > header.count(",") else ","
