"""The desk: one request of one browser about one letter, or the page that is answered instead.

Owns     finding session, letter and identified person of a request; the pages that need none of them
Rules    a letter is known only to a session that opened its link; anything else gets the same "session ended" page,
         whether the number exists or not
Elsewhere: what the pages of a letter are (letter.py), what acts do (acts.py)
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.pages.language import Language, known, negotiated
from gateway.pages.ports import PortalPorts
from gateway.pages.rendering import Pages
from gateway.pages.session import Browser, browser
from gateway.pages.standing import Standing, standing
from pipeline.delivery.number import is_number
from pipeline.stores.letters import Letter, TicketHolder


@dataclass(frozen=True, slots=True)
class Desk:
    """What a request is about."""

    language: Language
    browser: Browser
    letter: Letter
    holder: TicketHolder | None

    @property
    def standing(self) -> Standing:
        """Where the letter stands for its recipient."""
        return standing(self.letter)

    @property
    def address(self) -> str:
        """The letter's page."""
        return letter_address(self.language, self.letter.number)


class Faces:
    """Ports and pages together, and the answers that every handler may need."""

    def __init__(self, ports: PortalPorts, pages: Pages) -> None:
        self.ports = ports
        self.pages = pages

    async def desk(self, request: Request) -> Desk | Response:
        """The desk of this request, or the answer when there is none."""
        language = known(request.path_params["language"])
        if language is None:
            return self.neutral(request)
        sent_by = await browser(self.ports, request)
        number = request.path_params["number"]
        letter = None
        if sent_by is not None and is_number(number):
            letter = await self.ports.portal.numbered(number, sent_by.session.deliveries)
        if sent_by is None or letter is None:
            return self.session_ended(language)
        return Desk(language, sent_by, letter, sent_by.session.people.get(letter.delivery))

    def neutral(self, request: Request) -> Response:
        """Unknown, malformed, over: one page, the same bytes."""
        language = negotiated(request.headers.get("accept-language", ""))
        return self.pages.page("neutral.html", language, 404, address=None)

    def session_ended(self, language: Language) -> Response:
        """No session, or not with this letter."""
        return self.pages.page("session_ended.html", language, 403, address=None)

    def form_refused(self, language: Language, address: str | None) -> Response:
        """A form that did not come from our page, or not from this session's."""
        return self.pages.page("form_refused.html", language, 403, address=address)


def letter_address(language: str, number: str) -> str:
    """The page of one letter."""
    return f"/{language}/letter/{number}"


def see_other(address: str) -> Response:
    """RFC 9110 section 15.4.4: the answer to every act is a page to look at."""
    return RedirectResponse(address, 303)
