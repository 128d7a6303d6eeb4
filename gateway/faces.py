"""Every address of the gateway: the tables of its faces, put together.

Owns     which faces there are, and the files that their pages load
Rules    faces do not know each other. Where addresses of two of them could mean a path, as /c/verify, the first counts
Elsewhere: what stands in front of them (app.py), the tables (`routes` of each face)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from starlette.staticfiles import StaticFiles

from gateway import health, trust
from gateway.addresses import Folder, Row
from gateway.identity import routes as identity
from gateway.identity.ports import IdentityPorts
from gateway.limits import REQUEST_SECONDS
from gateway.pages.headers import security_headers
from gateway.pages.rendering import Pages
from gateway.portal import routes as portal
from gateway.portal.ports import PortalPorts
from gateway.sender import routes as sender
from gateway.sender.ports import SenderPorts
from gateway.verify import routes as verify
from gateway.verify.ports import VerifyPorts

STATIC = Path(__file__).parent / "static"


class PagePorts(PortalPorts, IdentityPorts, VerifyPorts, Protocol):
    """What all pages together need."""


class Ports(SenderPorts, PagePorts, Protocol):
    """What all faces together need."""


def routes(ports: Ports, draining: Callable[[], bool]) -> list[Row]:
    """All of them. draining: whether the process is about to end."""
    return [
        *health.routes(ports, draining),
        *sender.routes(ports),
        *trust.routes(ports.keys),
        *page_routes(ports),
    ]


def page_routes(ports: PagePorts) -> list[Row]:
    """Those of people with a browser: recipients, and whoever checks a proof."""
    pages = Pages(ports.config)
    return [
        *portal.routes(ports, pages),
        *identity.routes(ports, pages),
        *verify.routes(ports, pages),
        Folder("/static", StaticFiles(directory=STATIC), REQUEST_SECONDS, middleware=security_headers(ports.config)),
    ]
