"""Hand over the documents of an accepted letter, and know whether they arrived whole.

Owns     the release at the bridge, decryption on the way out, the handover row, the draft of E.1
Rules    a document counts as handed over when one response carried it from first to last byte to a connection that was
         still open; no ranges, so that "whole" has one meaning. An interrupted download is a row too. HEAD releases
         nothing. When every document is handed over, E.1 is drafted once, on the receipt of the last release
Crash    before the row: the bytes went out and nothing says so; the person may download again, and that counts
Elsewhere: who may have the keys (hsm_bridge/operations/recipients.py), the end of access (pipeline/stages/expire.py)
Source   ETSI EN 319 522-1 clause 6.5 (E.1); docs/portal.md, "Handing over"
"""

import hashlib
from collections.abc import AsyncIterator
from urllib.parse import quote
from uuid import UUID

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.pages.context import LetterHandler, LetterRequest
from gateway.pages.handler import see_other
from gateway.pages.standing import LetterStanding
from gateway.portal.ports import PortalPorts
from pipeline.content.envelope import KEY_BYTES, ContentInvalid, Decryptor, stream_data
from pipeline.delivery.facts import Handover
from pipeline.delivery.routes import DRAFT, Emission, lane_of
from pipeline.errors import Invariant, Transient
from pipeline.evidence.draft import draft
from pipeline.formats.events import HANDOVERS
from pipeline.formats.person import IdentifiedPerson
from pipeline.ports.bridge import wire
from pipeline.ports.outside import Objects
from pipeline.stores.letters import StoredDocument, TicketHolder

DOWNLOAD_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
BRIDGE_SECONDS = 10
RECORD_SECONDS = 10
CHUNK_SECONDS = 60  # a reader that takes nothing for a minute has gone


class DocumentDownload(LetterHandler[PortalPorts]):
    """GET /{language}/letter/{number}/documents/{part}."""

    async def document(self, request: Request) -> Response:
        """The document, or the page that says what is missing."""
        letter_request = await self.letter_request(request)
        if isinstance(letter_request, Response):
            return letter_request
        if letter_request.holder is None or letter_request.standing is not LetterStanding.ACCEPTED:
            return see_other(letter_request.address)
        document = await self.ports.portal.document(letter_request.letter.delivery, request.path_params["part"])
        if document is None:
            return self.neutral(request)
        headers = file_headers(document)
        if request.method == "HEAD":
            return Response(headers=headers)
        return await self._released(letter_request, letter_request.holder, document, headers)

    async def _released(
        self, letter_request: LetterRequest, holder: TicketHolder, document: StoredDocument, headers: dict[str, str]
    ) -> Response:
        wrap = document.wrap
        item = wire.Release(wrap.wrapped, wrap.key_id, wrap.context, holder.ticket, document.receipt)
        with anyio.fail_after(BRIDGE_SECONDS):
            [answer] = await self.ports.bridge.ask([item])
        if isinstance(answer, wire.Denied):  # the ticket has run out, or somebody else identified meanwhile
            return see_other(f"{letter_request.address}/identity?result=again")
        return HandoverResponse(self.ports, letter_request.letter.delivery, holder.person, document, answer, headers)


def file_headers(document: StoredDocument) -> dict[str, str]:
    """RFC 6266: saved, never shown inside our origin."""
    return {
        "Content-Type": document.document.content_type,
        "Content-Length": str(document.document.bytes),
        "Content-Disposition": attachment(document.document.file_name),
        "Content-Security-Policy": DOWNLOAD_POLICY,
        "Accept-Ranges": "none",
    }


def attachment(file_name: str) -> str:
    """RFC 6266 section 4.3, RFC 8187: a plain name for old readers, the true one beside it."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in file_name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


class HandoverResponse(Response):
    """Streams one document and records how far it came."""

    def __init__(
        self,
        ports: PortalPorts,
        delivery: UUID,
        person: IdentifiedPerson,
        document: StoredDocument,
        released: wire.Released,
        headers: dict[str, str],
    ) -> None:
        super().__init__(headers=headers)
        self._ports = ports
        self._delivery = delivery
        self._person = person
        self._document = document
        self._released = released
        self._sent = 0
        self._is_authentic = False  # to its last byte
        self._gone = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends, listening for the other side's leaving; then, whatever happened, writes the row."""
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, receive, tasks.cancel_scope)
                try:
                    await self._stream(send)
                except (Invariant, Transient, TimeoutError, OSError) as error:  # raised below, outside the group
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            whole = self._is_authentic and not self._gone
            with anyio.CancelScope(shield=True), anyio.fail_after(RECORD_SECONDS):
                await record_handover(
                    self._ports, self._delivery, self._person, self._document, self._released, self._sent, whole
                )
        if failure is not None:
            raise failure
        if not self._gone:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Receive, stop: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        stop.cancel()

    async def _stream(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        digest = hashlib.sha256()
        async for plain in plain_content(self._ports.objects, self._document, self._released.keys):
            digest.update(plain)
            with anyio.fail_after(CHUNK_SECONDS):
                await send({"type": "http.response.body", "body": plain, "more_body": True})
            self._sent += len(plain)
        if digest.digest() != self._document.document.sha256 or self._sent != self._document.document.bytes:
            raise Invariant(f"document {self._document.document.part} of {self._delivery} is not what was deposited")
        self._is_authentic = True


async def plain_content(objects: Objects, document: StoredDocument, keys: bytes) -> AsyncIterator[bytes]:
    """The document's bytes, authenticated before they leave here."""
    if len(keys) != document.keys * KEY_BYTES:
        raise Invariant("the release does not hold one key per segment")
    for segment in document.segments:
        key = keys[segment.key_index * KEY_BYTES : (segment.key_index + 1) * KEY_BYTES]
        try:
            bound_to = stream_data(segment.content_format, segment.object, segment.object_offset)
            decryptor = Decryptor(key, bound_to)
            async for sealed in objects.read(segment.object, segment.object_offset, segment.object_bytes):
                if plain := decryptor.update(sealed):
                    yield plain
            if plain := decryptor.finish():
                yield plain
        except ContentInvalid as error:
            raise Invariant(f"object {segment.object} does not open as it was deposited") from error


async def record_handover(
    ports: PortalPorts,
    delivery: UUID,
    person: IdentifiedPerson,
    document: StoredDocument,
    released: wire.Released,
    sent: int,
    whole: bool,
) -> None:
    """The handover row; with the last missing document also the draft of E.1."""
    dossier = await ports.portal.dossier(delivery)
    async with ports.portal.transaction() as tx:
        locked = (await tx.lock([delivery]))[delivery]
        await tx.add([Handover(delivery, document.document.part, whole, sent, locked.legal_time)])
        if not whole or locked.drafted & HANDOVERS or not await tx.handed_over(delivery):
            return
        drafted = draft(locked.head, "E.1", dossier, identification=person, receipt=released.receipt)
        await tx.add([drafted])
        await tx.emit([Emission(DRAFT, delivery, drafted.evidence, lane=lane_of(drafted.event))])
