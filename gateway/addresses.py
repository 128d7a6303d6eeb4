"""Rows of the tables of addresses: where, by which method, what answers, how long that may take, how much it takes in.

Owns     the deadline of every request, how often it may be sent, and the reading of a body within the limit of its row
Rules    each row states its deadline; a row without a limit of its body has none to read. What a request says of
         itself can only tighten the limit (a JSON body where files are taken, too)
Elsewhere: the numbers (limits.py), what a request is answered when its time is over (edge.py)
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.limits import pieces
from gateway.rates import Rate
from pipeline.errors import Invariant

ANSWER_HEADERS = "answer_headers"  # where a scope has the headers that the edge adds to whatever is answered
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Address(Route):
    """One method of one path. form_seconds: the deadline when the body is a form with documents, where it differs;
    rates: how often it may be sent, where anybody may."""

    def __init__(
        self,
        method: str,
        path: str,
        handler: Handler,
        deadline_seconds: float,
        body_bytes_max: int | None = None,
        *,
        form_seconds: float | None = None,
        rates: Sequence[Rate] = (),
        middleware: Sequence[Middleware] = (),
    ) -> None:
        super().__init__(path, handler, methods=[method], middleware=middleware)
        self.method = method
        self.deadline_seconds = deadline_seconds
        self.body_bytes_max = body_bytes_max
        self.form_seconds = form_seconds
        self.rates = rates

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises TimeoutError when the time is over, HTTPException for another method, Problem rate_limited."""
        if scope["method"] in (self.methods or ()):
            for rate in self.rates:
                count(scope, rate)
        with anyio.fail_after(self.seconds_of(scope)):
            await super().handle(scope, receive, send)

    def seconds_of(self, scope: Scope) -> float:
        """The deadline of this request."""
        if self.form_seconds is not None and is_multipart(scope):
            return self.form_seconds
        return self.deadline_seconds


class Folder(Mount):
    """Everything under a path, given by one application."""

    def __init__(
        self, path: str, app: ASGIApp, deadline_seconds: float, *, middleware: Sequence[Middleware] = ()
    ) -> None:
        super().__init__(path, app, middleware=middleware)
        self.deadline_seconds = deadline_seconds

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises TimeoutError when the time is over."""
        with anyio.fail_after(self.deadline_seconds):
            await super().handle(scope, receive, send)


Row = Address | Folder


def count(scope: Scope, rate: Rate) -> None:
    """One more for whoever sent this, and the answer will tell how many are left. Raises Problem rate_limited."""
    if (owner := rate.owner(scope)) is not None:
        headers = scope.get(ANSWER_HEADERS, {})
        for name, value in rate.take(owner).items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value


def is_multipart(scope: Scope) -> bool:
    """Whether the request says that its body is a form with parts."""
    return Headers(scope=scope).get("content-type", "").lower().startswith("multipart/")


def body_bytes_max(request: Request) -> int:
    """What the row of this request takes in; raises Invariant for one that takes nothing."""
    row = request.scope["route"]
    if not isinstance(row, Address) or row.body_bytes_max is None:
        raise Invariant(f"{row.path} states no limit of a body")
    return row.body_bytes_max


async def read_body(request: Request, bytes_max: int | None = None) -> bytes:
    """A small body, whole: at most what its row takes in, or this. Raises Problem body_too_large."""
    limit = body_bytes_max(request) if bytes_max is None else bytes_max
    return b"".join([piece async for piece in pieces(request, limit)])
