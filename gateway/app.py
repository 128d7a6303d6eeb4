"""The gateway's application: every route of every face behind the one edge.

Owns     what stands between the edge and a route: which addresses are the API's, and what an unknown one is answered
Rules    nothing here knows a database or a key: the ports come ready made (pipeline/connect.py)
Elsewhere: serving (gateway/__main__.py), which routes there are (faces.py)
"""

from collections.abc import Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.routing import Match, Router
from starlette.types import Receive, Scope, Send

from gateway import faces
from gateway.addresses import Address, Row
from gateway.edge import MACHINE_PATHS, Edge, EdgePorts
from gateway.faces import Ports
from gateway.problems import Problem

METHOD_NOT_ALLOWED = 405


def application(ports: Ports, draining: Callable[[], bool]) -> Edge:
    """The whole gateway."""
    return behind_edge(faces.routes(ports, draining), ports)


def behind_edge(table: Sequence[Row], ports: EdgePorts) -> Edge:
    """Any table of routes, with the manners of the gateway.

    What begins like an address of the API is looked up among those only: a page's `/{language}/verify` would otherwise
    answer GET /v1/verify, in the language "v1".
    """
    api = [route for route in table if isinstance(route, Address) and route.path.startswith(MACHINE_PATHS)]
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
            matches = [route for route in part if isinstance(route, Address) and route.matches(scope)[0] != Match.NONE]
            first = [route for route in matches if route.path == matches[0].path]
            allowed = sorted({method for route in first for method in route.methods or ()})
            raise HTTPException(METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(allowed)}) from error

    return Edge(whole, ports)


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    raise Problem("not_found", "there is no such address")
