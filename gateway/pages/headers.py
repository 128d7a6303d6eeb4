"""The security headers of everything that a browser of a recipient or verifier gets.

Owns     the content security policy and its companions, as ASGI middleware per route
Rules    no inline script or style anywhere; nothing is stored by browsers or indexed; Referrer-Policy is same-origin,
         not no-referrer, because the latter makes same-origin form posts carry `Origin: null`
Source   OWASP ASVS 5 chapter 3; W3C CSP 3 (form-action also governs the redirect that answers a form)
"""

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.formats.configuration import Config

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'{form_targets}; frame-ancestors 'none'; base-uri 'none'"
)
FIXED = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
TRANSPORT = "max-age=31536000"  # one year: the least that browsers' preload lists take


class SecurityHeaders:
    """Adds what the answer does not set itself."""

    def __init__(self, app: ASGIApp, secure: bool, form_targets: Sequence[str] = ()) -> None:
        self._app = app
        targets = "".join(f" {origin}" for origin in form_targets)
        self._headers = FIXED | {"Content-Security-Policy": POLICY.format(form_targets=targets)}
        if secure:
            self._headers["Strict-Transport-Security"] = TRANSPORT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_guarded)


def security_headers(config: Config, form_targets: Sequence[str] = ()) -> list[Middleware]:
    """For a row of a table of addresses. form_targets: other origins that its forms may lead to."""
    secure = config.gateway.public_url.startswith("https://")
    return [Middleware(SecurityHeaders, secure=secure, form_targets=form_targets)]
