"""Every address of signing in.

Rules    only the identity page may send its form on to the identity provider, because form-action also governs the
         redirect that answers a form
"""

from urllib.parse import urlsplit

from starlette.routing import BaseRoute, Route

from gateway.identity.gate import Gate
from gateway.identity.key_set import KeySet
from gateway.identity.ports import IdentityPorts
from gateway.pages.context import LETTER
from gateway.pages.headers import security_headers
from gateway.pages.rendering import Pages


def routes(ports: IdentityPorts, pages: Pages) -> list[BaseRoute]:
    """To be mounted at the root of the gateway's application."""
    gate, key_set = Gate(ports, pages), KeySet(ports.keys)
    provider = urlsplit(ports.config.identity.issuer)
    guarded = security_headers(ports.config)
    leaving = security_headers(ports.config, form_targets=[f"{provider.scheme}://{provider.netloc}"])
    return [
        Route("/identity/callback", gate.finish, methods=["GET"], middleware=guarded),
        Route("/identity/jwks.json", key_set.show, methods=["GET"], middleware=guarded),
        Route(f"{LETTER}/identity", gate.explain, methods=["GET"], middleware=leaving),
        Route(f"{LETTER}/identity", gate.begin, methods=["POST"], middleware=leaving),
    ]
