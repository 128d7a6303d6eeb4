"""Every address of the public check."""

from starlette.routing import BaseRoute, Route

from gateway.pages.headers import security_headers
from gateway.pages.rendering import Pages
from gateway.verify.page import VerifyPages
from gateway.verify.ports import VerifyPorts


def routes(ports: VerifyPorts, pages: Pages) -> list[BaseRoute]:
    """To be mounted at the root of the gateway's application."""
    checking, guarded = VerifyPages(ports, pages), security_headers(ports.config)
    return [
        Route("/verify", checking.choose_language, methods=["GET"], middleware=guarded),
        Route("/verify", checking.judge, methods=["POST"], middleware=guarded),
        Route("/{language}/verify", checking.form, methods=["GET"], middleware=guarded),
        Route("/{language}/verify", checking.judge, methods=["POST"], middleware=guarded),
    ]
