"""GET /v1/deliveries: where letters are, one by one and in a list.

Owns     finding a letter by id or number, answering a page of the list
Elsewhere: submitting (submissions.py), the list's parameters (delivery_list.py), what is shown (presentation.py)
"""

import contextlib
from uuid import UUID

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.problems import Problem
from gateway.sender import presentation
from gateway.sender.delivery_list import cursor_of, list_query
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from pipeline.delivery.number import is_number
from pipeline.evidence.dossier import Reason
from pipeline.evidence.form.reading import NotOurForm, read
from pipeline.intake.reading import identifier
from pipeline.stores.senders import DeliverySeen

WRITE_SCOPE, READ_SCOPE = "deliveries:write", "deliveries:read"
WITH_REASON = frozenset({"A.2", "C.2"})


class Deliveries:
    """/v1/deliveries."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._store = ports.senders
        self._oauth = oauth

    async def show(self, request: Request) -> Response:
        """GET one, by id or number."""
        principal = await self._oauth.authorise(request, READ_SCOPE)
        delivery = await find(self._ports, principal.sender, request.path_params["name"])
        shown = presentation.delivery(self._ports.config, delivery, await self._reason(delivery))
        return JSONResponse(shown)

    async def index(self, request: Request) -> Response:
        """GET the list."""
        principal = await self._oauth.authorise(request, READ_SCOPE)
        which, after, limit = list_query(request.query_params)
        deliveries, goes_on = await self._store.deliveries(principal.sender, which, after, limit)
        items = [presentation.delivery(self._ports.config, d) for d in deliveries]
        return JSONResponse({"items": items, "next_cursor": None if goes_on is None else cursor_of(which, goes_on)})

    async def _reason(self, delivery: DeliverySeen) -> Reason | None:
        """Why a letter was rejected, or its notice failed: as the sealed evidence says it."""
        event = next((e for e in delivery.events if e.event in WITH_REASON), None)
        proof = None if event is None else await self._store.evidence(delivery.id, event.evidence)
        if proof is None:
            return None
        try:
            return (await run_sync(read, proof.canonical)).reason
        except NotOurForm:  # an evidence of a later version; the list of evidence still has it
            return None


async def find(ports: SenderPorts, sender: UUID, name: str) -> DeliverySeen:
    """A delivery of this sender by id or number; anything else, another sender's too, is not there."""
    delivery = None
    if is_number(name):
        delivery = await ports.senders.delivery(sender, name)
    else:
        with contextlib.suppress(ValueError):
            delivery = await ports.senders.delivery(sender, identifier(name))
    if delivery is None:
        raise Problem("not_found")
    return delivery
