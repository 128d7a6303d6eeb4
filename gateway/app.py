"""The gateway's application: every route of every face behind the one edge.

Owns     which tables of routes are mounted, in which order
Rules    nothing here knows a database or a key: the ports come ready made (pipeline/connect.py)
Not      here: serving (gateway/__main__.py), what a route does
"""

from collections.abc import Callable
from typing import Protocol

from starlette.routing import BaseRoute, Router
from starlette.types import Receive, Scope, Send

from gateway import health, trust
from gateway.edge import Edge
from gateway.portal import mount as portal
from gateway.portal.ports import PortalPorts
from gateway.problems import Problem
from gateway.sender import routes as sender
from gateway.sender.ports import SenderPorts


class Ports(SenderPorts, PortalPorts, Protocol):
    """What all faces together need."""


def application(ports: Ports, draining: Callable[[], bool]) -> Edge:
    """The whole gateway. Paths of different faces do not overlap, so that their order decides nothing."""
    table: list[BaseRoute] = [
        *health.routes(ports, draining),
        *sender.routes(ports),
        *trust.routes(ports.keys),
        *portal.routes(ports),
    ]
    return behind_edge(table, ports)


def behind_edge(table: list[BaseRoute], ports: SenderPorts) -> Edge:
    """Any table of routes, with the manners of the gateway."""
    router = Router(table, redirect_slashes=False, default=_nothing_there)
    return Edge(router, ports.config, ports.ids, ports.recorder)


async def _nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
    raise Problem("not_found", "there is no such address")
