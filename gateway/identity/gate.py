"""Sending a person to an identity provider, and what to make of their return.

Owns     the sign-in transaction (bound to the session, ten minutes, once), the choice of a provider, the callback, the
         retry cap
Rules    the nonce comes from the bridge and the tokens go to the bridge: this process decides nothing about identity
         The exchange happens inside the callback request, because a code lives 30 s; ten seconds in all, then nothing
         is recorded. Whatever fails leaves the letter as it was; giving up at the provider is no refusal of the letter
         Names are on no page but to the person who has them: a mismatch never shows who was expected
         The cap on retries is of an identified person who is not the addressee: a person who matches meets none,
         however often somebody else has tried
         After acceptance only those providers are offered with which the addressee identified: another one has another
         name for the same person, and the bridge gives keys to whom accepted
Elsewhere: what a provider is sent and sends back (provider.py), checks of tokens and the comparison of persons
           (hsm_bridge)
"""

import hashlib
from collections.abc import Mapping

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.identity.ports import IdentityPorts
from gateway.identity.provider import IdentityProvider, SignIn
from gateway.pages.context import LetterHandler, LetterRequest, letter_address
from gateway.pages.handler import see_other
from gateway.pages.language import LANGUAGES, negotiated
from gateway.pages.rendering import Pages
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
from pipeline.formats.identity_providers import EMBEDDED
from pipeline.ports.bridge import wire
from pipeline.stores.letters import TicketHolder, Transaction

CALLBACK = "/identity/callback/{provider}"
EXCHANGE_SECONDS = 10  # code, userinfo, bridge and database together
BRIDGE_SECONDS = 5
STATE_BYTES = 32  # FranceConnect+ asks for 32 characters
SECRET_BYTES = 32  # in hex 64 characters: RFC 7636 section 4.1 wants 43 to 128
MISMATCHES_MAX = 5  # per letter, person and hour: nobody becomes another by trying again, and each is told

# What the identity page may say about the last attempt; anything else in the address says nothing.
RESULTS = frozenset({"mismatch", "limit", "cancelled", "unavailable", "refused", "again"})
MET_AS_MISMATCH = frozenset({"near", "no"})
ACCEPTED = frozenset({LetterStanding.ACCEPTING, LetterStanding.ACCEPTED})


class Gate(LetterHandler[IdentityPorts]):
    """The identity pages of a letter and the providers' way back. providers: by name, in the order of the page."""

    def __init__(self, ports: IdentityPorts, pages: Pages, providers: Mapping[str, IdentityProvider]) -> None:
        super().__init__(ports, pages)
        self._providers = providers

    async def explain(self, request: Request) -> Response:
        """GET: why, what is asked, what is kept; and what became of the last attempt."""
        letter_request = await self.letter_request(request)
        if isinstance(letter_request, Response):
            return letter_request
        result = request.query_params.get("result")
        if letter_request.standing in (LetterStanding.CLOSED, LetterStanding.NOT_OPEN):
            return see_other(letter_request.address)
        return await self._page(letter_request, result if result in RESULTS else None)

    async def begin(self, request: Request) -> Response:
        """POST: off to the provider of the button."""
        letter_request = await self.letter_request(request)
        if isinstance(letter_request, Response):
            return letter_request
        try:
            fields = await submitted(self.ports, request, letter_request.browser)
        except FormRefused:
            return self.form_refused(letter_request.language, letter_request.address)
        if letter_request.standing in (LetterStanding.CLOSED, LetterStanding.NOT_OPEN):
            return see_other(letter_request.address)
        name = fields.get("provider", "")
        if name not in await self._offered(letter_request):
            return self.form_refused(letter_request.language, letter_request.address)
        try:
            return see_other(await self._departure(letter_request, name))
        except (Transient, TimeoutError):
            return await self._page(letter_request, "unavailable", 503)

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

    async def _departure(self, letter_request: LetterRequest, name: str) -> str:
        """The provider's address with a fresh state and the bridge's nonce; the transaction is stored first."""
        letter, session = letter_request.letter, letter_request.browser.session.session_sha256
        with anyio.fail_after(BRIDGE_SECONDS):
            [answer] = await self.ports.bridge.ask([wire.BeginIdentity(letter.delivery, session, name)])
        if isinstance(answer, wire.Denied):
            raise Transient(f"the bridge gives no nonce: {answer.code}")
        state, secret = (self.ports.ids.random_bytes(count).hex() for count in (STATE_BYTES, SECRET_BYTES))
        begun = Transaction(
            letter.delivery, letter.number, letter_request.language, name, answer.nonce, secret, session
        )
        await self.ports.portal.begin_transaction(session, _state_digest(state), begun)
        with anyio.fail_after(EXCHANGE_SECONDS):
            return await self._providers[name].departure(SignIn(answer.nonce, state, secret, self._callback(name)))

    async def _begun(self, request: Request, sent_by: Browser) -> Transaction | None:
        """The transaction that this return belongs to, taken out of the session: it is good once, and only on the way
        back from its own provider (RFC 9700 section 4.4.2: mix-up)."""
        name = request.path_params["provider"]
        provider = self._providers.get(name)
        if provider is None or not provider.recognises(request.query_params):
            return None
        state = _state_digest(request.query_params.get("state", ""))
        begun = await self.ports.portal.take_transaction(sent_by.session.session_sha256, state)
        return begun if begun is not None and begun.provider == name else None

    async def _identified(self, request: Request, sent_by: Browser, begun: Transaction) -> Response:
        """Steps: 1 the provider's answer, 2 the bridge's word, 3 the record, 4 the session."""
        provider = self._providers[begun.provider]
        tokens = await provider.answer(request.query_params, begun.secret, self._callback(begun.provider))  # 1
        if isinstance(tokens, str):
            return _back(begun, tokens)
        answer = await self._verified(begun, tokens)  # 2
        if isinstance(answer, wire.Denied):
            return _back(begun, "refused")
        if answer.match in MET_AS_MISMATCH or answer.ticket is None:
            return await self._mismatch(begun, answer)
        await self._record(begun, answer)  # 3
        return await self._admit(sent_by, begun, TicketHolder(answer.person, answer.ticket))  # 4

    async def _verified(self, begun: Transaction, tokens: wire.IdentityTokens) -> wire.Identified | wire.Denied:
        wrap = await self.ports.portal.wrap(begun.delivery)
        if wrap is None:
            return wire.Denied("not_deposited")
        proof = wire.VerifyIdentity(
            nonce=begun.nonce,
            session=begun.session_sha256,
            delivery=begun.delivery,
            provider=begun.provider,
            tokens=tokens,
            wrapped=wrap.wrapped,
            wrap_key_id=wrap.key_id,
            context=wrap.context,
        )
        [answer] = await self.ports.bridge.ask([proof])
        return answer

    async def _mismatch(self, begun: Transaction, answer: wire.Identified) -> Response:
        """Recorded and told to the sender, as often as is of use to anybody."""
        if await self.ports.portal.recent_mismatches(begun.delivery, answer.person.person_sha256) >= MISMATCHES_MAX:
            return _back(begun, "limit")
        await self._record(begun, answer)
        return _back(begun, "mismatch")

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
            match_kind=answer.kind,
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

    def _callback(self, name: str) -> str:
        return f"{self.ports.config.gateway.public_url}{CALLBACK.format(provider=name)}"

    async def _offered(self, letter_request: LetterRequest) -> Mapping[str, IdentityProvider]:
        """The providers to choose from. All, when those of before are no longer there: the bridge decides anyway."""
        if letter_request.standing not in ACCEPTED:
            return self._providers
        before = await self.ports.portal.matched_providers(letter_request.letter.delivery)
        return {name: p for name, p in self._providers.items() if name in before} or self._providers

    async def _page(self, letter_request: LetterRequest, result: str | None, status: int = 200) -> HTMLResponse:
        template = "mismatch.html" if result in ("mismatch", "limit") else "identity.html"
        return self.pages.page(
            template,
            letter_request.language,
            status,
            letter=letter_request.letter,
            address=letter_request.address,
            result=result,
            form_token=letter_request.browser.form_token,
            providers=await self._offered(letter_request),
            embedded=EMBEDDED,
        )


def _state_digest(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()


def _back(begun: Transaction, result: str) -> Response:
    """To the identity page, saying what happened."""
    language = begun.language if begun.language in LANGUAGES else LANGUAGES[0]
    return see_other(f"{letter_address(language, begun.number)}/identity?result={result}")
