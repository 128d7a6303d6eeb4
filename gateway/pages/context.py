"""One request of one browser about one letter, or the page that is answered instead.

Owns     finding session, letter and identified person of a request
Rules    a letter is known only to a session that opened its link; anything else gets the same "session ended" page,
         whether the number exists or not
Elsewhere: the pages of a letter (gateway/portal), of who identifies for it (gateway/identity)
"""

from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from gateway.pages.handler import PageHandler
from gateway.pages.language import Language, language_in_address
from gateway.pages.ports import SessionPorts
from gateway.pages.session import Browser, browser
from gateway.pages.standing import LetterStanding, standing
from pipeline.delivery.number import is_number
from pipeline.stores.letters import Letter, TicketHolder

LETTER = "/{language}/letter/{number}"  # every address about one letter begins so
S = TypeVar("S", bound=SessionPorts)


@dataclass(frozen=True, slots=True)
class LetterRequest:
    """What a request is about. person: who identified in this browser for this letter."""

    language: Language
    browser: Browser
    letter: Letter
    holder: TicketHolder | None

    @property
    def standing(self) -> LetterStanding:
        """Where the letter stands for its recipient."""
        return standing(self.letter)

    @property
    def address(self) -> str:
        """The letter's page."""
        return letter_address(self.language, self.letter.number)


class LetterHandler(PageHandler[S]):
    """A handler of requests about one letter."""

    async def letter_request(self, request: Request) -> LetterRequest | Response:
        """What this request is about, or the answer when it is about nothing that its browser may see."""
        language = language_in_address(request.path_params["language"])
        if language is None:
            return self.neutral(request)
        sent_by = await browser(self.ports, request)
        number = request.path_params["number"]
        letter = None
        if sent_by is not None and is_number(number):
            letter = await self.ports.portal.numbered(number, sent_by.session.deliveries)
        if sent_by is None or letter is None:
            return self.session_ended(language)
        return LetterRequest(language, sent_by, letter, sent_by.session.people.get(letter.delivery))


def letter_address(language: str, number: str) -> str:
    """The page of one letter."""
    return LETTER.format(language=language, number=number)
