"""Push a table of letters as one batch: attachments once each, lines in parts, then submit. Goes on where it stopped.

Owns     cutting rows into parts (the same rows always make the same parts), uploading what a part needs before it, the
         order in which things are written down
Rules    constant memory: one part of rows, and a bounded memory of file names. Every step may happen twice: an upload
         that is not written down is made again and the first expires unused; a part has its digest; submit is told by
         the state of the batch
Elsewhere: reading tables (lines.py), the state file (push_state.py), the command line (batch.py)
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import anyio

from pipeline.client import lines
from pipeline.client.answers import ClientError
from pipeline.client.api import QerdsClient
from pipeline.client.batches import OPEN, Batch, sha256_of_parts
from pipeline.client.push_state import PushState, Source
from pipeline.client.uploads import file_sha256

PART_BYTES_MAX = 8 * 1024 * 1024
PART_ROWS_MAX = 20_000
DOCUMENT_BYTES = 250  # what an upload's id, digest and name add to a line, at most about
UPLOADS_AT_ONCE = 8
NAMES_MAX = 10_000  # of files whose digest is remembered


@dataclass(slots=True)
class Push:
    """One push under way."""

    client: QerdsClient
    batch: str
    source: Source
    mapping: lines.ColumnMap
    state: PushState
    advance: Callable[[int, int], None]  # (rows stored, uploads made) since the last call
    _digests: "OrderedDict[str, str]" = field(default_factory=OrderedDict)

    async def run(self) -> Batch:
        """To its submission. Raises Refused, Unreachable, OSError, SourceInvalid."""
        batch = await self.client.batch(self.batch)
        if batch.state != OPEN:
            return batch
        await self.send_parts()
        digests = [sha256 for _, sha256 in self.state.parts()]
        return await self.client.submit_batch(self.batch, len(digests), self.source.rows, sha256_of_parts(digests))

    async def send_parts(self) -> None:
        """Every part that is not stored yet."""
        stored = self.state.parts()
        done_rows = sum(rows for rows, _ in stored)
        self.advance(done_rows, 0)
        table = lines.rows(self.source.path, self.mapping)
        rest = islice(table, done_rows, None)
        for number, rows in enumerate(cut(rest, self.source.part_rows_max), start=len(stored) + 1):
            uploads = await self._uploads_of(rows)
            content = b"".join(lines.line_bytes(lines.with_uploads(row, uploads)) for row in rows)
            await self.client.put_items(self.batch, number, content)
            self.state.add_part(number, len(rows), hashlib.sha256(content).digest())
            self.advance(len(rows), 0)

    async def _uploads_of(self, rows: list[lines.Table]) -> dict[str, tuple[str, str]]:
        """File -> (upload id, digest), with every upload made and written down."""
        files = dict.fromkeys(name for row in rows for name in lines.files_of(row))
        names = {name: await self._digest(name) for name in files}
        await self._upload({sha256: name for name, sha256 in names.items() if not self.state.upload_of(sha256)})
        return {name: (self.state.upload_of(sha256) or "", sha256) for name, sha256 in names.items()}

    async def _upload(self, missing: dict[str, str]) -> None:
        """Some at once; those that were made before one failed are written down all the same."""
        made: list[tuple[str, str]] = []
        failed: list[ClientError | OSError] = []
        limit = anyio.CapacityLimiter(UPLOADS_AT_ONCE)

        async def upload(sha256: str, name: str) -> None:
            async with limit:
                try:
                    made.append((sha256, (await self.client.upload(self._path(name))).id))
                    self.advance(0, 1)
                except (ClientError, OSError) as error:
                    failed.append(error)
                    tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                for sha256, name in missing.items():
                    tasks.start_soon(upload, sha256, name)
        finally:
            self.state.add_uploads(made)
        if failed:
            raise failed[0]

    async def _digest(self, name: str) -> str:
        if name not in self._digests:
            self._digests[name] = (await file_sha256(self._path(name))).hex()
            if len(self._digests) > NAMES_MAX:
                self._digests.popitem(last=False)
        return self._digests[name]

    def _path(self, name: str) -> Path:
        return attachment(self.source.attach, name)


def cut(rows: Iterator[lines.Table], rows_max: int = PART_ROWS_MAX) -> Iterator[list[lines.Table]]:
    """Rows in parts, bounded in bytes and in number."""
    part: list[lines.Table] = []
    part_bytes = 0
    for row in rows:
        row_bytes = len(lines.line_bytes(row)) + DOCUMENT_BYTES * len(lines.files_of(row))
        if part and (part_bytes + row_bytes > PART_BYTES_MAX or len(part) == rows_max):
            yield part
            part, part_bytes = [], 0
        part.append(row)
        part_bytes += row_bytes
    if part:
        yield part


def attachment(folder: Path | None, name: str) -> Path:
    """A file of the sender's folder, never outside it. Raises SourceInvalid."""
    if folder is None:
        raise lines.SourceInvalid(f"a line names the file {name!r}: say with --attach in which folder it is")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise lines.SourceInvalid(f"the file {name!r} is not in {folder}")
    return path


def look_through(path: Path, mapping: lines.ColumnMap, attach: Path | None) -> int:
    """How many lines there are; raises SourceInvalid for the first that is broken or whose file is missing."""
    count = 0
    names: OrderedDict[str, None] = OrderedDict()
    for row in lines.rows(path, mapping):
        count += 1
        for name in lines.files_of(row):
            if name not in names:
                if not attachment(attach, name).is_file():
                    raise lines.SourceInvalid(f"{path}: line {count} of the table names {name!r}, which is not there")
                names[name] = None
                if len(names) > NAMES_MAX:
                    names.popitem(last=False)
    if not count:
        raise lines.SourceInvalid(f"{path}: has no lines")
    return count
