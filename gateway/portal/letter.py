"""The pages of one letter: announcement, choice, confirmation, result. All of them only show.

Rules    before acceptance and after refusal a page is made of a `Letter`, which does not know the sender; the sender,
         subject and documents are read only for a person who identified, when the acceptance is complete
Elsewhere: acts (acts.py), identity pages (gateway/identity), documents (download.py), words (gateway/templates, in
         French gateway/locales/fr.po)
"""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.pages.context import LetterHandler, LetterRequest
from gateway.pages.handler import see_other
from gateway.pages.standing import LetterStanding
from gateway.portal.ports import PortalPorts
from pipeline.formats.legal_texts import Act, DecisionWords, decision_words

FORM_NONCE_BYTES = 16
WAIT_SECONDS = 3  # between two looks while something is being sealed: C.3 and D.1 take about a second
MESSAGES = frozenset({"not_recorded"})


def act_of(request: Request) -> Act:
    """The last step of the address, one of the two that routes.py names."""
    return "accept" if request.url.path.rpartition("/")[2] == "accept" else "refuse"


def words_of(letter_request: LetterRequest, act: Act) -> DecisionWords:
    """What the page says beside the box of this letter's decision, with the capacity that the letter addresses."""
    letter = letter_request.letter
    return decision_words(act, letter_request.language, letter.recipient_kind, letter.organisation_name)


class LetterPages(LetterHandler[PortalPorts]):
    """GET of everything under /{language}/letter/{number} that is no file."""

    async def show(self, request: Request) -> Response:
        """The one page that fits where the letter stands and who looks."""
        letter_request = await self.letter_request(request)
        if isinstance(letter_request, Response):
            return letter_request
        if letter_request.standing is LetterStanding.CLOSED:
            return self._page("closed.html", letter_request, 410)
        if letter_request.holder is None:
            return self._page("landing.html", letter_request)
        match letter_request.standing:
            case LetterStanding.NOT_OPEN:
                return self._waiting(letter_request)
            case LetterStanding.OPEN:
                message = request.query_params.get("message")
                return self._page("choose.html", letter_request, message=message if message in MESSAGES else None)
            case LetterStanding.DECIDING | LetterStanding.ACCEPTING | LetterStanding.REFUSING:
                return self._waiting(letter_request)
            case LetterStanding.REFUSED:
                return self._page("refused.html", letter_request)
            case LetterStanding.ACCEPTED:
                return await self._accepted(letter_request)

    async def confirm(self, request: Request) -> Response:
        """The page that asks once more. Its form is good for one decision."""
        letter_request = await self.letter_request(request)
        if isinstance(letter_request, Response):
            return letter_request
        if letter_request.holder is None or letter_request.standing is not LetterStanding.OPEN:
            return see_other(letter_request.address)
        return self.confirmation(letter_request, act_of(request), None)

    def confirmation(self, letter_request: LetterRequest, act: Act, message: str | None) -> HTMLResponse:
        """The form, with a fresh one-time name."""
        form = self.ports.ids.random_bytes(FORM_NONCE_BYTES).hex()
        return self._page(
            "confirm.html",
            letter_request,
            200 if message is None else 422,
            act=act,
            form=form,
            message=message,
            words=words_of(letter_request, act).text,
        )

    def _waiting(self, letter_request: LetterRequest) -> HTMLResponse:
        """Recorded, or about to be; looks again by itself, without a script."""
        page = self._page("recorded.html", letter_request)
        page.headers["Refresh"] = str(WAIT_SECONDS)
        return page

    async def _accepted(self, letter_request: LetterRequest) -> Response:
        opened = await self.ports.portal.opened(letter_request.letter.delivery)
        if opened is None:  # the state is `accepted`, so this cannot be before acceptance: a stamp came in between
            return self._waiting(letter_request)
        return self._page("accepted.html", letter_request, opened=opened)

    def _page(self, template: str, letter_request: LetterRequest, status: int = 200, **values: object) -> HTMLResponse:
        return self.pages.page(
            template,
            letter_request.language,
            status,
            letter=letter_request.letter,
            standing=letter_request.standing.value,
            person=None if letter_request.holder is None else letter_request.holder.person,
            address=letter_request.address,
            form_token=letter_request.browser.form_token,
            **values,
        )
