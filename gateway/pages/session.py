"""The browser's session: its cookie, its form token, and whether a form was sent from our own page.

Owns     the cookie (__Host-: this host only, Secure, no script reads it), the tokens made of the session identifier
Rules    the database knows only digests; the form token follows from the identifier, so that a page can be shown twice
         and nothing secret is stored. SameSite is Lax: after the identity provider only Lax cookies come back
         A form counts only with Sec-Fetch-Site: same-origin (or, from a browser that does not send it, our own Origin)
         and the token of its session
Elsewhere: the rows (pipeline/stores/portal.py), how long they live (sql/portal.sql)
Source   OWASP ASVS 5 chapters 3.3 and 3.5; draft-ietf-httpbis-rfc6265bis (cookie prefixes); W3C Fetch Metadata
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from gateway.addresses import body_bytes_max
from gateway.pages.ports import SessionPorts
from pipeline.stores.letters import Session
from pipeline.stores.portal import SESSION_SECONDS

COOKIE = "__Host-session"
IDENTIFIER_BYTES = 32
IDENTIFIER_PATTERN = re.compile(r"[0-9a-f]{64}", re.ASCII)
FORM_BYTES_MAX = 8192
FIELDS_MAX = 20
FORM_TYPE = "application/x-www-form-urlencoded"


class FormRefused(Exception):
    """This form was not sent from a page of this session."""


@dataclass(frozen=True, slots=True)
class Browser:
    """A live session with the identifier that its cookie holds."""

    identifier: str
    session: Session

    @property
    def form_token(self) -> str:
        """What every form of this session carries."""
        return form_token(self.identifier)


def fresh_identifier(ports: SessionPorts) -> str:
    """For a new session, or for the same browser after somebody identified."""
    return ports.ids.random_bytes(IDENTIFIER_BYTES).hex()


def digest(identifier: str) -> bytes:
    """What the database knows of an identifier."""
    return hashlib.sha256(identifier.encode("ascii")).digest()


def form_token(identifier: str) -> str:
    """Follows from the identifier, tells nothing about it."""
    return hmac.digest(identifier.encode("ascii"), b"qerds-form-token-v1", "sha256").hex()


def form_digest(identifier: str) -> bytes:
    """What the database knows of the form token."""
    return hashlib.sha256(form_token(identifier).encode("ascii")).digest()


def has_cookie(request: Request) -> bool:
    """Whether it names a session, which may have ended."""
    return IDENTIFIER_PATTERN.fullmatch(request.cookies.get(COOKIE, "")) is not None


def by_session(scope: Scope) -> bytes | None:
    """Whose rate is counted by the session that its cookie names, whether it lives or not."""
    identifier = Request(scope).cookies.get(COOKIE, "")
    return digest(identifier) if IDENTIFIER_PATTERN.fullmatch(identifier) else None


async def browser(ports: SessionPorts, request: Request) -> Browser | None:
    """The session that the request's cookie names, while it lives."""
    identifier = request.cookies.get(COOKIE, "")
    if not IDENTIFIER_PATTERN.fullmatch(identifier):
        return None
    session = await ports.portal.session(digest(identifier))
    return None if session is None else Browser(identifier, session)


def remember(response: Response, identifier: str) -> None:
    """Sets the cookie."""
    response.set_cookie(
        COOKIE, identifier, max_age=SESSION_SECONDS, path="/", secure=True, httponly=True, samesite="lax"
    )


async def submitted(ports: SessionPorts, request: Request, sent_by: Browser) -> Mapping[str, str]:
    """The fields of a form of this session; raises FormRefused."""
    require_same_origin(request, ports.config.gateway.public_url)
    fields = await form_fields(request)
    token = hashlib.sha256(fields.get("form_token", "").encode()).digest()
    if not hmac.compare_digest(token, sent_by.session.form_sha256):
        raise FormRefused("the form belongs to another session")
    return fields


def require_same_origin(request: Request, public_url: str) -> None:
    """Raises FormRefused unless a page of ours sent this."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        raise FormRefused(f"sent from {site}")
    if site is None and request.headers.get("origin") != public_url:
        raise FormRefused("sent from an unknown origin")


async def form_fields(request: Request) -> Mapping[str, str]:
    """A urlencoded body, bounded; raises FormRefused."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise FormRefused("not a form")
    body, bytes_max = bytearray(), body_bytes_max(request)
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise FormRefused("the form is too large")
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError as error:
        raise FormRefused("the form cannot be read") from error
