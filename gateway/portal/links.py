"""The links of our mails: what a token may be, and what a browser that followed one may see.

Rules    a link is a pointer without power: following it changes nothing of a letter or a request; it lets this browser
         see what the link leads to
         Nothing is written for a browser that shows no cookie of ours: it is sent the same way once more, with one.
         Programs that look into mails keep none, and would leave a session each time they look
"""

import hashlib
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from gateway.pages.handler import see_other
from gateway.pages.ports import SessionPorts
from gateway.pages.session import browser, digest, form_digest, fresh_identifier, has_cookie, remember
from pipeline.stores.portal import SESSION_LETTERS_MAX

COOKIE_SENT = "cookie"  # in the query of the second attempt
TOKEN_CHARACTERS_MAX = 128  # 128 bits in any encoding are far shorter
NOBODY = UUID(int=0)  # what an unknown link leads to, so that it costs the same queries as a known one


def link_digest(token: str) -> bytes:
    """What the database knows of a link's token."""
    return hashlib.sha256(token[:TOKEN_CHARACTERS_MAX].encode()).digest()


async def entered(ports: SessionPorts, request: Request, opened: UUID, address: str) -> Response | None:
    """The way to `address`, which this browser may see from now on: in its session, or in a new one. opened: a letter
    or a request. A browser without a cookie is sent for one first; None when it came back without."""
    if not has_cookie(request):
        if COOKIE_SENT in request.query_params:
            return None
        answer = see_other(f"{request.url.path}?{COOKIE_SENT}")
        remember(answer, fresh_identifier(ports))
        return answer
    answer = see_other(address)
    present = await browser(ports, request)
    if present is not None and opened in present.session.deliveries:
        return answer
    if present is not None and len(present.session.deliveries) < SESSION_LETTERS_MAX:
        await ports.portal.join_session(present.session.session_sha256, opened)
        return answer
    identifier = fresh_identifier(ports)  # never the one it came with: somebody else may know that
    await ports.portal.open_session(digest(identifier), form_digest(identifier), opened)
    remember(answer, identifier)
    return answer
