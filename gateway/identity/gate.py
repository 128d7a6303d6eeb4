"""Sending a person to the identity provider, and what to make of their return.

Owns     the sign-in transaction (bound to the session, ten minutes, once), the redirect, the callback, the retry cap
Rules    the nonce comes from the bridge and the tokens go to the bridge: this process decides nothing about identity
         The exchange happens inside the callback request, because a code lives 30 s; ten seconds in all, then nothing
         is recorded. Whatever fails leaves the letter as it was; giving up at the provider is no refusal of the letter
         Names are on no page but to the person who has them: a mismatch never shows who was expected
Elsewhere: checks of tokens and the comparison of persons (hsm_bridge), HTTP to the provider (an adapter)
Source   OpenID Connect Core 1.0 section 3.1; RFC 9207 (iss); FranceConnect+ (no parameter beyond its list: no PKCE)
"""

import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.identity.ports import IdentityPorts
from gateway.pages.context import LetterHandler, LetterRequest, letter_address
from gateway.pages.handler import see_other
from gateway.pages.language import LANGUAGES, negotiated
from gateway.pages.session import (
    Browser,
    FormRefused,
    browser,
    digest,
    form_digest,
    fresh_identifier,
    remember,
    submitted,
)
from gateway.pages.standing import LetterStanding
from pipeline.delivery.facts import Identification
from pipeline.errors import Transient
from pipeline.formats.assurance import AssuranceLevel
from pipeline.ports.bridge import wire
from pipeline.ports.outside import ExchangeRefused, IdentityTokens
from pipeline.stores.letters import TicketHolder, Transaction

EXCHANGE_SECONDS = 10  # code, userinfo, bridge and database together
BRIDGE_SECONDS = 5
STATE_BYTES = 32  # FranceConnect+ asks for 32 characters
MISMATCHES_MAX = 5  # per letter and hour: guessing names is not a way in
CODE_CHARACTERS_MAX = 2048
SCOPE = "openid identite_pivot preferred_username"
JWE_PARTS = 5  # RFC 7516 section 7.1
ACR: Mapping[AssuranceLevel, str] = {"low": "eidas1", "substantial": "eidas2", "high": "eidas3"}

# What the identity page may say about the last attempt; anything else in the address says nothing.
RESULTS = frozenset({"mismatch", "limit", "cancelled", "unavailable", "refused", "again"})
MET_AS_MISMATCH = frozenset({"near", "no"})


class Gate(LetterHandler[IdentityPorts]):
    """The identity pages of a letter and the provider's way back."""

    async def explain(self, request: Request) -> Response:
        """GET: why, what is asked, what is kept; and what became of the last attempt."""
        letter_request = await self.letter_request(request)
        if isinstance(letter_request, Response):
            return letter_request
        result = request.query_params.get("result")
        if letter_request.standing in (LetterStanding.CLOSED, LetterStanding.NOT_OPEN):
            return see_other(letter_request.address)
        return self._page(letter_request, result if result in RESULTS else None)

    async def begin(self, request: Request) -> Response:
        """POST: off to the provider."""
        letter_request = await self.letter_request(request)
        if isinstance(letter_request, Response):
            return letter_request
        try:
            await submitted(self.ports, request, letter_request.browser)
        except FormRefused:
            return self.form_refused(letter_request.language, letter_request.address)
        if letter_request.standing in (LetterStanding.CLOSED, LetterStanding.NOT_OPEN):
            return see_other(letter_request.address)
        if await self.ports.portal.recent_mismatches(letter_request.letter.delivery) >= MISMATCHES_MAX:
            return self._page(letter_request, "limit", 429)
        try:
            return see_other(await self._authorization(letter_request))
        except (Transient, TimeoutError):
            return self._page(letter_request, "unavailable", 503)

    async def finish(self, request: Request) -> Response:
        """GET of the callback: to the letter's page, with an identified person in a renewed session, or without."""
        sent_by = await browser(self.ports, request)
        if sent_by is None:
            return self.session_ended(negotiated(request.headers.get("accept-language", "")))
        begun = await self._begun(request, sent_by)
        if begun is None:
            language = negotiated(request.headers.get("accept-language", ""))
            return self.pages.page("sign_in_lost.html", language, 400, address=None)
        try:
            with anyio.fail_after(EXCHANGE_SECONDS):
                return await self._identified(request, sent_by, begun)
        except (Transient, TimeoutError):
            return _back(begun, "unavailable")

    async def _authorization(self, letter_request: LetterRequest) -> str:
        """The provider's address with a fresh state and the bridge's nonce; the transaction is stored first."""
        session, identity = letter_request.browser.session.session_sha256, self.ports.config.identity
        with anyio.fail_after(BRIDGE_SECONDS):
            [answer] = await self.ports.bridge.ask([wire.BeginIdentity(letter_request.letter.delivery, session)])
        if isinstance(answer, wire.Denied):
            raise Transient(f"the bridge gives no nonce: {answer.code}")
        state = self.ports.ids.random_bytes(STATE_BYTES).hex()
        letter = letter_request.letter
        begun = Transaction(letter.delivery, letter.number, letter_request.language, answer.nonce, session)
        await self.ports.portal.begin_transaction(session, _state_digest(state), begun)
        asked = {
            "client_id": identity.client_id,
            "response_type": "code",
            "scope": SCOPE,
            "redirect_uri": self._callback,
            "state": state,
            "nonce": answer.nonce,
            "acr_values": ACR[identity.minimum_level],
            "prompt": "login",
        }
        return f"{identity.issuer}/authorize?{urlencode(asked)}"

    async def _begun(self, request: Request, sent_by: Browser) -> Transaction | None:
        """The transaction that this return belongs to, taken out of the session: it is good once."""
        issuer = request.query_params.get("iss")
        if issuer is not None and issuer != self.ports.config.identity.issuer:  # RFC 9207: mix-up
            return None
        state = _state_digest(request.query_params.get("state", ""))
        return await self.ports.portal.take_transaction(sent_by.session.session_sha256, state)

    async def _identified(self, request: Request, sent_by: Browser, begun: Transaction) -> Response:
        """Steps: 1 an error or a code, 2 tokens for the code, 3 the bridge's word, 4 the record, 5 the session."""
        if "error" in request.query_params:  # 1
            denied = request.query_params["error"] == "access_denied"
            return _back(begun, "cancelled" if denied else "unavailable")
        code = request.query_params.get("code", "")
        if not 0 < len(code) <= CODE_CHARACTERS_MAX:
            return _back(begun, "refused")
        tokens = await self.ports.identity.exchange(code, self._callback)  # 2
        if isinstance(tokens, ExchangeRefused) or not _encrypted(tokens):
            return _back(begun, "refused")
        answer = await self._verified(begun, tokens)  # 3
        if isinstance(answer, wire.Denied):
            return _back(begun, "refused")
        if await self.ports.portal.recent_mismatches(begun.delivery) >= MISMATCHES_MAX:
            return _back(begun, "limit")
        await self._record(begun, answer)  # 4
        if answer.match in MET_AS_MISMATCH or answer.ticket is None:
            return _back(begun, "mismatch")
        return await self._admit(sent_by, begun, TicketHolder(answer.person, answer.ticket))  # 5

    async def _verified(self, begun: Transaction, tokens: IdentityTokens) -> wire.Identified | wire.Denied:
        wrap = await self.ports.portal.wrap(begun.delivery)
        if wrap is None:
            return wire.Denied("not_deposited")
        proof = wire.VerifyIdentity(
            nonce=begun.nonce,
            session=begun.session_sha256,
            delivery=begun.delivery,
            id_token=tokens.id_token,
            userinfo=tokens.userinfo,
            wrapped=wrap.wrapped,
            wrap_key_id=wrap.key_id,
            context=wrap.context,
        )
        [answer] = await self.ports.bridge.ask([proof])
        return answer

    async def _record(self, begun: Transaction, answer: wire.Identified) -> None:
        """Each identification is a fact, matching or not, with the provider's signed tokens."""
        fact = Identification(
            id=self.ports.ids.uuid7(),
            delivery=begun.delivery,
            provider=answer.person.method,
            outcome=answer.match,
            level=answer.person.level,
            person_sha256=answer.person.person_sha256,
            proof=answer.proof,
            authenticated_at=answer.person.authenticated_at,
        )
        async with self.ports.portal.transaction() as tx:
            await tx.add([fact])

    async def _admit(self, sent_by: Browser, begun: Transaction, holder: TicketHolder) -> Response:
        """A new session identifier, so that nobody who knew the old one comes in with this person."""
        identifier = fresh_identifier(self.ports)
        await self.ports.portal.renew_session(
            sent_by.session.session_sha256, digest(identifier), form_digest(identifier), begun.delivery, holder
        )
        answer = see_other(letter_address(begun.language, begun.number))
        remember(answer, identifier)
        return answer

    @property
    def _callback(self) -> str:
        return f"{self.ports.config.gateway.public_url}/identity/callback"

    def _page(self, letter_request: LetterRequest, result: str | None, status: int = 200) -> HTMLResponse:
        template = "mismatch.html" if result in ("mismatch", "limit") else "identity.html"
        return self.pages.page(
            template,
            letter_request.language,
            status,
            letter=letter_request.letter,
            address=letter_request.address,
            result=result,
            form_token=letter_request.browser.form_token,
            embedded=self.ports.config.identity.provider == "embedded",
        )


def _encrypted(tokens: IdentityTokens) -> bool:
    """FranceConnect+ encrypts both tokens; one that is only signed has lost its cover on the way."""
    return all(token.count(".") == JWE_PARTS - 1 for token in (tokens.id_token, tokens.userinfo))


def _state_digest(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()


def _back(begun: Transaction, result: str) -> Response:
    """To the identity page, saying what happened."""
    language = begun.language if begun.language in LANGUAGES else LANGUAGES[0]
    return see_other(f"{letter_address(language, begun.number)}/identity?result={result}")
