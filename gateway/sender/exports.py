"""/v1/exports: packages and evidence of many letters, in parts, to keep in the sender's own archive.

Owns     reading an order, the list of parts with their digests, the parts
Rules    202 means: recorded, with its message to `archive`. An Idempotency-Key names the export for ever, so that a
         lost answer orders nothing twice; the same key with another order is refused
         an export is what there was when its parts were made; a part never changes
Elsewhere: making parts (pipeline/exports/export.py)
"""

import hashlib
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import read_body
from gateway.problems import Problem, field_problem, problem_of
from gateway.sender.json_body import declared_json_object
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from gateway.sender.stored import StoredAnswer, stored_answer
from pipeline.exports.export import KINDS, PACKAGE
from pipeline.formats.instants import time_text
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import Fields, identifier, instant
from pipeline.stores.exports import ExportOrder, ExportSeen

SCOPE = "evidence:read"
ZIP_TYPE = "application/zip"
KEY_CHARACTERS_MAX = 255
RETRY_SECONDS = 2


class Exports:
    """/v1/exports."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._oauth = oauth

    async def create(self, request: Request) -> Response:
        """POST: 202, the export is being made."""
        principal = await self._oauth.authorise(request, SCOPE)
        body = await read_body(request)
        order = self._read(request, body, principal.sender, self._id_of(request, principal.sender))
        if order.batch is not None and not await self._ports.exports.has_batch(principal.sender, order.batch):
            raise field_problem("field_invalid", "/batch_id", "no batch of yours has this id")
        await self._ports.exports.order_export(order)
        export = await self._ports.exports.export(principal.sender, order.id)
        if export is None or export.order != order:
            raise Problem("idempotency_key_reused", "this key ordered another export")
        location = f"/v1/exports/{order.id}"
        return JSONResponse(self._shown(export), 202, {"Location": location, "Retry-After": str(RETRY_SECONDS)})

    async def show(self, request: Request) -> Response:
        """GET."""
        export = await self._export(request)
        headers = {} if export.is_ready else {"Retry-After": str(RETRY_SECONDS)}
        return JSONResponse(self._shown(export), headers=headers)

    async def part(self, request: Request) -> Response:
        """GET parts/{n}: a zip file."""
        export = await self._export(request)
        number = request.path_params["n"]
        part = next((p for p in export.parts if str(p.number) == number), None)
        if part is None:
            raise Problem("not_found")
        stored = StoredAnswer(
            what="the part",
            object=part.object,
            object_bytes=part.part_bytes,
            sha256=part.sha256,
            file_name=f"export-{export.order.id}-{part.number:04d}.zip",
            media_type=ZIP_TYPE,
        )
        return await stored_answer(request, stored, self._ports.objects)

    async def _export(self, request: Request) -> ExportSeen:
        principal = await self._oauth.authorise(request, SCOPE)
        try:
            export = identifier(request.path_params["export"])
        except ValueError as error:
            raise Problem("not_found") from error
        seen = await self._ports.exports.export(principal.sender, export)
        if seen is None:
            raise Problem("not_found")
        return seen

    def _id_of(self, request: Request, sender: UUID) -> UUID:
        """Of the key when there is one (RFC 9562, version 8): the key itself is the memory."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return self._ports.ids.uuid7()
        if not 1 <= len(key) <= KEY_CHARACTERS_MAX:
            raise field_problem("field_invalid", "Idempotency-Key", f"must have 1 to {KEY_CHARACTERS_MAX} characters")
        digest = bytearray(hashlib.sha256(b"export\0" + sender.bytes + key.encode("utf-8", "surrogateescape")).digest())
        digest[6] = 0x80 | digest[6] & 0x0F
        digest[8] = 0x80 | digest[8] & 0x3F
        return UUID(bytes=bytes(digest[:16]))

    def _read(self, request: Request, body: bytes, sender: UUID, export: UUID) -> ExportOrder:
        mistakes: list[Mistake] = []
        fields = Fields(declared_json_object(request, body), mistakes)
        batch = fields.parsed("batch_id", identifier, "the id of a batch", required=False)
        first = fields.parsed("from", instant, "a time, RFC 3339 with a zone", required=False)
        end = fields.parsed("to", instant, "a time, RFC 3339 with a zone", required=False)
        kinds = _kinds(fields)
        fields.end()
        if not mistakes:
            if (batch is None) == (first is None and end is None) or (first is None) != (end is None):
                fields.mistake("batch_id", "give either batch_id, or both from and to")
            elif first is not None and end is not None and first >= end:
                fields.mistake("to", "must be later than from")
        if mistakes:
            raise problem_of(mistakes)
        return ExportOrder(export, sender, batch, first, end, kinds)

    def _shown(self, export: ExportSeen) -> dict[str, object]:
        order = export.order
        scope: dict[str, object] = {"batch_id": str(order.batch)} if order.batch else {}
        if order.from_time is not None and order.to_time is not None:
            scope = {"from": time_text(order.from_time), "to": time_text(order.to_time)}
        base = f"{self._ports.config.gateway.public_url}/v1/exports/{order.id}"
        parts = [
            {
                "url": f"{base}/parts/{p.number}",
                "bytes": p.part_bytes,
                "sha256": p.sha256.hex(),
                "deliveries": p.deliveries,
            }
            for p in export.parts
        ]
        return {
            "id": str(order.id),
            "state": "ready" if export.is_ready else "in_progress",
            **scope,
            "kinds": list(order.kinds),
            "requested_at": time_text(export.asked_at),
            "parts": parts,
        }


def _kinds(fields: Fields) -> tuple[str, ...]:
    """Sorted, each once; packages when nothing is said."""
    kinds = fields.value("kinds", list, f"a list of {', '.join(KINDS)}", required=False)
    if kinds is None:
        return (PACKAGE,)
    chosen = {kind for kind in kinds if isinstance(kind, str)}
    if not kinds or len(chosen) != len(kinds) or not chosen <= set(KINDS):
        fields.mistake("kinds", f"must be a list of {', '.join(KINDS)}, each once")
    return tuple(sorted(chosen))
