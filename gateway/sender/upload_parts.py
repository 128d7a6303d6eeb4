"""/v1/uploads/{id}: a file in parts, each sent until it has arrived, in any order, through any gateway.

Owns     the announcement, the parts, what is missing, completion, and giving an unused upload up
Rules    a part is a segment with an object and a key of its own. Its bytes are checked against the digest of its own
         request; a part that is there is not replaced: the same bytes again are fine, others are part_conflict
         the digest of the whole is the sender's word until `encrypt` has read the parts back, in order and before there
         is a proof of deposit: the gateway sees the parts in any order, keeps no state of a digest between requests and
         cannot read back what it sealed. Only of a single part is it known here
Crash    between an object and its row: an object without a key; `archive` removes it, the sender sends the part again
Elsewhere: the pass over a body (encrypted_upload.py)
"""

from collections.abc import AsyncIterator
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import read_body
from gateway.limits import JSON_BYTES_MAX, pieces
from gateway.places import Places
from gateway.problems import Problem, field_problem, problem_of
from gateway.sender import presentation
from gateway.sender.content_headers import content_digest
from gateway.sender.encrypted_upload import CheckedBody, ExpectedBody, store_encrypted
from gateway.sender.json_body import json_object
from gateway.sender.oauth import OAuth, Principal
from gateway.sender.ports import SenderPorts
from pipeline.content.parts import PARTS_MAX, part_bytes_of, part_length, parts_of
from pipeline.content.types import ALLOWED
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import Fields, digest, file_name_mistake, identifier
from pipeline.stores.senders import UPLOAD_DAYS, PartialUpload, SenderUpload

SCOPE = "deliveries:write"


class UploadParts:
    """The addresses of one upload."""

    def __init__(self, ports: SenderPorts, oauth: OAuth, places: Places) -> None:
        self._ports = ports
        self._oauth = oauth
        self._places = places

    async def announce(self, request: Request) -> Response:
        """POST /v1/uploads with JSON: what will come, and in which pieces it has to."""
        principal = await self._oauth.authorise(request, SCOPE)
        upload = self._read(await read_body(request, JSON_BYTES_MAX), principal)
        await self._ports.senders.add_upload(upload, [])
        answer = presentation.announced(upload)
        return JSONResponse(answer, 201, {"Location": f"/v1/uploads/{upload.id}"})

    async def put(self, request: Request) -> Response:
        """PUT parts/{n}: 201 when it is new, 200 when it was there."""
        principal, partial = await self._find(request)
        number, length = _part_of(request, partial.upload)
        expected = ExpectedBody(content_digest(request), length)
        with self._places.held(principal.sender):
            body = pieces(request, length)
            if number in partial.parts:
                return await self._again(body, expected, partial, number)
            intake = await self._ports.keys.active("intake")
            place = (partial.upload.sender, partial.upload.id, number)
            stored = await store_encrypted(self._ports, intake, place, body, expected)
        if not await self._ports.senders.add_upload_part(partial.upload.id, stored.segment):
            _, partial = await self._find(request)  # another request with this part was faster
            return _same(partial, number, expected)
        return JSONResponse(_part(number, expected), 201)

    async def show(self, request: Request) -> Response:
        """GET: what it is and which parts are missing."""
        _, partial = await self._find(request)
        return JSONResponse(presentation.upload(partial.upload, _missing(partial)))

    async def complete(self, request: Request) -> Response:
        """POST complete: nothing is missing. May be asked again."""
        _, partial = await self._find(request)
        if missing := _missing(partial):
            raise Problem("upload_incomplete", f"missing parts: {', '.join(map(str, missing))}")
        if list(partial.parts) == [1] and partial.parts[1] != partial.upload.sha256:
            raise field_problem("digest_mismatch", "/sha256", "the part that is the whole file has another SHA-256")
        return JSONResponse(presentation.upload(partial.upload, ()))

    async def withdraw(self, request: Request) -> Response:
        """DELETE: it can be used no more; its bytes go with the next cleaning a day later."""
        principal, partial = await self._find(request, also_expired=True)
        if not await self._ports.senders.withdraw_upload(principal.sender, partial.upload.id):
            raise Problem("not_withdrawable", "a delivery uses this upload")
        return Response(status_code=204)

    async def _find(self, request: Request, also_expired: bool = False) -> tuple[Principal, PartialUpload]:
        principal = await self._oauth.authorise(request, SCOPE)
        try:
            name = identifier(request.path_params["upload"])
        except ValueError as error:
            raise Problem("not_found", "no upload of yours has this id") from error
        partial = await self._ports.senders.upload_parts(principal.sender, name)
        if partial is None:
            raise Problem("not_found", "no upload of yours has this id")
        if partial.upload.expired and not also_expired:
            raise Problem("upload_expired", f"it was not used within {UPLOAD_DAYS} days, or was given up")
        return principal, partial

    async def _again(
        self, body: AsyncIterator[bytes], expected: ExpectedBody, partial: PartialUpload, number: int
    ) -> Response:
        async for _ in CheckedBody(expected).plain(body):
            pass  # a sender that is still sending hears no answer; and whether the bytes are the announced ones matters
        return _same(partial, number, expected)

    def _read(self, body: bytes, principal: Principal) -> SenderUpload:
        mistakes: list[Mistake] = []
        fields = Fields(json_object(body), mistakes)
        sha256 = fields.parsed("sha256", digest, "a SHA-256 digest in hexadecimal or base64")
        content_bytes = fields.value("bytes", int, "the length of the file in bytes")
        file_name = fields.text("file_name", 255)
        content_type = fields.choice("content_type", tuple(ALLOWED))
        fields.end()
        if file_name is not None and (wrong := file_name_mistake(file_name, content_type)):
            fields.mistake("file_name", wrong)
        bytes_max = self._ports.config.gateway.document_bytes_max
        if content_bytes is not None and not 1 <= content_bytes <= bytes_max:
            fields.mistake("bytes", f"must be 1 to {bytes_max}")
        if mistakes or sha256 is None or content_bytes is None or file_name is None or content_type is None:
            raise problem_of(mistakes)
        return SenderUpload(
            id=self._ports.ids.uuid7(),
            sender=principal.sender,
            file_name=file_name,
            content_type=content_type,
            content_bytes=content_bytes,
            sha256=sha256,
            sha3_256=None,
            expires_at=self._ports.clock.now() + timedelta(days=UPLOAD_DAYS),
            part_bytes=part_bytes_of(content_bytes),
        )


def _part_of(request: Request, upload: SenderUpload) -> tuple[int, int]:
    """Number and length of the part that the path names; an upload in one body has no parts to send."""
    text, size = request.path_params["part"], upload.part_bytes
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(PARTS_MAX)) else 0
    if size is None or not 1 <= number <= parts_of(upload.content_bytes, size):
        raise Problem("not_found", "this upload has no such part")
    return number, part_length(upload.content_bytes, size, number)


def _missing(partial: PartialUpload) -> tuple[int, ...]:
    if partial.upload.part_bytes is None:
        return ()
    count = parts_of(partial.upload.content_bytes, partial.upload.part_bytes)
    return tuple(n for n in range(1, count + 1) if n not in partial.parts)


def _same(partial: PartialUpload, number: int, expected: ExpectedBody) -> Response:
    if partial.parts.get(number) != expected.sha256:
        raise Problem("part_conflict", f"part {number} was sent before with other bytes")
    return JSONResponse(_part(number, expected))


def _part(number: int, expected: ExpectedBody) -> dict[str, object]:
    return {"part": number, "bytes": expected.plain_bytes, "sha256": expected.sha256.hex()}
