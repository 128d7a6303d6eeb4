"""PUT /v1/batches/{id}/items?part=N: a part of a batch, line by line into the database.

Owns     the one pass over the body: count, SHA-256, cut into lines, check their syntax, store
Rules    a part is taken as a whole or not at all, and once: the same body again is 200, another one 409. Memory holds
         some lines, however long the body is; no transaction waits for the sender
Crash    lines without their part count for nothing; the hourly round drops them
Elsewhere: whether a letter can be made of a line: it is judged when it is drawn, or by validate
"""

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from uuid import UUID

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import body_bytes_max
from gateway.limits import pieces
from gateway.places import Places
from gateway.problems import Problem, field_problem
from gateway.sender.backlog import Backlog
from gateway.sender.batches import find_batch, not_open
from gateway.sender.content_headers import content_digest
from gateway.sender.deliveries import WRITE_SCOPE
from gateway.sender.oauth import OAuth
from gateway.sender.packs import packing
from gateway.sender.ports import PackWriter, SenderPorts
from pipeline.content.types import type_of
from pipeline.errors import Transient
from pipeline.intake.attachments import has_contents, take_contents
from pipeline.intake.lines import LINE_BYTES_MAX, Line, LineBroken, LineReader, line_reader
from pipeline.stores.batches import (
    BATCH_LINES_MAX,
    OPEN,
    BatchPart,
    BatchSeen,
    BatchStore,
    NewPart,
    NotOpen,
    PartAdded,
    PartConflict,
    TooManyLines,
)

PART_BYTES_MAX = 64 * 1024 * 1024
PART_MAX = 100_000
CONTENTS_MAX = 20_000  # in one part: each is a row in memory until the part is stored
PARTS_AT_ONCE = 6  # of one gateway: each may use a core; four of one sender's
SLICE_BYTES = 256 * 1024  # the loop does something else in between
STORED_LINES = 2000  # by one COPY
STORED_BYTES = 1024 * 1024
DROP_SECONDS = 10.0
TYPES = {"ndjson": ("application/x-ndjson", "application/ndjson", "application/jsonl"), "csv": ("text/csv",)}


class _PartIntake:
    """One body on its way into the table of lines."""

    def __init__(self, store: BatchStore, intake: UUID, reader: LineReader, sender: UUID, pack: PackWriter) -> None:
        self._store = store
        self._intake = intake
        self._reader = reader
        self._sender = sender
        self._pack = pack
        self._contents = 0
        self._sha256 = sha256()
        self._rows: list[tuple[int, bytes]] = []
        self._rows_bytes = 0
        self.body_bytes = 0

    async def take(self, body: AsyncIterator[bytes]) -> None:
        """All of it. Raises LineBroken, or Problem."""
        async for piece in body:
            for at in range(0, len(piece), SLICE_BYTES):
                chunk = piece[at : at + SLICE_BYTES]
                self._sha256.update(chunk)
                self.body_bytes += len(chunk)
                for line in self._reader.feed(chunk):
                    await self._keep(line)
        for line in self._reader.finish():
            await self._keep(line)
        await self._store_rows()

    async def _keep(self, line: Line) -> None:
        if line.number > BATCH_LINES_MAX:
            raise too_many_lines()
        body = await self._take_out(line) if has_contents(line.table) else line.body
        self._rows.append((line.number, body))
        self._rows_bytes += len(body)
        if len(self._rows) >= STORED_LINES or self._rows_bytes >= STORED_BYTES:
            await self._store_rows()

    async def _take_out(self, line: Line) -> bytes:
        """The line with uploads in the places of its contents."""
        documents, contents = take_contents(line.table)
        for place, file_name, content in contents:
            upload = await self._pack.add(self._sender, file_name, type_of(content), content)
            documents[place]["upload_id"] = str(upload)
        body = json.dumps({**line.table, "documents": documents}).encode()
        self._contents += len(contents)
        if self._contents > CONTENTS_MAX:
            raise Problem("body_too_large", f"a part takes at most {CONTENTS_MAX} contents in its lines")
        if len(body) > LINE_BYTES_MAX:
            raise Problem("line_too_long", f"line {line.number} is too long without its contents")
        return body

    async def _store_rows(self) -> None:
        if self._rows:
            await self._store.add_lines(self._intake, self._rows)
        self._rows, self._rows_bytes = [], 0

    def digest(self) -> bytes:
        """SHA-256 of what passed."""
        return self._sha256.digest()


class BatchItems:
    """/v1/batches/{id}/items."""

    def __init__(self, ports: SenderPorts, oauth: OAuth, backlog: Backlog) -> None:
        self._ports = ports
        self._store = ports.batches
        self._oauth = oauth
        self._backlog = backlog
        self._places = Places(PARTS_AT_ONCE, "parts")

    async def put(self, request: Request) -> Response:
        """PUT: 201 when the part is new, 200 when the same one is there."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        batch = await find_batch(self._ports, principal.sender, request)
        number, expected = _part(request), content_digest(request)
        _check_type(request, batch)
        there = await self._store.part(batch.id, number)
        if there is None and (batch.state != OPEN or batch.expired):
            raise not_open(batch)
        if there is not None and there.sha256 != expected:
            raise _conflict()
        if there is not None:
            await _compare(request, expected)
            return _answer(PartAdded(there, is_new=False))
        await self._backlog.check(interactive=False)
        with self._places.held(principal.sender):
            return await self._take_in(request, principal.sender, batch, number, expected)

    async def _take_in(
        self, request: Request, sender: UUID, batch: BatchSeen, number: int, expected: bytes
    ) -> Response:
        intake = self._ports.ids.uuid7()
        reader = line_reader(batch.format, batch.csv_mapping)
        key = await self._ports.keys.active("intake")
        await self._store.begin_intake(intake, batch.id)
        try:
            async with packing(self._ports, key) as pack:
                part_intake = _PartIntake(self._store, intake, reader, sender, pack)
                await part_intake.take(pieces(request, body_bytes_max(request)))
                _check_body(part_intake, reader, expected)
                contents = await pack.finish()
        except LineBroken as error:
            await self._drop(intake)
            raise _broken(error) from error
        except BaseException:
            await self._drop(intake)
            raise
        part = NewPart(batch.id, number, intake, expected, part_intake.body_bytes, reader.number)
        answer = await self._store.add_part(sender, part, contents)
        if isinstance(answer, NotOpen):
            raise not_open(answer.batch)
        if isinstance(answer, PartConflict):
            raise _conflict()
        if isinstance(answer, TooManyLines):
            raise too_many_lines()
        return _answer(answer)

    async def _drop(self, intake: UUID) -> None:
        """Also of a request that was cancelled; what is not dropped now, the hourly round drops."""
        with anyio.move_on_after(DROP_SECONDS, shield=True):
            try:
                await self._store.drop_intake(intake)
            except Transient as error:
                self._ports.recorder.error("gateway", error)


def too_many_lines() -> Problem:
    """More than a batch may have."""
    return Problem("body_too_large", f"a batch takes at most {BATCH_LINES_MAX} lines")


def _part(request: Request) -> int:
    text = request.query_params.get("part", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= PART_MAX):
        raise field_problem("field_invalid", "part", f"must be the number of the part, 1 to {PART_MAX}")
    return int(text)


def _check_type(request: Request, batch: BatchSeen) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in TYPES[batch.format]:
        raise Problem("type_not_allowed", f"this batch takes {', '.join(TYPES[batch.format])} in UTF-8")


async def _compare(request: Request, expected: bytes) -> None:
    """A part that is there already: its bytes again, or not."""
    digest = sha256()
    async for piece in pieces(request, body_bytes_max(request)):
        digest.update(piece)
    if digest.digest() != expected:
        raise field_problem("digest_mismatch", "Content-Digest", "the body has another SHA-256")


def _check_body(part_intake: _PartIntake, reader: LineReader, expected: bytes) -> None:
    if part_intake.digest() != expected:
        raise field_problem("digest_mismatch", "Content-Digest", "the body has another SHA-256")
    if reader.number == 0:
        raise LineBroken("part_malformed", 1, 0, "has no lines")


def _broken(error: LineBroken) -> Problem:
    detail = f"line {error.line}, at byte {error.byte_offset} of the part, {error.detail}"
    return Problem(error.code, detail, extra={"line": error.line, "byte_offset": error.byte_offset})


def _conflict() -> Problem:
    return Problem("part_conflict", "another body was stored under this part number; the first one stays")


def _answer(answer: PartAdded) -> Response:
    return JSONResponse(_shown(answer.part), 201 if answer.is_new else 200)


def _shown(part: BatchPart) -> dict[str, object]:
    return {"part": part.part, "lines": part.lines, "sha256": part.sha256.hex()}
