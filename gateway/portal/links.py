"""The links of our mails: what a token may be, and what a browser that followed one may see.

Rules    a link is a pointer without power: following it changes nothing of a letter or a request; it lets this browser
         see what the link leads to
"""

import hashlib
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from gateway.pages.ports import SessionPorts
from gateway.pages.session import browser, digest, form_digest, fresh_identifier, remember
from pipeline.stores.portal import SESSION_LETTERS_MAX

TOKEN_CHARACTERS_MAX = 128  # 128 bits in any encoding are far shorter
NOBODY = UUID(int=0)  # what an unknown link leads to, so that it costs the same queries as a known one


def link_digest(token: str) -> bytes:
    """What the database knows of a link's token."""
    return hashlib.sha256(token[:TOKEN_CHARACTERS_MAX].encode()).digest()


async def enter(ports: SessionPorts, request: Request, opened: UUID, answer: Response) -> None:
    """Lets this browser see what a link leads to: in its session, or in a new one. opened: a letter or a request."""
    present = await browser(ports, request)
    if present is not None and opened in present.session.deliveries:
        return
    if present is not None and len(present.session.deliveries) < SESSION_LETTERS_MAX:
        await ports.portal.join_session(present.session.session_sha256, opened)
        return
    identifier = fresh_identifier(ports)
    await ports.portal.open_session(digest(identifier), form_digest(identifier), opened)
    remember(answer, identifier)
