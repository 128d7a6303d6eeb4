"""/v1/deliveries: submit a letter, check one without submitting, see where letters are.

Owns     the order of a submission's checks, the two ways in which a repeated request is answered again
Rules    202 means: committed, with its message to `ingest`; whatever dies afterwards, its evidence will exist once
         only client_ref suppresses a duplicate; an Idempotency-Key repeats an answer for 72 h. Both are looked up
         before uploads are judged, so that a late repetition is not told that its upload has expired
Crash    before the commit nothing is stored; after it the answer may be lost: the same request again gets it
Not      here: what a submission must say (submission.py), the transaction (store)
"""

import contextlib
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Invalid
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.limits import JSON_BYTES_MAX, LIST_DEFAULT, LIST_MAX, read_body
from gateway.problems import Problem, field_problem, problem_of
from gateway.sender import presentation
from gateway.sender.backlog import Backlog
from gateway.sender.json_body import declared_json_object
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from pipeline.delivery.number import is_number
from pipeline.delivery.states import STATES
from pipeline.evidence.dossier import Reason
from pipeline.evidence.reading import NotOurForm, read
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import identifier
from pipeline.intake.submission import CLIENT_REF, judge, read_submission
from pipeline.senders import (
    Accepted,
    ClientRefTaken,
    Delivery,
    Filter,
    IdempotencyKey,
    KeyInFlight,
    KeyTaken,
    Order,
    Page,
    Remembered,
    Submission,
)

WRITE_SCOPE, READ_SCOPE = "deliveries:write", "deliveries:read"
IDEMPOTENCY_CHARACTERS_MAX = 255
CURSOR_CHARACTERS_MAX = 120
WITH_REASON = frozenset({"A.2", "C.2"})


class Deliveries:
    """/v1/deliveries."""

    def __init__(self, ports: SenderPorts, oauth: OAuth, backlog: Backlog) -> None:
        self._ports = ports
        self._store = ports.senders
        self._oauth = oauth
        self._backlog = backlog

    async def submit(self, request: Request) -> Response:
        """POST: 202, or 200 with the delivery that has this client_ref already."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        body = await read_body(request, JSON_BYTES_MAX)
        key = _idempotency_key(request, body)
        if key is not None and (remembered := await self._store.remembered(principal.sender, key.key)) is not None:
            return _again(remembered, key)
        submission, mistakes = read_submission(declared_json_object(request, body))
        if submission is None:
            raise problem_of(mistakes)
        if submission.client_ref is not None:
            existing = await self._store.delivery_by_ref(principal.sender, submission.client_ref)
            if existing is not None:
                return self._replayed(existing, submission)
        if mistakes := await self._judge(principal.sender, submission):
            raise problem_of(mistakes)
        await self._backlog.check(interactive=True)
        return await self._order(principal.sender, submission, key)

    async def validate(self, request: Request) -> Response:
        """POST validate: what submit would say, and nothing is stored."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        body = await read_body(request, JSON_BYTES_MAX)
        submission, mistakes = read_submission(declared_json_object(request, body))
        if submission is not None:
            mistakes = await self._judge(principal.sender, submission)
        return JSONResponse({"errors": [{"pointer": m.pointer, "code": m.code, "detail": m.detail} for m in mistakes]})

    async def show(self, request: Request) -> Response:
        """GET one, by id or number."""
        principal = await self._oauth.authorise(request, READ_SCOPE)
        found = await find(self._ports, principal.sender, request.path_params["name"])
        shown = presentation.delivery(self._ports.config, found, await self._reason(found))
        return JSONResponse(shown)

    async def index(self, request: Request) -> Response:
        """GET the list."""
        principal = await self._oauth.authorise(request, READ_SCOPE)
        which, after, limit = _list_query(request.query_params)
        found = list(await self._store.deliveries(principal.sender, which, after, limit + 1))
        more = len(found) > limit
        items = [presentation.delivery(self._ports.config, d) for d in found[:limit]]
        return JSONResponse({"items": items, "next_cursor": _cursor(found[limit - 1]) if more else None})

    async def _order(self, sender: UUID, submission: Submission, key: IdempotencyKey | None) -> Response:
        config = self._ports.config
        order = Order(
            delivery=self._ports.ids.uuid7(),
            number=self._ports.ids.random_number(),
            sender=sender,
            mode=config.mode,
            config_version=config.config_version,
            submission=submission,
        )
        location = f"/v1/deliveries/{order.delivery}"
        answer = await self._store.submit(
            order, key, lambda d: presentation.json_bytes(presentation.delivery(config, d)), location
        )
        if isinstance(answer, Accepted):
            return Response(answer.body, 202, {"Location": location}, "application/json")
        if isinstance(answer, ClientRefTaken):
            return self._replayed(answer.existing, submission)
        if isinstance(answer, KeyTaken) and key is not None:
            return _again(answer.remembered, key)
        if isinstance(answer, KeyInFlight):
            raise Problem("idempotency_in_flight")
        raise problem_of(await self._judge(sender, submission) or [_gone()])

    async def _judge(self, sender: UUID, submission: Submission) -> list[Mistake]:
        uploads = await self._store.uploads(sender, [d.upload for d in submission.documents])
        ref = submission.consent_ref
        return judge(submission, uploads, None if ref is None else await self._store.consent(sender, ref))

    def _replayed(self, existing: Delivery, submission: Submission) -> Response:
        if existing.request_sha256 != submission.request_sha256:
            mistake = Mistake("client_ref_conflict", "/client_ref", "another letter has this reference")
            raise Problem(mistake.code, mistake.detail, (mistake,), extra={"existing_id": str(existing.id)})
        shown = {**presentation.delivery(self._ports.config, existing), "replayed": True}
        return JSONResponse(shown, 200, {"Location": f"/v1/deliveries/{existing.id}"})

    async def _reason(self, found: Delivery) -> Reason | None:
        """Why a letter was rejected, or its notice failed: as the sealed evidence says it."""
        event = next((e for e in found.events if e.event in WITH_REASON), None)
        proof = None if event is None else await self._store.evidence(found.id, event.evidence)
        if proof is None:
            return None
        try:
            return (await run_sync(read, proof.canonical)).reason
        except NotOurForm:  # an evidence of a later version; the list of evidence still has it
            return None


async def find(ports: SenderPorts, sender: UUID, name: str) -> Delivery:
    """A delivery of this sender by id or number; anything else, another sender's too, is not there."""
    found = None
    if is_number(name):
        found = await ports.senders.delivery(sender, name)
    else:
        with contextlib.suppress(ValueError):
            found = await ports.senders.delivery(sender, identifier(name))
    if found is None:
        raise Problem("not_found")
    return found


def _idempotency_key(request: Request, body: bytes) -> IdempotencyKey | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not (1 <= len(key) <= IDEMPOTENCY_CHARACTERS_MAX and key.isascii() and key.isprintable()):
        detail = f"must be 1 to {IDEMPOTENCY_CHARACTERS_MAX} printable ASCII characters"
        raise field_problem("field_invalid", "Idempotency-Key", detail)
    request_sha256 = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).digest()
    return IdempotencyKey(key, request_sha256)


def _again(remembered: Remembered, key: IdempotencyKey) -> Response:
    if remembered.request_sha256 != key.request_sha256:
        raise field_problem("idempotency_key_reused", "Idempotency-Key", "was used with another request")
    headers = {} if remembered.location is None else {"Location": remembered.location}
    return Response(remembered.body, remembered.status, headers, "application/json")


def _gone() -> Mistake:
    return Mistake("upload_unknown", "/documents", "an upload was deleted while the letter was submitted")


def _list_query(query: Mapping[str, str]) -> tuple[Filter, Page | None, int]:
    mistakes = []
    unknown = set(query) - {"limit", "cursor", "client_ref", "state", "batch_id"}
    mistakes += [Mistake("field_unknown", name[:100], "is no parameter of this list") for name in sorted(unknown)]
    limit = query.get("limit", str(LIST_DEFAULT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= LIST_MAX):
        mistakes.append(Mistake("field_invalid", "limit", f"must be a number from 1 to {LIST_MAX}"))
    client_ref, state = query.get("client_ref"), query.get("state")
    if client_ref is not None and not CLIENT_REF.fullmatch(client_ref):
        mistakes.append(Mistake("field_invalid", "client_ref", "is no reference"))
    if state is not None and state not in STATES:
        mistakes.append(Mistake("field_invalid", "state", f"must be one of {', '.join(sorted(STATES))}"))
    batch = None
    try:
        batch = identifier(query["batch_id"]) if "batch_id" in query else None
    except ValueError:
        mistakes.append(Mistake("field_invalid", "batch_id", "must be the id of a batch"))
    after = None
    try:
        after = _page(query["cursor"]) if "cursor" in query else None
    except ValueError:
        mistakes.append(Mistake("field_invalid", "cursor", "must be a next_cursor of this list"))
    if mistakes:
        raise problem_of(mistakes)
    return Filter(client_ref, state, batch), after, int(limit)


def _cursor(last: Delivery) -> str:
    deposited = next((e.event_time for e in last.events if e.event == "A.1"), None)
    when = "" if deposited is None else deposited.astimezone(UTC).isoformat()
    return urlsafe_b64encode(f"{when} {last.id}".encode()).decode().rstrip("=")


def _page(cursor: str) -> Page:
    if len(cursor) > CURSOR_CHARACTERS_MAX:
        raise ValueError("too long")
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except (Base64Invalid, UnicodeError) as error:
        raise ValueError("not base64") from error
    when, _, delivery = text.partition(" ")
    moment = datetime.fromisoformat(when) if when else None
    if moment is not None and (moment.tzinfo is None or not 1970 <= moment.year < 2200):
        raise ValueError("not a time")
    return Page(moment, identifier(delivery))
