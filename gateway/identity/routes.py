"""Every address of signing in.

Rules    only the identity page may send its form on to the identity provider, because form-action also governs the
         redirect that answers a form
"""

from urllib.parse import urlsplit

from gateway.addresses import Address, Row
from gateway.identity.gate import Gate
from gateway.identity.key_set import KeySet
from gateway.identity.ports import IdentityPorts
from gateway.limits import REQUEST_SECONDS
from gateway.pages.context import LETTER
from gateway.pages.headers import security_headers
from gateway.pages.rendering import Pages
from gateway.pages.session import FORM_BYTES_MAX


def routes(ports: IdentityPorts, pages: Pages) -> list[Row]:
    """To be mounted at the root of the gateway's application."""
    gate, key_set = Gate(ports, pages), KeySet(ports.keys)
    provider = urlsplit(ports.config.identity.issuer)
    guarded = security_headers(ports.config)
    leaving = security_headers(ports.config, form_targets=[f"{provider.scheme}://{provider.netloc}"])
    return [
        Address("GET", "/identity/callback", gate.finish, REQUEST_SECONDS, middleware=guarded),
        Address("GET", "/identity/jwks.json", key_set.show, REQUEST_SECONDS, middleware=guarded),
        Address("GET", f"{LETTER}/identity", gate.explain, REQUEST_SECONDS, middleware=leaving),
        Address("POST", f"{LETTER}/identity", gate.begin, REQUEST_SECONDS, FORM_BYTES_MAX, middleware=leaving),
    ]
