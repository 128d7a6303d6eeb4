"""What the API says of itself: /v1/me, /v1/status, /v1/problems/{code}, /v1/openapi.json, /docs.

Owns     the two documents it serves (the description of the API, one static page of it), made once
Elsewhere: health and metrics (gateway/health.py)
"""

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from gateway.edge import MODE_NAMES
from gateway.limits import JSON_BYTES_MAX, LETTER_BYTES_MAX, LIST_MAX
from gateway.problem_codes import PROBLEMS
from gateway.problem_pages import problem_page
from gateway.problems import Language, Problem, language_of
from gateway.sender import presentation
from gateway.sender.batch_items import PART_BYTES_MAX
from gateway.sender.docs_page import docs_page
from gateway.sender.oauth import OAuth
from gateway.sender.openapi import description
from gateway.sender.ports import SenderPorts
from pipeline.errors import Transient
from pipeline.intake.attachments import DOCUMENTS_MAX, INLINE_BYTES_MAX
from pipeline.intake.lines import LINE_BYTES_MAX
from pipeline.stores.batches import BATCH_LINES_MAX

LIMITS = {
    "documents": DOCUMENTS_MAX,
    "batch_lines": BATCH_LINES_MAX,
    "line_bytes": LINE_BYTES_MAX,
    "part_bytes": PART_BYTES_MAX,
    "json_bytes": JSON_BYTES_MAX,
    "letter_bytes": LETTER_BYTES_MAX,
    "inline_bytes": INLINE_BYTES_MAX,
    "list_items": LIST_MAX,
}
STATIC_SECONDS = 300
PAGE_POLICY = "default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'"


class ServicePages:
    """Small answers without a letter in them."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._oauth = oauth
        api = description(ports.config.gateway.public_url, is_sandbox=ports.sandbox is not None)
        self._openapi = presentation.json_bytes(api)
        self._docs, self._docs_style = docs_page(api, ports.config.provider.name)

    async def me(self, request: Request) -> Response:
        """GET /v1/me."""
        principal = await self._oauth.authorise(request, None)
        account = await self._ports.senders.account(principal.sender)
        if account is None:
            raise Problem("not_found")
        limits = {"document_bytes": self._ports.config.gateway.document_bytes_max, **LIMITS}
        return JSONResponse(presentation.account(self._ports.config, account, limits))

    async def status(self, request: Request) -> Response:
        """GET /v1/status: whether a letter can be submitted now."""
        parts = {}
        for name, check in (("database", self._ports.senders.check), ("objects", self._ports.objects.check)):
            try:
                await check()
                parts[name] = "up"
            except Transient:
                parts[name] = "down"
        state = "up" if set(parts.values()) == {"up"} else "down"
        return JSONResponse({"status": state, "mode": MODE_NAMES[self._ports.config.mode], "parts": parts})

    async def problem(self, request: Request) -> Response:
        """GET /v1/problems/{code}."""
        code = request.path_params["code"]
        if code not in PROBLEMS:
            raise Problem("not_found")
        tag = request.query_params.get("lang", language_of(request))
        language: Language = "fr" if tag == "fr" else "en"
        return HTMLResponse(problem_page(code, language), headers={"Content-Security-Policy": "default-src 'none'"})

    async def openapi(self, request: Request) -> Response:
        """GET /v1/openapi.json."""
        return Response(self._openapi, 200, _cached(), "application/json")

    async def docs(self, request: Request) -> Response:
        """GET /docs."""
        policy = PAGE_POLICY.format(style=self._docs_style)
        return HTMLResponse(self._docs, headers={**_cached(), "Content-Security-Policy": policy})


def _cached() -> dict[str, str]:
    return {"Cache-Control": f"public, max-age={STATIC_SECONDS}"}
