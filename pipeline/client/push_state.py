"""What a push has done so far, on the sender's own disk, so that it can go on after a kill.

Owns     one small SQLite file for each batch, in STATE/push: its source, the uploads by digest, the parts stored
Rules    written before the next thing is sent: what is not in it is sent again, and the service takes it as the same
         holds digests and ids, never content
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

FOLDER = "push"
SCHEMA = """
CREATE TABLE source (path TEXT NOT NULL, sha256 TEXT NOT NULL, rows INTEGER NOT NULL, attach TEXT, map TEXT,
                     part_rows INTEGER NOT NULL);
CREATE TABLE upload (sha256 TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE part (part INTEGER PRIMARY KEY, rows INTEGER NOT NULL, sha256 BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Source:
    """What is pushed, and from where. sha256: of the table, which must not change on the way, nor how it is cut."""

    path: Path
    sha256: str
    rows: int
    attach: Path | None
    map: Path | None
    part_rows_max: int


class PushState:
    """One push. Use `create` or `find`; close it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def create(cls, state: Path, batch: str, source: Source) -> "PushState":
        """A new one; raises OSError, FileExistsError."""
        path = state_file(state, batch)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise FileExistsError(17, "exists already", str(path))
        connection = sqlite3.connect(path)
        connection.executescript(SCHEMA)
        files = (_text(source.attach), _text(source.map))
        values = (str(source.path), source.sha256, source.rows, *files, source.part_rows_max)
        with connection:
            connection.execute("INSERT INTO source VALUES (?, ?, ?, ?, ?, ?)", values)
        return cls(connection)

    @classmethod
    def find(cls, state: Path, batch: str) -> "PushState | None":
        """The one of this batch, if it was pushed from here."""
        path = state_file(state, batch)
        return cls(sqlite3.connect(path)) if path.is_file() else None

    def source(self) -> Source | None:
        """None when the process died before it was written down."""
        with closing(self._db.execute("SELECT path, sha256, rows, attach, map, part_rows FROM source")) as cursor:
            row = cursor.fetchone()
        if row is None:
            return None
        return Source(Path(row[0]), row[1], row[2], row[3] and Path(row[3]), row[4] and Path(row[4]), row[5])

    def upload_of(self, sha256: str) -> str | None:
        """The id of the upload that has these bytes."""
        with closing(self._db.execute("SELECT id FROM upload WHERE sha256 = ?", (sha256,))) as cursor:
            row = cursor.fetchone()
        return None if row is None else row[0]

    def add_uploads(self, uploads: Sequence[tuple[str, str]]) -> None:
        """(digest, id); durable on return."""
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO upload VALUES (?, ?)", uploads)

    def parts(self) -> list[tuple[int, bytes]]:
        """(rows, digest) of the parts that are stored, in order; they are 1, 2, .. n."""
        with closing(self._db.execute("SELECT rows, sha256 FROM part ORDER BY part")) as cursor:
            return [(row[0], row[1]) for row in cursor]

    def add_part(self, part: int, rows: int, sha256: bytes) -> None:
        """Stored by the service; durable on return."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?)", (part, rows, sha256))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def state_file(state: Path, batch: str) -> Path:
    """Where the push of a batch is written down."""
    return state / FOLDER / f"{batch}.sqlite"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
