"""A sender's own table, row by row: CSV or NDJSON in, the lines of a batch out, in constant memory.

Owns     which column is which field, the field `file` of a document (a file in the sender's folder), where a table is
         broken
Rules    without a mapping a column is named by its field: recipient.email, documents.0.file, metadata.KEY; an empty
         cell is an absent field. Only the form is looked at here: the service judges what a line says
Elsewhere: sending (push.py)
"""

import csv
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

MAP_BYTES_MAX = 256 * 1024
LINE_BYTES_MAX = 64 * 1024  # what the service takes
INDEX = re.compile(r"\d{1,2}", re.ASCII)
FILE = "file"

Table = dict[str, Any]


class SourceInvalid(Exception):
    """A table or mapping that cannot be read; the text names the line."""


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Column -> field, and what every line has unless it says otherwise."""

    columns: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


def read_map(path: Path | None) -> ColumnMap:
    """[columns] and [defaults] of a TOML file. Raises SourceInvalid, OSError."""
    if path is None:
        return ColumnMap()
    with path.open("rb") as file:
        text = file.read(MAP_BYTES_MAX)
    try:
        tables = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceInvalid(f"{path}: {error}") from error
    unknown = sorted(tables.keys() - {"columns", "defaults"})
    columns, defaults = tables.get("columns", {}), tables.get("defaults", {})
    if unknown or not isinstance(columns, dict) or not isinstance(defaults, dict):
        raise SourceInvalid(f"{path}: a map has the tables [columns] and [defaults] and nothing else {unknown or ''}")
    if not all(isinstance(target, str) for target in columns.values()):
        raise SourceInvalid(f'{path}: [columns] says "column" = "field"')
    return ColumnMap(columns, defaults)


def rows(path: Path, mapping: ColumnMap) -> Iterator[Table]:
    """The lines of the table as objects. Raises SourceInvalid, OSError."""
    return _csv_rows(path, mapping.columns) if path.suffix.lower() == ".csv" else _ndjson_rows(path)


def files_of(table: Table) -> list[str]:
    """The names of files that a line wants to send."""
    documents = table.get("documents")
    entries = documents if isinstance(documents, list) else []
    return [entry[FILE] for entry in entries if isinstance(entry, dict) and isinstance(entry.get(FILE), str)]


def with_uploads(table: Table, uploads: Mapping[str, tuple[str, str]]) -> Table:
    """The line with uploads in place of files. uploads: file -> (upload id, SHA-256)."""
    if not files_of(table):
        return table
    documents = []
    for entry in table["documents"]:
        name = entry.get(FILE) if isinstance(entry, dict) else None
        if isinstance(name, str):
            upload_id, sha256 = uploads[name]
            own = {key: value for key, value in entry.items() if key != FILE}
            entry = {"file_name": Path(name).name, **own, "upload_id": upload_id, "sha256": sha256}
        documents.append(entry)
    return {**table, "documents": documents}


def line_bytes(table: Table) -> bytes:
    """One line of NDJSON; the same object always gives the same bytes."""
    return json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _ndjson_rows(path: Path) -> Iterator[Table]:
    for number, line in _physical_lines(path):
        try:
            table = json.loads(line, object_pairs_hook=_object)
            if b"\\u" in line:
                line_bytes(table)  # half a surrogate pair is no text
        except _NamedTwice as error:
            raise SourceInvalid(f"{path}: line {number} has the name {error.args[0][:80]!r} twice") from error
        except (ValueError, RecursionError) as error:
            raise SourceInvalid(f"{path}: line {number} is not JSON in UTF-8") from error
        if not isinstance(table, dict):
            raise SourceInvalid(f"{path}: line {number} is not a JSON object")
        yield table


class _NamedTwice(Exception):
    """One of two values would be lost, and only one of the two readers would know which."""


def _object(pairs: list[tuple[str, Any]]) -> Table:
    table: Table = {}
    for name, value in pairs:
        if name in table:
            raise _NamedTwice(name)
        table[name] = value
    return table


def _csv_rows(path: Path, columns: Mapping[str, str]) -> Iterator[Table]:
    texts = _text_lines(path)
    head = next(texts, "")
    delimiter = ";" if head.count(";") > head.count(",") else ","  # as spreadsheets in French write it
    reader = csv.reader(chain([head], texts), delimiter=delimiter, strict=True)
    try:
        places = _places(path, next(reader, []), columns)
        for cells in reader:
            if len(cells) != len(places):
                raise SourceInvalid(
                    f"{path}: line {reader.line_num} has {len(cells)} cells, the header has {len(places)}"
                )
            yield _table(cells, places)
    except csv.Error as error:
        raise SourceInvalid(f"{path}: line {reader.line_num}: {error}") from error


def _text_lines(path: Path) -> Iterator[str]:
    """As text; a line that is no UTF-8 is said with its number."""
    for number, line in _physical_lines(path):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise SourceInvalid(f"{path}: line {number}: byte {error.start} of it is not UTF-8") from error


def _physical_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their ends, counted from 1; one that is too long is said with its number."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX + 1):
            number += 1
            if len(line) > LINE_BYTES_MAX:
                raise SourceInvalid(f"{path}: line {number} is longer than {LINE_BYTES_MAX} bytes")
            yield number, line


def _places(path: Path, header: Sequence[str], columns: Mapping[str, str]) -> list[tuple[str, ...] | None]:
    """Where each cell goes; None: nowhere."""
    names = [name.strip() for name in header]
    if not any(names):
        raise SourceInvalid(f"{path}: a CSV file begins with a header")
    missing = [column for column in columns if column not in names]
    if missing:
        raise SourceInvalid(f"{path}: the header has no column {missing[0]!r}, which the map names")
    fields = columns or {name: name for name in names}
    places = [tuple(fields[name].split(".")) if name in fields else None for name in names]
    used = [place for place in places if place is not None]
    for index, place in enumerate(used):
        if any(place[: len(other)] == other or other[: len(place)] == place for other in used[:index]):
            raise SourceInvalid(f"{path}: two columns are the field {'.'.join(place)}")
        if place[0] == "documents" and (len(place) != 3 or not INDEX.fullmatch(place[1])):
            raise SourceInvalid(f"{path}: {'.'.join(place)} is no field of a document; documents.0.{FILE} is one")
    return places


def _table(cells: Sequence[str], places: Sequence[tuple[str, ...] | None]) -> Table:
    table: Table = {}
    for cell, place in zip(cells, places, strict=True):
        if cell and place is not None:
            inner = table
            for name in place[:-1]:
                inner = inner.setdefault(name, {})
            inner[place[-1]] = cell
    if "documents" in table:
        table["documents"] = [entry for _, entry in sorted(table["documents"].items(), key=lambda item: int(item[0]))]
    return table
