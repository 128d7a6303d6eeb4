"""The outermost handler: every request has an id and one answer, whatever happens inside.

Owns     Request-Id, Mode, Qerds-Version, the safe headers; who the caller is; turning errors into problems; counts
Rules    the only place of the gateway that catches Exception, and it always records. After the first byte of an answer
         nothing else can be said: the connection is closed, so that a cut body is never taken for a whole one
         A client that leaves is no error: nobody is told, and it is counted under a status that no answer has
Elsewhere: what the routes do, and how long each may take (addresses.py); pages of the portal render their own refusals
"""

import time
from collections.abc import MutableMapping
from typing import Protocol

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import problems, versions
from gateway.addresses import ANSWER_HEADERS
from gateway.callers import CALLER, Proxies
from gateway.limits import REQUEST_SECONDS
from gateway.problem_codes import PROBLEMS
from gateway.problem_pages import problem_page
from gateway.problems import Problem
from pipeline.errors import Transient
from pipeline.formats.configuration import Config
from pipeline.ports.outside import Ids
from pipeline.process import health
from pipeline.process.measures import HTTP_REJECTED, HTTP_REQUEST_SECONDS, HTTP_REQUESTS
from pipeline.process.recorder import Recorder

# What the API calls the provider's standing; the page a person reads says the same.
MODE_NAMES = {"non_qualified": "demonstration", "qualified": "qualified"}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MACHINE_PATHS = ("/v1/", "/oauth2/", "/.well-known/")
UNKNOWN = "other"  # a route that is none
LEFT = 499  # no status of HTTP; what proxies call a client that closed its request
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
STATUS_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "type_not_allowed"}


class EdgePorts(Protocol):
    """What the edge needs from outside."""

    @property
    def config(self) -> Config: ...
    @property
    def ids(self) -> Ids: ...
    @property
    def recorder(self) -> Recorder: ...


class Edge:
    """The application that the server calls."""

    def __init__(self, inner: ASGIApp, ports: EdgePorts) -> None:
        self._inner = inner
        self._config = ports.config
        self._ids = ports.ids
        self._recorder = ports.recorder
        self._proxies = Proxies(ports.config.gateway.proxies or ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the gateway speaks HTTP only, not {scope['type']}")
        answer = _Answer(send, {"Request-Id": str(self._ids.uuid7()), "Mode": MODE_NAMES[self._config.mode]})
        is_machine = scope["path"].startswith(MACHINE_PATHS)
        if is_machine:
            answer.headers[versions.HEADER] = versions.NEWEST
        scope[CALLER], scope[ANSWER_HEADERS] = self._proxies.caller_of(scope), answer.headers
        scope["app"] = self  # lets the router raise for an unknown path or method instead of answering in plain text
        started = time.monotonic()
        try:
            if is_machine:
                answer.headers[versions.HEADER] = versions.asked_version(scope)
            await self._inner(scope, receive, answer)
        except ClientDisconnect:
            answer.status = LEFT
        except Exception as error:
            await self._refuse(scope, receive, answer, error)
        finally:
            self._count(scope, answer.status, time.monotonic() - started)

    async def _refuse(self, scope: Scope, receive: Receive, answer: "_Answer", error: Exception) -> None:
        problem = problem_for(error)
        self._recorder.count(HTTP_REJECTED, problem.code)
        if problem.code == "internal_error" or answer.status:
            self._recorder.error("gateway", error)
        if answer.status:
            raise ConnectionAbortedError("the answer could not be completed") from error
        request = Request(scope, receive)
        request_id = answer.headers["Request-Id"]
        with anyio.fail_after(REQUEST_SECONDS):
            await self._render(problem, request, request_id)(scope, receive, answer)

    def _render(self, problem: Problem, request: Request, request_id: str) -> Response:
        accepts_page = "text/html" in request.headers.get("accept", "")
        if accepts_page and not request.url.path.startswith(MACHINE_PATHS):
            page = problem_page(problem.code, problems.language_of(request))
            return HTMLResponse(page, PROBLEMS[problem.code].status, dict(problem.headers))
        return problems.render(problem, request, request_id, self._config.gateway.public_url)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNKNOWN)  # the pattern, never the path: identifiers stay out
        method = scope["method"] if scope["method"] in METHODS else "other"  # any token is a method: counters stay few
        self._recorder.count(HTTP_REQUESTS, method, route, str(status))
        self._recorder.observe(HTTP_REQUEST_SECONDS, seconds, face_of(route), route, str(status))


def problem_for(error: Exception) -> Problem:
    """What the client is told about an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, (Transient, TimeoutError)):
        return Problem("unavailable")
    if isinstance(error, HTTPException) and error.status_code in STATUS_CODES:
        return Problem(STATUS_CODES[error.status_code], headers=error.headers or {})
    return Problem("internal_error")


def face_of(route: str) -> str:
    """Who the route is for: senders' programs, whoever watches the process, or a person in a browser."""
    if route == UNKNOWN:
        return UNKNOWN
    if route.startswith(MACHINE_PATHS):
        return "api"
    return "watch" if route in health.PATHS else "page"


class _Answer:
    """The server's `send`, adding our headers and remembering that an answer has begun."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send = send
        self.headers = headers
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], *self._missing(message)]}
        await self._send(message)

    def _missing(self, message: MutableMapping[str, object]) -> list[tuple[bytes, bytes]]:
        """A route that sets a header itself (caching of static files, say) keeps its own."""
        there = {name.lower() for name, _ in message["headers"]}  # type: ignore[attr-defined]
        headers = {**HEADERS, **self.headers}
        return [(k.encode(), v.encode()) for k, v in headers.items() if k.lower().encode() not in there]
