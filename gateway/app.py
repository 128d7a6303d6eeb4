"""The gateway's application: every route of every face behind the one edge.

Owns     which tables of routes are mounted, in which order
Rules    nothing here knows a database or a key: the ports come ready made (pipeline/connect.py)
Elsewhere: serving (gateway/__main__.py), what a route does
"""

from collections.abc import Callable
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import Receive, Scope, Send

from gateway import faces, health, trust
from gateway.edge import MACHINE_PATHS, Edge
from gateway.pages.ports import PortalPorts
from gateway.problems import Problem
from gateway.sender import routes as sender
from gateway.sender.ports import SenderPorts

METHOD_NOT_ALLOWED = 405


class Ports(SenderPorts, PortalPorts, Protocol):
    """What all faces together need."""


def application(ports: Ports, draining: Callable[[], bool]) -> Edge:
    """The whole gateway. Addresses of different faces do not overlap, so that their order decides nothing."""
    table: list[BaseRoute] = [
        *health.routes(ports, draining),
        *sender.routes(ports),
        *trust.routes(ports.keys),
        *faces.routes(ports),
    ]
    return behind_edge(table, ports)


def behind_edge(table: list[BaseRoute], ports: SenderPorts) -> Edge:
    """Any table of routes, with the manners of the gateway.

    What begins like an address of the API is looked up among those only: a page's `/{language}/verify` would otherwise
    answer GET /v1/verify, in the language "v1".
    """
    api = [route for route in table if isinstance(route, Route) and route.path.startswith(MACHINE_PATHS)]
    pages = [route for route in table if route not in api]
    routers = [(Router(part, redirect_slashes=False, default=_nothing_there), part) for part in (pages, api)]

    async def whole(scope: Scope, receive: Receive, send: Send) -> None:
        """The router names in Allow what the first route of an address takes; an address may have several."""
        router, part = routers[scope["path"].startswith(MACHINE_PATHS)]
        try:
            await router(scope, receive, send)
        except HTTPException as error:
            if error.status_code != METHOD_NOT_ALLOWED:
                raise
            known = [route for route in part if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE]
            first = [route for route in known if route.path == known[0].path]
            allowed = sorted({method for route in first for method in route.methods or ()})
            raise HTTPException(METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(allowed)}) from error

    return Edge(whole, ports.config, ports.ids, ports.recorder)


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    raise Problem("not_found", "there is no such address")
