"""POST /v1/deliveries: submit a letter, or check one without submitting.

Owns     the order of a submission's checks, the two ways in which a repeated request is answered again
Rules    202 means: committed, with its message to `ingest`; whatever dies afterwards, its evidence will exist once
         only client_ref suppresses a duplicate; an Idempotency-Key repeats an answer for 72 h. Both are looked up
         before uploads are judged, so that a late repetition is not told that its upload has expired, and before a
         content that came with the letter is stored, so that a repetition stores nothing
Crash    before the commit there are at most objects without a row; after it the answer may be lost: the same request
         again gets it
Elsewhere: what a letter must say (pipeline/intake/submission.py), documents that come with it (attachments.py), the
         transaction (store), where letters are (deliveries.py)
"""

import hashlib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import read_body
from gateway.limits import JSON_BYTES_MAX, LETTER_BYTES_MAX
from gateway.places import Places
from gateway.problems import Problem, field_problem, problem_of
from gateway.sender import presentation
from gateway.sender.attachments import Attachments, StoredAttachments
from gateway.sender.backlog import Backlog
from gateway.sender.deliveries import WRITE_SCOPE
from gateway.sender.form import LetterForm, form_of, is_form, read_metadata
from gateway.sender.json_body import declared_json_object, json_object
from gateway.sender.oauth import OAuth, Principal
from gateway.sender.ports import SenderPorts
from pipeline.intake.attachments import Carrier
from pipeline.intake.mistakes import Mistake
from pipeline.intake.submission import SubmittedLetter, judge, read_letter
from pipeline.stores.senders import (
    Accepted,
    ClientRefTaken,
    DeliverySeen,
    IdempotencyKey,
    KeyInFlight,
    KeyTaken,
    Order,
    Remembered,
)

IDEMPOTENCY_CHARACTERS_MAX = 255
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


class Submissions:
    """POST /v1/deliveries and validate."""

    def __init__(self, ports: SenderPorts, oauth: OAuth, backlog: Backlog, places: Places) -> None:
        self._ports = ports
        self._store = ports.senders
        self._oauth = oauth
        self._backlog = backlog
        self._places = places
        self._attachments = Attachments(ports)

    async def submit(self, request: Request) -> Response:
        """POST: 202, or 200 with the delivery that has this client_ref already."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        if not is_form(request):
            with self._room(request, principal.sender):
                return await self._submitted(request, principal, await read_body(request, LETTER_BYTES_MAX), None)
        with self._places.held(principal.sender):
            form = form_of(request)
            answer = await self._submitted(request, principal, await read_metadata(form, JSON_BYTES_MAX), form)
            await form.pass_over()
            return answer

    async def validate(self, request: Request) -> Response:
        """POST validate: what submit would say, and nothing is stored."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        with self._room(request, principal.sender):
            table = declared_json_object(request, await read_body(request))
            letter, mistakes = read_letter(table, Carrier.JSON)
            if letter is not None:
                mistakes = await self._judge(principal, letter)
        return JSONResponse({"errors": [{"pointer": m.pointer, "code": m.code, "detail": m.detail} for m in mistakes]})

    def _room(self, request: Request, sender: UUID) -> AbstractContextManager[None]:
        """A letter with contents takes the place of an upload; one that only names uploads is small."""
        announced = request.headers.get("content-length", "")
        is_small = announced.isdecimal() and len(announced) <= 9 and int(announced) <= JSON_BYTES_MAX
        return nullcontext() if is_small else self._places.held(sender)

    async def _submitted(
        self, request: Request, principal: Principal, body: bytes, form: LetterForm | None
    ) -> Response:
        """Steps: 1 answered before under this key, 2 read, 3 there already, 4 judged, 5 stored. Raises Problem."""
        sender = principal.sender
        key = _idempotency_key(request, body)  # 1; of a form the metadata: the digests of all documents are in it
        if key is not None and (remembered := await self._store.remembered(sender, key.key)) is not None:
            return _again(remembered, key)
        if form is None:  # 2
            letter = _read(declared_json_object(request, body), Carrier.JSON)
        else:
            letter = _read(json_object(body), Carrier.FORM)
        if letter.client_ref is not None:  # 3
            existing = await self._store.delivery_by_ref(sender, letter.client_ref)
            if existing is not None:
                return self._replayed(existing, letter)
        if mistakes := await self._judge(principal, letter):  # 4
            raise problem_of(mistakes)
        await self._backlog.check(interactive=True)
        stored = await self._attachments.store(sender, letter, form)  # 5
        order = self._ordered(sender, letter, stored, _traceparent(request))
        return await self._answer(order, key, letter, principal)

    async def _judge(self, principal: Principal, letter: SubmittedLetter) -> list[Mistake]:
        uploads = await self._store.uploads(principal.sender, letter.uploads) if letter.uploads else {}
        ref = letter.consent_ref
        consent = None if ref is None else await self._store.consent(principal.sender, ref)
        return judge(letter, uploads, consent, birth_date_demanded=principal.birth_date_demanded)

    def _ordered(self, sender: UUID, letter: SubmittedLetter, stored: StoredAttachments, trace: str | None) -> Order:
        return Order(
            delivery=self._ports.ids.uuid7(),
            number=self._ports.ids.random_number(),
            sender=sender,
            mode=self._ports.config.mode,
            config_version=self._ports.config.config_version,
            submission=letter.submission({part: upload.id for part, (upload, _) in stored.items()}),
            contents=tuple(stored.values()),
            traceparent=trace,
        )

    async def _answer(
        self, order: Order, key: IdempotencyKey | None, letter: SubmittedLetter, principal: Principal
    ) -> Response:
        config = self._ports.config
        location = f"/v1/deliveries/{order.delivery}"
        answer = await self._store.submit(
            order, key, lambda d: presentation.json_bytes(presentation.delivery(config, d)), location
        )
        if isinstance(answer, Accepted):
            return Response(answer.body, 202, {"Location": location}, "application/json")
        if isinstance(answer, ClientRefTaken):
            return self._replayed(answer.existing, letter)
        if isinstance(answer, KeyTaken) and key is not None:
            return _again(answer.remembered, key)
        if isinstance(answer, KeyInFlight):
            raise Problem("idempotency_in_flight")
        raise problem_of(await self._judge(principal, letter) or [_gone()])

    def _replayed(self, existing: DeliverySeen, letter: SubmittedLetter) -> Response:
        if existing.request_sha256 != letter.request_sha256:
            mistake = Mistake("client_ref_conflict", "/client_ref", "another letter has this reference")
            raise Problem(mistake.code, mistake.detail, (mistake,), extra={"existing_id": str(existing.id)})
        shown = {**presentation.delivery(self._ports.config, existing), "replayed": True}
        return JSONResponse(shown, 200, {"Location": f"/v1/deliveries/{existing.id}"})


def _read(table: Mapping[str, object], carrier: Carrier) -> SubmittedLetter:
    letter, mistakes = read_letter(table, carrier)
    if letter is None:
        raise problem_of(mistakes)
    return letter


def _traceparent(request: Request) -> str | None:
    """Of W3C Trace Context, carried with the letter's messages; what is malformed counts as absent."""
    header = request.headers.get("traceparent", "")
    return header if TRACEPARENT.fullmatch(header) else None


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
