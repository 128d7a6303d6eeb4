"""The claim link: from the notice's address to the letter's page.

Rules    the link is a pointer without power: GET and HEAD change nothing of a letter, however often a scanner follows
         it; an unknown, a malformed and an expired token get the same bytes after the same queries
Elsewhere: identity, which comes before anything else (gateway/identity)
"""

from starlette.requests import Request
from starlette.responses import Response

from gateway.addresses import count
from gateway.pages.context import letter_address
from gateway.pages.handler import PageHandler, see_other
from gateway.pages.rendering import Pages
from gateway.pages.standing import LetterStanding, standing
from gateway.portal.links import NOBODY, entered, link_digest
from gateway.portal.ports import PortalPorts
from gateway.rates import Rate, by_prefix
from pipeline.stores.letters import Letter


class ClaimLink(PageHandler[PortalPorts]):
    """GET /c/{token}. misses: how often somebody may follow what is no link."""

    def __init__(self, ports: PortalPorts, pages: Pages, misses: Rate) -> None:
        super().__init__(ports, pages)
        self._misses = misses

    async def open(self, request: Request) -> Response:
        """A redirect to the letter's page in the notice's language, or the neutral page."""
        self._misses.require(by_prefix(request.scope))
        letter = await self._letter(request.path_params["token"])
        if letter is None:
            count(request.scope, self._misses)
            return self.neutral(request)
        address = letter_address(letter.language, letter.number)
        if request.method == "HEAD":
            return see_other(address)
        answer = await entered(self.ports, request, letter.delivery, address)
        return self.cookie_refused(request) if answer is None else answer

    async def _letter(self, token: str) -> Letter | None:
        """Two queries, whatever the token is."""
        claimed = await self.ports.portal.claimed(link_digest(token))
        letter = await self.ports.portal.letter(claimed or NOBODY)
        if letter is None or standing(letter) is LetterStanding.CLOSED:
            return None
        return letter
