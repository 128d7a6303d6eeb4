"""The two acts of a recipient: the forms that accept and refuse.

Rules    POST only, from a page of this session, by a person who identified for this letter, with the box ticked; every
         answer but a mistake in the form is a redirect to the letter's page, which shows what stands: a second submit
         shows the first result
Elsewhere: the decision itself (decision.py), the pages (letter.py)
"""

import hashlib
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from gateway.pages.handler import see_other
from gateway.pages.session import Browser, FormRefused, submitted
from gateway.portal import decision
from gateway.portal.decision import DecisionOutcome
from gateway.portal.letter import LetterPages, act_of, words_of

UNDERSTOOD = "yes"  # the value of the confirmation's box
FORM_CHARACTERS = 32


class Acts(LetterPages):
    """POST /{language}/letter/{number}/accept and /refuse."""

    async def decide(self, request: Request) -> Response:
        """Decides once."""
        letter_request = await self.letter_request(request)
        if isinstance(letter_request, Response):
            return letter_request
        try:
            fields = await submitted(self.ports, request, letter_request.browser)
        except FormRefused:
            return self.form_refused(letter_request.language, letter_request.address)
        if letter_request.holder is None:
            return see_other(letter_request.address)
        act, form = act_of(request), fields.get("form", "")
        if fields.get("understood") != UNDERSTOOD or len(form) != FORM_CHARACTERS:
            return self.confirmation(letter_request, act, "checkbox")
        intent = intent_of(letter_request.browser, letter_request.letter.delivery, act, form)
        words = words_of(letter_request, act)
        outcome = await decision.decide(
            self.ports, letter_request.letter.delivery, letter_request.holder, act, intent, words
        )
        return see_other(letter_request.address + AFTERWARDS.get(outcome, ""))


AFTERWARDS = {
    DecisionOutcome.NOT_RECORDED: "?message=not_recorded",
    DecisionOutcome.IDENTIFY: "/identity?result=again",
}


def intent_of(browser: Browser, delivery: UUID, act: str, form: str) -> UUID:
    """The name of one form that was shown once: the same form, sent twice, is one intent."""
    named = hashlib.sha256(b"qerds-form-v1\x00" + f"{browser.identifier}/{delivery}/{act}/{form}".encode())
    return uuid8(named.digest())


def uuid8(named: bytes) -> UUID:
    """RFC 9562 section 5.8: a UUID of our own making, from a digest."""
    value = int.from_bytes(named[:16], "big")
    value = value & ~(0xF << 76) | 8 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return UUID(int=value)
