"""The two acts of a recipient: the forms that accept and refuse.

Rules    POST only, from a page of this session, by a person who identified for this letter, with the box ticked; every
         answer but a mistake in the form is a redirect to the letter's page, which shows what stands: a second submit
         shows the first result
Elsewhere: the decision itself (decision.py), the pages (letter.py)
"""

from starlette.requests import Request
from starlette.responses import Response

from gateway.pages.context import see_other
from gateway.pages.session import FormRefused, submitted
from gateway.portal import decision
from gateway.portal.decision import Outcome
from gateway.portal.letter import LetterPages, act_of

UNDERSTOOD = "yes"  # the value of the confirmation's box
FORM_CHARACTERS = 32


class Acts(LetterPages):
    """POST /{language}/letter/{number}/accept and /refuse."""

    async def decide(self, request: Request) -> Response:
        """Decides once."""
        desk = await self.desk(request)
        if isinstance(desk, Response):
            return desk
        try:
            fields = await submitted(self.ports, request, desk.browser)
        except FormRefused:
            return self.form_refused(desk.language, desk.address)
        if desk.holder is None:
            return see_other(desk.address)
        act, form = act_of(request), fields.get("form", "")
        if fields.get("understood") != UNDERSTOOD or len(form) != FORM_CHARACTERS:
            return self.confirmation(desk, act, "checkbox")
        intent = desk.browser.intent(desk.letter.delivery, act, form)
        outcome = await decision.decide(self.ports, desk.letter.delivery, desk.holder, act, intent)
        return see_other(desk.address + AFTERWARDS.get(outcome, ""))


AFTERWARDS = {
    Outcome.NOT_RECORDED: "?message=not_recorded",
    Outcome.IDENTIFY: "/identity?result=again",
}
