"""/v1/batches: open a batch, see where batches are, submit one, cancel one.

Owns     what a batch must say when it is opened and when it is submitted, and why it takes nothing in any more
Rules    submitted once, when parts, lines and digests are what the sender says: whoever resumes finds out what is there
Crash    before a commit nothing changed; after it the answer may be lost: GET tells, a second submit is a 409
Elsewhere: lines coming in (batch_items.py), results (batch_results.py), drawing (pipeline/stages/ingest.py)
"""

import contextlib
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import read_body
from gateway.limits import LIST_DEFAULT, LIST_MAX
from gateway.problems import Problem, field_problem, problem_of
from gateway.sender import batch_view
from gateway.sender.backlog import Backlog
from gateway.sender.deliveries import READ_SCOPE, WRITE_SCOPE
from gateway.sender.json_body import declared_json_object
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from pipeline.formats.instants import seconds_text
from pipeline.intake.attachments import Carrier
from pipeline.intake.columns import COLUMN_CHARACTERS_MAX, COLUMNS_MAX, ColumnsInvalid, read_paths
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import Fields, digest, identifier, text_mistake
from pipeline.intake.submission import read_letter
from pipeline.stores.batches import BATCH_DAYS, CANCELLED, OPEN, BatchSeen, Closing, Mismatch, NewBatch, NotOpen

NAME_CHARACTERS_MAX = 200
FORMATS = ("ndjson", "csv")
DEFAULTS_KNOWN = frozenset({"recipient", "consent_ref", "subject", "metadata", "documents"})


class Batches:
    """/v1/batches."""

    def __init__(self, ports: SenderPorts, oauth: OAuth, backlog: Backlog) -> None:
        self._ports = ports
        self._store = ports.batches
        self._oauth = oauth
        self._backlog = backlog

    async def open(self, request: Request) -> Response:
        """POST: 201."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        table = declared_json_object(request, await read_body(request))
        opened = await self._store.open(self._read(table, principal.sender))
        return JSONResponse(batch_view.batch(opened), 201, {"Location": f"/v1/batches/{opened.id}"})

    async def index(self, request: Request) -> Response:
        """GET the list, without the counts that cost a count."""
        principal = await self._oauth.authorise(request, READ_SCOPE)
        after, limit = _list_query(request.query_params)
        page = list(await self._store.batches(principal.sender, after, limit + 1))
        cursor = str(page[limit - 1].id) if len(page) > limit else None
        items = [batch_view.batch(b) for b in page[:limit]]
        return JSONResponse({"items": items, "next_cursor": cursor})

    async def show(self, request: Request) -> Response:
        """GET one."""
        principal = await self._oauth.authorise(request, READ_SCOPE)
        return await self._shown(await find_batch(self._ports, principal.sender, request))

    async def submit(self, request: Request) -> Response:
        """POST submit: 202, and it is being drawn."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        batch = await find_batch(self._ports, principal.sender, request)
        closing = _read_closing(declared_json_object(request, await read_body(request)))
        if batch.state != OPEN or batch.expired:
            raise not_open(batch, submitting=True)
        await self._backlog.check(interactive=False)
        answer = await self._store.submit(principal.sender, batch.id, closing)
        if answer is None:
            raise Problem("not_found")
        if isinstance(answer, Mismatch):
            raise _mismatch(answer, closing)
        if isinstance(answer, NotOpen):
            raise not_open(answer.batch, submitting=True)
        return await self._shown(answer, 202)

    async def cancel(self, request: Request) -> Response:
        """POST cancel: what is not drawn yet will not be."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        batch = await find_batch(self._ports, principal.sender, request)
        answer = await self._store.cancel(principal.sender, batch.id)
        if answer is None:
            raise Problem("not_found")
        if isinstance(answer, NotOpen):
            raise not_open(answer.batch)
        return await self._shown(answer)

    async def _shown(self, batch: BatchSeen, status: int = 200) -> Response:
        return JSONResponse(batch_view.batch(batch, await self._store.progress(batch.id)), status)

    def _read(self, table: Mapping[str, object], sender: UUID) -> NewBatch:
        mistakes: list[Mistake] = []
        fields = Fields(table, mistakes)
        name = fields.text("name", NAME_CHARACTERS_MAX)
        line_format = fields.choice("format", FORMATS)
        mapping = _mapping(fields, line_format)
        defaults = _defaults(fields)
        fields.end()
        if mistakes or name is None or line_format is None:
            raise problem_of(mistakes)
        expires_at = self._ports.clock.now() + timedelta(days=BATCH_DAYS)
        return NewBatch(self._ports.ids.uuid7(), sender, name, line_format, mapping, defaults, expires_at)


async def find_batch(ports: SenderPorts, sender: UUID, request: Request) -> BatchSeen:
    """A batch of this sender; anything else, another sender's too, is not there."""
    batch = None
    with contextlib.suppress(ValueError):
        batch = await ports.batches.batch(sender, identifier(request.path_params["batch"]))
    if batch is None:
        raise Problem("not_found")
    return batch


def not_open(batch: BatchSeen, *, submitting: bool = False) -> Problem:
    """Why a batch takes nothing in any more."""
    if batch.expired:
        return Problem("batch_expired", f"it was open until {seconds_text(batch.expires_at)}")
    if submitting and batch.state != CANCELLED:
        return Problem("already_submitted", f"its state is {batch.state}", extra={"state": batch.state})
    return Problem("batch_not_open", f"its state is {batch.state}", extra={"state": batch.state})


def _mapping(fields: Fields, line_format: str | None) -> dict[str, str]:
    columns = fields.fields("csv_mapping", required=False)
    if columns is None:
        return {}
    if line_format == "ndjson":
        fields.mistake("csv_mapping", "is for the format csv")
    names = columns.names()
    if len(names) > COLUMNS_MAX:
        fields.mistake("csv_mapping", f"must have at most {COLUMNS_MAX} columns")
        return {}
    mapping = {}
    for name in names:
        path = columns.text(name, COLUMN_CHARACTERS_MAX)
        if wrong := text_mistake(name, COLUMN_CHARACTERS_MAX):
            fields.mistake("csv_mapping", f"the name of a column {wrong}")
        elif path is not None:
            mapping[name] = path
    try:
        read_paths(list(mapping.values()))
    except ColumnsInvalid as error:
        fields.mistake("csv_mapping", str(error))
    return mapping


def _defaults(fields: Fields) -> Mapping[str, object]:
    """Wrong whatever the lines say: a field that is there is judged; one that is missing may be in the lines."""
    defaults = fields.value("defaults", dict, "an object of fields for every line", required=False)
    if defaults is None:
        return {}
    at = fields.pointer("defaults")
    for name in defaults:
        if name not in DEFAULTS_KNOWN:
            detail = f"is no default; known: {', '.join(sorted(DEFAULTS_KNOWN))}"
            fields.mistakes.append(Mistake("field_unknown", f"{at}/{name[:100]}", detail))
    line_fields = {name: value for name, value in defaults.items() if name in DEFAULTS_KNOWN}
    _, mistakes = read_letter(line_fields, Carrier.LINE)
    own_mistakes = [m for m in mistakes if _is_there(line_fields, m.pointer)]
    fields.mistakes.extend(Mistake(m.code, f"{at}{m.pointer}", m.detail) for m in own_mistakes)
    return defaults


def _is_there(table: object, pointer: str) -> bool:
    for name in pointer.split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        if isinstance(table, dict) and table.get(name) is not None:
            table = table[name]
        elif isinstance(table, list) and name.isdigit() and int(name) < len(table):
            table = table[int(name)]
        else:
            return False
    return True


def _read_closing(table: Mapping[str, object]) -> Closing:
    mistakes: list[Mistake] = []
    fields = Fields(table, mistakes)
    parts = fields.value("parts", int, "how many parts there are")
    lines = fields.value("lines", int, "how many lines they have")
    description = "the SHA-256 over the digests of all parts, 32 bytes each, in their order"
    sha256_of_parts = fields.parsed("sha256_of_parts", digest, description)
    fields.end()
    for name, value in (("parts", parts), ("lines", lines)):
        if value is not None and value < 1:
            fields.mistake(name, "must be 1 or more")
    if mistakes or parts is None or lines is None or sha256_of_parts is None:
        raise problem_of(mistakes)
    return Closing(parts, lines, sha256_of_parts)


def _mismatch(mismatch: Mismatch, closing: Closing) -> Problem:
    """Every count that differs; the digest only when the counts are right, because it tells less."""
    stored = mismatch.stored
    mistakes = []
    if stored.parts != closing.parts or not mismatch.contiguous:
        detail = (
            f"{stored.parts} parts are stored"
            if mismatch.contiguous
            else "parts must be numbered 1, 2, .. without a gap"
        )
        mistakes.append(Mistake("field_invalid", "/parts", detail))
    if stored.lines != closing.lines:
        mistakes.append(Mistake("field_invalid", "/lines", f"{stored.lines} lines are stored"))
    if not mistakes:
        mistakes.append(
            Mistake("digest_mismatch", "/sha256_of_parts", "is not the digest of the parts that are stored")
        )
    return problem_of(mistakes)


def _list_query(query: Mapping[str, str]) -> tuple[UUID | None, int]:
    for name in sorted(set(query) - {"limit", "cursor"}):
        raise field_problem("field_unknown", name[:100], "is no parameter of this list")
    limit = query.get("limit", str(LIST_DEFAULT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 9 and 1 <= int(limit) <= LIST_MAX):
        raise field_problem("field_invalid", "limit", f"must be a number from 1 to {LIST_MAX}")
    try:
        return identifier(query["cursor"]) if "cursor" in query else None, int(limit)
    except ValueError as error:
        raise field_problem("field_invalid", "cursor", "must be a next_cursor of this list") from error
