"""/v1/deliveries/{id}/evidence and /package: the proofs of a delivery, as soon as they are time-stamped.

Owns     the list, one evidence as XML, which snapshot is meant
Rules    never the content: a sender keeps its own. A package that is not there yet is asked for at `archive`, and
         answered 404 not_yet with Retry-After; the same request again gets it
Elsewhere: making packages (`archive`), checking them (verify.py)
"""

import re

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.problems import Problem, field_problem
from gateway.sender import presentation
from gateway.sender.deliveries import find
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from gateway.sender.stored import StoredAnswer, stored_answer
from pipeline.evidence.form.xades import assemble_stored
from pipeline.intake.reading import identifier
from pipeline.stores.senders import DeliverySeen, SnapshotSeen

SCOPE = "evidence:read"
PACKAGE_TYPE = "application/vnd.etsi.asic-e+zip"  # ETSI EN 319 162-1, 4.3.3.1
RETRY_SECONDS = 2  # what a snapshot takes once its evidence is stamped
SNAPSHOT = re.compile(r"[1-9]\d{0,3}", re.ASCII)


class Proofs:
    """Downloads of one delivery."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._oauth = oauth

    async def index(self, request: Request) -> Response:
        """GET evidence."""
        delivery = await self._delivery(request)
        return JSONResponse([presentation.evidence(event, self._ports.config) for event in delivery.events])

    async def evidence(self, request: Request) -> Response:
        """GET evidence/{eid}: the sealed and stamped document."""
        delivery = await self._delivery(request)
        try:
            proof = await self._ports.senders.evidence(delivery.id, identifier(request.path_params["evidence"]))
        except ValueError:
            proof = None
        if proof is None:
            raise Problem("not_found")
        document = await run_sync(assemble_stored, proof.canonical, proof.certificate, proof.signature, proof.token)
        name = f"{delivery.number}-{proof.sequence:02d}-{proof.event}.xml"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(document, 200, headers, "application/xml")

    async def package(self, request: Request) -> Response:
        """GET package: the newest snapshot of everything stamped, or the one asked for."""
        delivery = await self._delivery(request)
        snapshot = await self._snapshot(delivery, request.query_params.get("snapshot"))
        stored = StoredAnswer(
            what="the package",
            object=snapshot.object,
            object_bytes=snapshot.package_bytes,
            sha256=snapshot.sha256,
            file_name=f"{delivery.number}-{snapshot.snapshot}.asice",
            media_type=PACKAGE_TYPE,
        )
        return await stored_answer(request, stored, self._ports.objects)

    async def _delivery(self, request: Request) -> DeliverySeen:
        principal = await self._oauth.authorise(request, SCOPE)
        return await find(self._ports, principal.sender, request.path_params["name"])

    async def _snapshot(self, delivery: DeliverySeen, number: str | None) -> SnapshotSeen:
        if number is not None:
            if not SNAPSHOT.fullmatch(number):
                raise field_problem("field_invalid", "snapshot", "must be the n of a snapshot")
            named = next((s for s in delivery.snapshots if s.snapshot == int(number)), None)
            if named is None:
                raise Problem("not_found", f"the delivery has snapshots up to {len(delivery.snapshots)}")
            return named
        newest = delivery.snapshots[-1] if delivery.snapshots else None
        if newest is not None and newest.sequence_through >= delivery.stamped_through:
            return newest
        if delivery.stamped_through:  # asked for again and again until it is there: `archive` does not write one twice
            await self._ports.senders.ask_package(delivery.id)
        detail = f"the delivery is {delivery.state}; the package of its proofs is being made"
        raise Problem("not_yet", detail, headers={"Retry-After": str(RETRY_SECONDS)})
