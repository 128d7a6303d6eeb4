"""The pages on which a consumer answers a sender's request for consent, and withdraws a consent later.

Owns     the way from the mail's link to the page, the page for each standing, the answer
Rules    the link is a pointer: GET and HEAD answer nothing, however often a scanner follows it. A form counts as in the
         pages of a letter (gateway/pages/session.py); no answer is chosen beforehand, so that a program that sends
         forms gives none. A form carries the digest of the text that its page showed: that text is stored with the
         answer, or nothing is
         the first answer stays: a second submit shows it
         nobody is asked who they are: the mail went to the address that the consent is for
Elsewhere: the text (pipeline/notices/consent_wording.py), rows and transactions (pipeline/stores/consents.py)
Source   CPCE L.100 I, R.53-1
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.addresses import count
from gateway.pages.handler import PageHandler, see_other
from gateway.pages.language import Language, language_in_address, negotiated
from gateway.pages.rendering import Pages
from gateway.pages.session import Browser, FormRefused, browser, submitted
from gateway.portal.acts import UNDERSTOOD
from gateway.portal.links import NOBODY, entered, link_digest
from gateway.portal.ports import PortalPorts
from gateway.rates import Rate, by_prefix
from pipeline.notices.consent_wording import Asking, paragraphs, whole, wording_digest
from pipeline.stores.consents import GIVEN, REFUSED, ConsentStanding, RequestSeen

ANSWERS = {"yes": GIVEN, "no": REFUSED}
WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class ConsentPageRequest:
    """What a request for the page of a consent request is about."""

    language: Language
    browser: Browser
    request: RequestSeen

    @property
    def address(self) -> str:
        """The request's page."""
        return page_address(self.language, self.request.id)


class ConsentPages(PageHandler[PortalPorts]):
    """/consent/{token} and /{language}/consent/{request}. misses: how often somebody may follow what is no link."""

    def __init__(self, ports: PortalPorts, pages: Pages, misses: Rate) -> None:
        super().__init__(ports, pages)
        self._misses = misses

    async def open(self, request: Request) -> Response:
        """The link: a redirect to the page in the mail's language, or one neutral page for whatever is no link."""
        self._misses.require(by_prefix(request.scope))
        linked = await self.ports.consents.linked(link_digest(request.path_params["token"]))
        consent_request = await self.ports.consents.request(linked or NOBODY)
        if consent_request is None:
            count(request.scope, self._misses)
            language = negotiated(request.headers.get("accept-language", ""))
            return self.pages.page("consent_unknown.html", language, 404, address=None)
        address = page_address(consent_request.language, consent_request.id)
        if request.method == "HEAD":
            return see_other(address)
        answer = await entered(self.ports, request, consent_request.id, address)
        return self.cookie_refused(request) if answer is None else answer

    async def show(self, request: Request) -> Response:
        """GET: the question, or how it was answered."""
        page_request = await self._page_request(request)
        return page_request if isinstance(page_request, Response) else self._page(page_request)

    async def decide(self, request: Request) -> Response:
        """POST: yes, no, or withdraw; then the page, which says what stands."""
        page_request = await self._page_request(request)
        if isinstance(page_request, Response):
            return page_request
        try:
            fields = await submitted(self.ports, request, page_request.browser)
        except FormRefused:
            return self.form_refused(page_request.language, None)
        if page_request.request.may_answer:
            return await self._answer(page_request, fields)
        if page_request.request.standing is ConsentStanding.GIVEN and fields.get("answer") == WITHDRAW:
            if fields.get("understood") != UNDERSTOOD:
                return self._page(page_request, "checkbox")
            await self.ports.consents.withdraw(page_request.request.id)
        return see_other(page_request.address)

    async def _answer(self, page_request: ConsentPageRequest, fields: Mapping[str, str]) -> Response:
        answer = ANSWERS.get(fields.get("answer", ""))
        if answer is None:
            return self._page(page_request, "choose")
        asking = self._asking(page_request.request)
        if fields.get("text") != wording_digest(asking, page_request.language):
            return self._page(page_request, "changed")
        await self.ports.consents.answer(
            page_request.request.id, answer, page_request.language, whole(asking, page_request.language)
        )
        return see_other(page_request.address)

    async def _page_request(self, request: Request) -> ConsentPageRequest | Response:
        language = language_in_address(request.path_params["language"])
        if language is None:
            return self.neutral(request)
        sent_by = await browser(self.ports, request)
        request_id = request.path_params["request"]
        consent_request = None
        if sent_by is not None and request_id in sent_by.session.deliveries:
            consent_request = await self.ports.consents.request(request_id)
        if sent_by is None or consent_request is None:
            return self.session_ended(language)
        return ConsentPageRequest(language, sent_by, consent_request)

    def _page(self, page_request: ConsentPageRequest, message: str | None = None) -> HTMLResponse:
        asking = self._asking(page_request.request)
        return self.pages.page(
            "consent.html",
            page_request.language,
            200 if message is None else 422,
            address=page_request.address,
            form_token=page_request.browser.form_token,
            asked=page_request.request,
            is_open=page_request.request.may_answer,
            standing=page_request.request.standing.value,
            paragraphs=paragraphs(asking, page_request.language),
            text=wording_digest(asking, page_request.language),
            message=message,
        )

    def _asking(self, consent_request: RequestSeen) -> Asking:
        return Asking(
            provider=self.ports.config.provider.name,
            sender_name=consent_request.sender_name,
            sender_email=consent_request.sender_email,
            given_names=consent_request.given_names,
            birth_name=consent_request.birth_name,
            email=consent_request.email,
        )


def page_address(language: str, request: UUID) -> str:
    """The page of one request."""
    return f"/{language}/consent/{request}"
