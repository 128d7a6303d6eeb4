"""Every address of signing in, and every identity provider.

Rules    only the identity page may send its form on to the identity provider, because form-action also governs the
         redirect that answers a form
"""

from collections.abc import Mapping

from gateway.addresses import Address, Row
from gateway.identity.gate import CALLBACK, Gate
from gateway.identity.key_set import KeySet
from gateway.identity.oidc import OidcProvider
from gateway.identity.ports import IdentityPorts
from gateway.identity.provider import IdentityProvider
from gateway.limits import REQUEST_SECONDS
from gateway.pages.context import LETTER
from gateway.pages.headers import security_headers
from gateway.pages.rendering import Pages
from gateway.pages.session import FORM_BYTES_MAX, by_session
from gateway.rates import Rate


def routes(ports: IdentityPorts, pages: Pages) -> list[Row]:
    """To be mounted at the root of the gateway's application."""
    configured = providers(ports)
    gate, key_set = Gate(ports, pages, configured), KeySet(ports.keys)
    targets = dict.fromkeys(target for provider in configured.values() for target in provider.form_targets)
    # As many as links may be opened: behind one address of a provider or of a company there are many people.
    rates = [Rate("identification", 1200, 60), Rate("identification-session", 30, 60, by_session)]
    guarded, leaving = security_headers(ports.config), security_headers(ports.config, form_targets=[*targets])
    return [
        Address("GET", CALLBACK, gate.finish, REQUEST_SECONDS, rates=rates, middleware=guarded),
        Address("GET", "/identity/jwks.json", key_set.show, REQUEST_SECONDS, middleware=guarded),
        Address("GET", f"{LETTER}/identity", gate.explain, REQUEST_SECONDS, middleware=leaving),
        Address(
            "POST", f"{LETTER}/identity", gate.begin, REQUEST_SECONDS, FORM_BYTES_MAX, rates=rates, middleware=leaving
        ),
    ]


def providers(ports: IdentityPorts) -> Mapping[str, IdentityProvider]:
    """The configured ones by name, each with what its kind speaks."""
    identity = ports.config.identity
    return {
        name: OidcProvider(settings, ports.identity[name], identity.minimum_level)
        for name, settings in identity.providers.items()
    }
