"""A provider that speaks OpenID Connect: the authorization code flow, as its switches want it.

Owns     the parameters on the way there, what may come back, the code that is redeemed
Rules    nothing is sent that the switches do not name: FranceConnect+ refuses any parameter beyond its list
         A return names its provider where it names one at all (RFC 9207); each provider has a callback of its own
Elsewhere: the two calls of the back channel and discovery (an adapter), every check of tokens (hsm_bridge/identity)
Source   OpenID Connect Core 1.0 section 3.1; RFC 7636 section 4; RFC 9207; RFC 9700 section 4.4
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from gateway.identity.provider import SignIn, Unanswered
from pipeline.formats.assurance import AssuranceLevel
from pipeline.formats.identity_providers import IdentityProviderSettings
from pipeline.ports.bridge import wire
from pipeline.ports.outside import BackChannel, ExchangeRefused

CODE_CHARACTERS_MAX = 2048


class OidcProvider:
    """One issuer and our client there. minimum: the level of assurance to ask for."""

    def __init__(self, settings: IdentityProviderSettings, back_channel: BackChannel, minimum: AssuranceLevel) -> None:
        self._settings = settings
        self._back_channel = back_channel
        self._minimum = minimum

    @property
    def label(self) -> str | None:
        """Its name on the button."""
        return self._settings.shown

    @property
    def form_targets(self) -> tuple[str, ...]:
        """Of the issuer and, where it is named, of the authorization endpoint."""
        addresses = (self._settings.issuer, self._settings.switches.authorization_endpoint or "")
        parts = (urlsplit(address) for address in addresses if address and not address.startswith("/"))
        return tuple(dict.fromkeys(f"{part.scheme}://{part.netloc}" for part in parts))

    async def departure(self, sign_in: SignIn) -> str:
        """The authorization endpoint with everything asked (OpenID Connect Core section 3.1.2.1)."""
        switches = self._settings.switches
        parameters = {
            "client_id": self._settings.client_id,
            "response_type": "code",
            "scope": " ".join(switches.scopes),
            "redirect_uri": sign_in.callback,
            "state": sign_in.state,
            "nonce": sign_in.nonce,
            "acr_values": switches.acr(self._minimum) or "",
            "prompt": "login",
        }
        if switches.max_age_seconds is not None:
            parameters["max_age"] = str(switches.max_age_seconds)
        if switches.pkce:
            parameters |= {"code_challenge": code_challenge(sign_in.secret), "code_challenge_method": "S256"}
        endpoint = await self._back_channel.authorization_endpoint()
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(parameters)}"

    def recognises(self, returned: Mapping[str, str]) -> bool:
        """RFC 9207: a return that names an issuer names this one."""
        return returned.get("iss", self._settings.issuer) == self._settings.issuer

    async def answer(self, returned: Mapping[str, str], secret: str, callback: str) -> wire.IdentityTokens | Unanswered:
        """Tokens for the code that came back."""
        if "error" in returned:
            return "cancelled" if returned["error"] == "access_denied" else "unavailable"
        code = returned.get("code", "")
        if not 0 < len(code) <= CODE_CHARACTERS_MAX:
            return "refused"
        verifier = secret if self._settings.switches.pkce else None
        tokens = await self._back_channel.exchange(code, callback, verifier)
        return "refused" if isinstance(tokens, ExchangeRefused) else tokens


def code_challenge(verifier: str) -> str:
    """RFC 7636 section 4.2, method S256."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")
