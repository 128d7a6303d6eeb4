"""The columns of a CSV part: which cell is which field of a letter.

Owns     paths (recipient.email, documents.0.upload_id, metadata.KEY), the header, a row of cells as a JSON object
Rules    without a mapping, a column is named by its path; with one, the mapped columns count and the others are left
         out. An empty cell is an absent field. A name that cannot be a field is refused, before a line is stored
Elsewhere: quotes and line ends (lines.py), whether a field's value is right (submission.py)
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS_MAX = 200
COLUMN_CHARACTERS_MAX = 200
METADATA = "metadata"
NAME = r"[a-z_0-9]{1,40}"
PATH = re.compile(rf"client_ref|consent_ref|subject|recipient(\.{NAME}){{1,2}}|documents\.1?[0-9]\.{NAME}", re.ASCII)
METADATA_PATH = re.compile(r"metadata\.[A-Za-z0-9._-]{1,40}", re.ASCII)

Path = tuple[str, ...]


class ColumnsInvalid(ValueError):
    """A header, a mapping or a row that does not fit; the text says what."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each cell that counts goes. cells: how many a row has."""

    cells: int
    places: tuple[tuple[int, Path], ...]

    def table(self, row: Sequence[str]) -> Mapping[str, object]:
        """One row as the object that an NDJSON line would be."""
        if len(row) != self.cells:
            raise ColumnsInvalid(f"has {len(row)} cells, the header has {self.cells}")
        table: dict[str, Any] = {}
        for index, path in self.places:
            if row[index]:
                inner = table
                for name in path[:-1]:
                    inner = inner.setdefault(name, {})
                inner[path[-1]] = row[index]
        if "documents" in table:
            table["documents"] = [
                entry for _, entry in sorted(table["documents"].items(), key=lambda item: int(item[0]))
            ]
        return table


def read_path(text: str) -> Path:
    """Raises ColumnsInvalid."""
    if METADATA_PATH.fullmatch(text):
        return (METADATA, text.removeprefix(f"{METADATA}."))
    if not PATH.fullmatch(text):
        raise ColumnsInvalid(f"{text[:80]!r} is no field of a letter, such as recipient.email or documents.0.upload_id")
    return tuple(text.split("."))


def read_paths(texts: Sequence[str]) -> list[Path]:
    """All of them; two may not be the same field, nor one a part of the other."""
    paths = [read_path(text) for text in texts]
    for index, path in enumerate(paths):
        for other in paths[:index]:
            if path[: len(other)] == other or other[: len(path)] == path:
                raise ColumnsInvalid(f"{'.'.join(path)} and {'.'.join(other)} are the same field")
    return paths


def read_header(cells: Sequence[str], mapping: Mapping[str, str]) -> Columns:
    """Raises ColumnsInvalid when this can be no header, or lacks a mapped column."""
    names = [cell.strip() for cell in cells]
    if len(names) > COLUMNS_MAX:
        raise ColumnsInvalid(f"has more than {COLUMNS_MAX} columns")
    repeated = {name for name in names if names.count(name) > 1 and (not mapping or name in mapping)}
    if repeated:
        raise ColumnsInvalid(f"is no header: the column {min(repeated)[:80]!r} stands twice")
    columns = mapping or {name: name for name in names}
    missing = [column for column in columns if column not in names]
    if missing:
        raise ColumnsInvalid(f"is no header with the mapped column {missing[0][:80]!r}")
    try:
        paths = read_paths(list(columns.values()))
    except ColumnsInvalid as error:
        raise ColumnsInvalid(f"is no header: {error}; name columns by fields, or give csv_mapping") from error
    return Columns(len(names), tuple((names.index(column), path) for column, path in zip(columns, paths, strict=True)))
