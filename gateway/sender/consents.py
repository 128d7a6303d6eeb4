"""/v1/consents: a consumer's agreement to registered mail in electronic form, as the sender obtained it.

Owns     recording (once per reference), reading, withdrawing (for ever)
Rules    a consent names a person, an address without a tag, a time and a text; it serves for that person only
         a recorded consent is never changed: another one has another reference. The same PUT again is the same answer
         a delivery to a consumer names one; it is checked at submission and again before the deposit
Elsewhere: asking the consumer (consent_requests.py)
Source   CPCE R.53-1 (prior consent of a recipient who is not a professional)
"""

import hashlib
import re
from dataclasses import replace
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import read_body
from gateway.problems import Problem, field_problem, problem_of
from gateway.sender import presentation
from gateway.sender.json_body import json_object
from gateway.sender.oauth import OAuth, Principal
from gateway.sender.ports import SenderPorts
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import Fields, digest, instant, nfc, text_mistake
from pipeline.intake.submission import NAME_CHARACTERS_MAX, read_consenting_email
from pipeline.stores.consents import METHOD as ASKED_BY_US
from pipeline.stores.senders import Consent

WRITE_SCOPE = "consents:write"
METHOD = re.compile(r"[a-z0-9_]{1,40}", re.ASCII)
REF_CHARACTERS_MAX = 64
CONSENT_YEAR_MIN = 2011  # decree 2011-144 of 2 February 2011: the first registered letters by electronic mail in France
NO_TEXT = hashlib.sha256(b"").digest()
CLOCK_SKEW = timedelta(minutes=5)  # a sender's clock may be ahead of ours


class Consents:
    """/v1/consents/{ref}."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._oauth = oauth

    async def put(self, request: Request) -> Response:
        """PUT: 201 when it is new, 200 when the same one is there."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        ref = _ref(request)
        consent = self._read(await read_body(request), ref, principal)
        answer = await self._ports.senders.put_consent(consent)
        if answer is None:
            raise ref_conflict("the recipient was asked under this reference; use a new one")
        recorded, is_new = answer
        if replace(recorded, withdrawn_at=None, withdrawn_by=None) != consent:
            raise ref_conflict("another consent was recorded under this reference; use a new one")
        return JSONResponse(presentation.consent(recorded), 201 if is_new else 200)

    async def get(self, request: Request) -> Response:
        """GET."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        consent = await self._ports.senders.consent(principal.sender, _ref(request))
        if consent is None:
            raise Problem("not_found")
        return JSONResponse(presentation.consent(consent))

    async def withdraw(self, request: Request) -> Response:
        """POST withdraw."""
        principal = await self._oauth.authorise(request, WRITE_SCOPE)
        consent = await self._ports.senders.withdraw_consent(principal.sender, _ref(request))
        if consent is None:
            raise Problem("not_found")
        return JSONResponse(presentation.consent(consent))

    def _read(self, body: bytes, ref: str, principal: Principal) -> Consent:
        mistakes: list[Mistake] = []
        fields = Fields(json_object(body), mistakes)
        email = read_consenting_email(fields)
        given_names = fields.text("given_names", NAME_CHARACTERS_MAX, kind="name")
        birth_name = fields.text("birth_name", NAME_CHARACTERS_MAX, kind="name")
        obtained_at = fields.parsed("obtained_at", instant, "a time, RFC 3339 with a zone")
        method = fields.matching("method", METHOD, "how it was obtained: 1 to 40 of a-z 0-9 _")
        text_sha256 = fields.parsed("text_sha256", digest, "the SHA-256 of the text that was agreed to")
        if obtained_at is not None and obtained_at > self._ports.clock.now() + CLOCK_SKEW:
            fields.mistake("obtained_at", "is in the future")
        if obtained_at is not None and obtained_at.year < CONSENT_YEAR_MIN:
            fields.mistake("obtained_at", f"is before {CONSENT_YEAR_MIN}, when nobody could receive such letters")
        if text_sha256 == NO_TEXT:
            fields.mistake("text_sha256", "is the digest of no text at all")
        if method == ASKED_BY_US:
            fields.mistake("method", "is for consents given on this service's own page: POST /v1/consents/requests")
        fields.end()
        if (
            email is None
            or given_names is None
            or birth_name is None
            or obtained_at is None
            or method is None
            or text_sha256 is None
            or mistakes
        ):
            raise problem_of(mistakes)
        return Consent(principal.sender, ref, email, given_names, birth_name, obtained_at, method, text_sha256)


def ref_conflict(detail: str) -> Problem:
    """A reference names one consent, or one request for one, for ever."""
    return Problem("client_ref_conflict", detail, (Mistake("client_ref_conflict", "ref", detail),))


def _ref(request: Request) -> str:
    ref = nfc(request.path_params["ref"], REF_CHARACTERS_MAX)
    if wrong := text_mistake(ref, REF_CHARACTERS_MAX):
        raise field_problem("field_invalid", "ref", f"the reference {wrong}")
    return ref
