"""The results of a batch's lines, and what they would be: GET results, POST validate.

Owns     paging through lines of any number, a page in memory at a time; NDJSON or CSV, as Accept or format says
Rules    results come in the order of the lines; whatever ends the stream early ends it before its last chunk, so that
         a cut answer is never taken for a whole one
Elsewhere: judging (pipeline/intake/batches.py), the shape of a result (batch_view.py)
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.problems import Language, field_problem, language_of
from gateway.sender import batch_view
from gateway.sender.batch_view import Row
from gateway.sender.batches import find_batch, not_open
from gateway.sender.deliveries import READ_SCOPE, WRITE_SCOPE
from gateway.sender.oauth import OAuth, Principal
from gateway.sender.ports import SenderPorts
from pipeline.evidence.dossier import Reason
from pipeline.evidence.form.reading import NotOurForm, read
from pipeline.intake import batches
from pipeline.stores.batches import (
    BEGINNING,
    CANCELLED,
    OPEN,
    BatchSeen,
    LineCursor,
    ResultSeen,
    StoredLine,
    WaitingLine,
)

PAGE_LINES = 1000
STATUSES = ("accepted", "rejected", "unprocessed")
NDJSON, CSV = "application/x-ndjson", "text/csv"
UNREAD = Reason("rejected", "The letter was rejected; its evidence says why.")


class BatchResults:
    """/v1/batches/{id}/results and validate."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._store = ports.batches
        self._oauth = oauth

    async def show(self, request: Request) -> Response:
        """GET results."""
        principal = await self._oauth.authorise(request, READ_SCOPE)
        batch = await find_batch(self._ports, principal.sender, request)
        status, media_type = _query(request)
        return _stream(self._pages(batch, status, language_of(request)), media_type)

    async def validate(self, request: Request) -> Response:
        """POST validate: what the lines would become now; nothing is drawn."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        batch = await find_batch(self._ports, principal.sender, request)
        status, media_type = _query(request)
        if batch.state != OPEN or batch.expired:
            raise not_open(batch)
        return _stream(self._judged(batch, principal, status, language_of(request)), media_type)

    async def _pages(self, batch: BatchSeen, status: str | None, language: Language) -> AsyncIterator[Sequence[Row]]:
        after = BEGINNING
        while status != "unprocessed" and (page := await self._store.results(batch.id, after, PAGE_LINES)):
            after = LineCursor(page[-1].part, page[-1].line)
            rows = [batch_view.result(r, await _reason(r), language) for r in page]
            yield [row for row in rows if status in (None, row["status"])]
        after = BEGINNING
        while batch.state == CANCELLED and status in (None, "unprocessed"):
            lines = await self._store.waiting(batch.id, after, PAGE_LINES)
            if not lines:
                return
            after = LineCursor(lines[-1].part, lines[-1].line)
            yield [_unprocessed(batch, line) for line in lines]

    async def _judged(
        self, batch: BatchSeen, principal: Principal, status: str | None, language: Language
    ) -> AsyncIterator[Sequence[Row]]:
        after = BEGINNING
        while page := await self._store.waiting(batch.id, after, PAGE_LINES):
            after = LineCursor(page[-1].part, page[-1].line)
            lines = [batches.read_line(batch.defaults, StoredLine(w.part, w.line, w.body)) for w in page]
            references = await self._store.references(principal.sender, *batches.references_of(lines))
            rows = []
            for waiting, line in zip(page, lines, strict=True):
                judged = batches.judged_against(line, references, birth_date_demanded=principal.birth_date_demanded)
                delivery = references.deliveries.get(line.client_ref or "")
                seen = ResultSeen(
                    part=waiting.part,
                    line=waiting.line,
                    number=waiting.number,
                    client_ref=judged.client_ref,
                    delivery=None if delivery is None or judged.mistakes else delivery.delivery,
                    delivery_number=None,
                    state=None,
                    replayed=delivery is not None and not judged.mistakes,
                    problem=batches.problem(judged.mistakes) if judged.mistakes else None,
                    rejection=None,
                )
                rows.append(_without_number(batch_view.result(seen, None, language)))
            yield [row for row in rows if status in (None, row["status"])]


async def _reason(r: ResultSeen) -> Reason | None:
    """Why a drawn letter was rejected: as the sealed evidence says it."""
    if r.rejection is None:
        return None
    try:
        return (await run_sync(read, r.rejection)).reason or UNREAD
    except NotOurForm:  # an evidence of a later version; the list of evidence still has it
        return UNREAD


def _unprocessed(batch: BatchSeen, line: WaitingLine) -> Row:
    read_line = batches.read_line(batch.defaults, StoredLine(line.part, line.line, line.body))
    return {"line": line.number, "client_ref": read_line.client_ref, "status": "unprocessed"}


def _without_number(row: Row) -> Row:
    """A letter that exists is named by its id here; its number was not asked for."""
    return {name: value for name, value in row.items() if name != "number"}


def _query(request: Request) -> tuple[str | None, str]:
    query: Mapping[str, str] = request.query_params
    for name in sorted(set(query) - {"status", "format"}):
        raise field_problem("field_unknown", name[:100], "is no parameter here")
    status = query.get("status")
    if status is not None and status not in STATUSES:
        raise field_problem("field_invalid", "status", f"must be one of {', '.join(STATUSES)}")
    line_format = query.get("format")
    if line_format not in (None, "ndjson", "csv"):
        raise field_problem("field_invalid", "format", "must be ndjson or csv")
    if line_format is None:
        line_format = "csv" if CSV in request.headers.get("accept", "") else "ndjson"
    return status, CSV if line_format == "csv" else NDJSON


def _stream(pages: AsyncIterator[Sequence[Row]], media_type: str) -> Response:
    charset = "text/csv; charset=utf-8; header=present" if media_type == CSV else NDJSON
    return StreamingResponse(_encoded(pages, media_type), media_type=charset)


async def _encoded(pages: AsyncIterator[Sequence[Row]], media_type: str) -> AsyncIterator[bytes]:
    if media_type == CSV:
        yield batch_view.CSV_HEADER
    async for rows in pages:
        if rows:
            yield batch_view.as_csv(rows) if media_type == CSV else batch_view.as_ndjson(rows)
