"""The pages of one letter: announcement, choice, confirmation, result. All of them only show.

Rules    before acceptance and after refusal a page is made of a `Letter`, which does not know the sender; the sender,
         subject and documents are read only for a person who identified, when the acceptance is complete
Elsewhere: acts (acts.py), identity pages (gateway/identity), documents (download.py)
"""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.pages.context import Desk, Faces, see_other
from gateway.pages.standing import Standing

FORM_NONCE_BYTES = 16
WAIT_SECONDS = 3  # between two looks while something is being sealed: C.3 and D.1 take about a second
MESSAGES = frozenset({"not_recorded"})


def act_of(request: Request) -> str:
    """accept or refuse: the last step of the address, one of the two that faces.py names."""
    return request.url.path.rpartition("/")[2]


class LetterPages(Faces):
    """GET of everything under /{language}/letter/{number} that is no file."""

    async def show(self, request: Request) -> Response:
        """The one page that fits where the letter stands and who looks."""
        desk = await self.desk(request)
        if isinstance(desk, Response):
            return desk
        if desk.standing is Standing.CLOSED:
            return self._page("closed.html", desk, 410)
        if desk.holder is None:
            return self._page("landing.html", desk)
        match desk.standing:
            case Standing.NOT_OPEN:
                return self._waiting(desk)
            case Standing.OPEN:
                message = request.query_params.get("message")
                return self._page("choose.html", desk, message=message if message in MESSAGES else None)
            case Standing.DECIDING | Standing.ACCEPTING | Standing.REFUSING:
                return self._waiting(desk)
            case Standing.REFUSED:
                return self._page("refused.html", desk)
            case Standing.ACCEPTED:
                return await self._accepted(desk)

    async def confirm(self, request: Request) -> Response:
        """The page that asks once more. Its form is good for one decision."""
        desk = await self.desk(request)
        if isinstance(desk, Response):
            return desk
        if desk.holder is None or desk.standing is not Standing.OPEN:
            return see_other(desk.address)
        return self.confirmation(desk, act_of(request), None)

    def confirmation(self, desk: Desk, act: str, message: str | None) -> HTMLResponse:
        """The form, with a fresh one-time name."""
        form = self.ports.ids.random_bytes(FORM_NONCE_BYTES).hex()
        return self._page("confirm.html", desk, 200 if message is None else 422, act=act, form=form, message=message)

    def _waiting(self, desk: Desk) -> HTMLResponse:
        """Recorded, or about to be; looks again by itself, without a script."""
        page = self._page("recorded.html", desk)
        page.headers["Refresh"] = str(WAIT_SECONDS)
        return page

    async def _accepted(self, desk: Desk) -> Response:
        opened = await self.ports.portal.opened(desk.letter.delivery)
        if opened is None:  # the state is `accepted`, so this cannot be before acceptance: a stamp came in between
            return self._waiting(desk)
        return self._page("accepted.html", desk, opened=opened)

    def _page(self, template: str, desk: Desk, status: int = 200, **values: object) -> HTMLResponse:
        return self.pages.page(
            template,
            desk.language,
            status,
            letter=desk.letter,
            standing=desk.standing.value,
            person=None if desk.holder is None else desk.holder.person,
            address=desk.address,
            form_token=desk.browser.form_token,
            **values,
        )
