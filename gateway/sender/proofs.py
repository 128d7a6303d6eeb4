"""/v1/deliveries/{id}/evidence and /package: the proofs of a delivery, as soon as they are time-stamped.

Owns     the list, one evidence as XML, a package with ETag and Range
Rules    never the content: a sender keeps its own. A package that is not there yet is asked for at `archive`, and
         answered 404 not_yet with Retry-After; the same request again gets it
Not      here: making packages (`archive`), checking them (verify.py)
"""

import re
from collections.abc import AsyncIterator

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway.problems import Problem, field_problem
from gateway.sender import presentation
from gateway.sender.deliveries import find
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from gateway.sender.reading import identifier
from pipeline.errors import ObjectMissing
from pipeline.evidence.xades import assemble
from pipeline.senders import Delivery, SnapshotSeen

SCOPE = "evidence:read"
PACKAGE_TYPE = "application/vnd.etsi.asic-e+zip"  # ETSI EN 319 162-1, 4.3.3.1
RETRY_SECONDS = 2  # what a snapshot takes once its evidence is stamped
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
SNAPSHOT = re.compile(r"[1-9]\d{0,3}", re.ASCII)


class Proofs:
    """Downloads of one delivery."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._oauth = oauth

    async def index(self, request: Request) -> Response:
        """GET evidence."""
        found = await self._delivery(request)
        return JSONResponse([presentation.evidence(event, self._ports.config) for event in found.events])

    async def evidence(self, request: Request) -> Response:
        """GET evidence/{eid}: the sealed and stamped document."""
        found = await self._delivery(request)
        try:
            proof = await self._ports.senders.evidence(found.id, identifier(request.path_params["evidence"]))
        except ValueError:
            proof = None
        if proof is None:
            raise Problem("not_found")
        document = await run_sync(assemble, proof.canonical, proof.certificate, proof.signature, proof.token)
        name = f"{found.number}-{proof.sequence:02d}-{proof.event}.xml"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(document, 200, headers, "application/xml")

    async def package(self, request: Request) -> Response:
        """GET package: the newest snapshot of everything stamped, or the one asked for."""
        found = await self._delivery(request)
        snapshot = await self._snapshot(found, request.query_params.get("snapshot"))
        etag = f'"{snapshot.sha256.hex()}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Content-Disposition": f'attachment; filename="{found.number}-{snapshot.snapshot}.asice"',
        }
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        wanted = _range(request, etag, snapshot.package_bytes)
        first, length = wanted or (0, snapshot.package_bytes)
        headers["Content-Length"] = str(length)
        if wanted is not None:
            headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{snapshot.package_bytes}"
        body = await self._open(snapshot, first, length)
        return StreamingResponse(body, 206 if wanted is not None else 200, headers, PACKAGE_TYPE)

    async def _delivery(self, request: Request) -> Delivery:
        principal = await self._oauth.authorise(request, SCOPE)
        return await find(self._ports, principal.sender, request.path_params["name"])

    async def _snapshot(self, found: Delivery, wanted: str | None) -> SnapshotSeen:
        if wanted is not None:
            if not SNAPSHOT.fullmatch(wanted):
                raise field_problem("field_invalid", "snapshot", "must be the n of a snapshot")
            named = next((s for s in found.snapshots if s.snapshot == int(wanted)), None)
            if named is None:
                raise Problem("not_found", f"the delivery has snapshots up to {len(found.snapshots)}")
            return named
        newest = found.snapshots[-1] if found.snapshots else None
        if newest is not None and newest.sequence_through >= found.stamped_through:
            return newest
        if found.stamped_through:  # asked for again and again until it is there: `archive` does not write one twice
            await self._ports.senders.ask_package(found.id)
        detail = f"the delivery is {found.state}; the package of its proofs is being made"
        raise Problem("not_yet", detail, headers={"Retry-After": str(RETRY_SECONDS)})

    async def _open(self, snapshot: SnapshotSeen, first: int, length: int) -> AsyncIterator[bytes]:
        """The bytes, with the first piece already read: what fails before it can still be said."""
        stream = self._ports.objects.read(snapshot.object, first, length)
        try:
            head = await anext(stream, b"")
        except ObjectMissing as error:
            raise Problem("unavailable", "the package is recorded but not in the store") from error

        async def body() -> AsyncIterator[bytes]:
            yield head
            async for piece in stream:
                yield piece

        return body()


def _range(request: Request, etag: str, size_bytes: int) -> tuple[int, int] | None:
    """(first, length) of a single range; None for the whole (RFC 9110 14.2: also for what is not understood)."""
    found = RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or request.headers.get("if-range", etag) != etag:
        return None
    first_text, last_text = found.groups()
    if not first_text and not last_text:
        return None
    if not first_text:
        first, last = max(size_bytes - int(last_text), 0), size_bytes - 1
    else:
        first, last = int(first_text), min(int(last_text) if last_text else size_bytes - 1, size_bytes - 1)
    if first > last or first >= size_bytes:
        unsatisfied = {"Content-Range": f"bytes */{size_bytes}"}
        raise Problem("range_invalid", f"the package has {size_bytes} bytes", headers=unsatisfied)
    return first, last - first + 1
