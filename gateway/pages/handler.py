"""What every handler of pages is made of: its ports, the templates, and the answers that any of them may need.

Elsewhere: whose request it is (context.py), the templates (rendering.py)
"""

from typing import Generic, TypeVar

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.pages.language import Language, negotiated
from gateway.pages.rendering import Pages

P = TypeVar("P")


class PageHandler(Generic[P]):
    """Ports and pages together."""

    def __init__(self, ports: P, pages: Pages) -> None:
        self.ports = ports
        self.pages = pages

    def neutral(self, request: Request) -> Response:
        """Unknown, malformed, over: one page, the same bytes."""
        language = negotiated(request.headers.get("accept-language", ""))
        return self.pages.page("neutral.html", language, 404, address=None)

    def session_ended(self, language: Language) -> Response:
        """No session, or not with this letter."""
        return self.pages.page("session_ended.html", language, 403, address=None)

    def cookie_refused(self, request: Request) -> Response:
        """A browser that does not keep the cookie of its session."""
        language = negotiated(request.headers.get("accept-language", ""))
        return self.pages.page("cookie_refused.html", language, 403, address=None)

    def form_refused(self, language: Language, address: str | None) -> Response:
        """A form that did not come from our page, or not from this session's."""
        return self.pages.page("form_refused.html", language, 403, address=address)


def see_other(address: str) -> Response:
    """RFC 9110 section 15.4.4: the answer to every act is a page to look at."""
    return RedirectResponse(address, 303)
