"""/v1/consents/requests: have the service ask a consumer for consent, by mail.

Owns     the fields of a request, and what a sender sees of it
Rules    idempotent by its ref: the same POST again is the same request (200), another one under the ref a conflict. A
         yes makes the consent of that ref, as PUT would; so a ref names a consent or a request, never two
         nobody is flooded: one open request of a sender and address, and a few in a month
Elsewhere: the mail (pipeline/notices), the page that the consumer answers on (gateway/portal/consent.py)
"""

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import read_body
from gateway.problems import Problem, problem_of
from gateway.sender import presentation
from gateway.sender.consents import WRITE_SCOPE, ref_conflict
from gateway.sender.json_body import json_object
from gateway.sender.oauth import OAuth, Principal
from gateway.sender.ports import SenderPorts
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import Fields
from pipeline.intake.submission import LANGUAGES, NAME_CHARACTERS_MAX, read_consenting_email
from pipeline.stores.consents import (
    ASKED_DAYS,
    ASKED_MAX,
    Known,
    New,
    NewRequest,
    RefTaken,
    StillOpen,
    TooOften,
)

REF = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)  # no @: it stands in events; no /: it stands in an address


class ConsentRequests:
    """/v1/consents/requests and /v1/consents/requests/{ref}."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._store = ports.consents
        self._oauth = oauth

    async def create(self, request: Request) -> Response:
        """POST: 202 when it is new, 200 when the same one is there."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE, writes_to_people=True)
        new = self._read(await read_body(request), principal)
        location = {"Location": f"/v1/consents/requests/{new.ref}"}
        match await self._store.ask(new):
            case New(stored):
                return JSONResponse(presentation.consent_request(stored), 202, location)
            case Known(stored) if stored.asks_the_same(new):
                return JSONResponse(presentation.consent_request(stored), 200, location)
            case Known():
                raise ref_conflict("another request was made under this reference; use a new one")
            case RefTaken():
                raise ref_conflict("a consent was recorded under this reference; use a new one")
            case StillOpen(ref):
                detail = f"the request {ref} to this address waits for its answer"
                raise Problem("consent_request_open", detail, (Mistake("consent_request_open", "/email", detail),))
            case TooOften(seconds):
                detail = f"this address was asked {ASKED_MAX} times in {ASKED_DAYS} days"
                mistake = Mistake("consent_asked_too_often", "/email", detail)
                raise Problem("consent_asked_too_often", detail, (mistake,), headers={"Retry-After": str(seconds)})

    async def show(self, request: Request) -> Response:
        """GET."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        ref = request.path_params["ref"]
        consent_request = await self._store.request_of(principal.sender, ref) if REF.fullmatch(ref) else None
        if consent_request is None:
            raise Problem("not_found")
        return JSONResponse(presentation.consent_request(consent_request))

    def _read(self, body: bytes, principal: Principal) -> NewRequest:
        mistakes: list[Mistake] = []
        fields = Fields(json_object(body), mistakes)
        ref = fields.matching("ref", REF, "1 to 64 of A-Z a-z 0-9 . _ : -")
        email = read_consenting_email(fields)
        given_names = fields.text("given_names", NAME_CHARACTERS_MAX, kind="name")
        birth_name = fields.text("birth_name", NAME_CHARACTERS_MAX, kind="name")
        language = fields.choice("language", LANGUAGES, default="fr")
        fields.end()
        if ref is None or email is None or given_names is None or birth_name is None or language is None or mistakes:
            raise problem_of(mistakes)
        return NewRequest(self._ports.ids.uuid7(), principal.sender, ref, email, given_names, birth_name, language)
