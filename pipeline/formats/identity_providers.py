"""Identity providers as data: where one is, what it is asked for, and what its words mean here.

Owns     the settings of one provider, all in which two that speak OpenID Connect may differ, FranceConnect+'s row
Rules    a kind that has a row here takes no switches from the file: what such a provider demands is nobody's choice
Elsewhere: the walk to a provider and back (gateway/identity), its back channel (adapters/identity_http.py), what its
           tokens prove (hsm_bridge/identity)
Source   OpenID Connect Core 1.0, OpenID Connect Discovery 1.0, RFC 7636 (PKCE), FranceConnect+ technical pages
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from pipeline.formats.assurance import ORDER, AssuranceLevel
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.database_address import LOOPBACK

EMBEDDED = "embedded"  # the name of an embedded installation's stand-in
PROVIDERS_MAX = 8  # buttons on one page

ProviderKind = Literal["franceconnect_plus", "oidc"]
SignatureAlgorithm = Literal["ES256", "RS256"]
PersonSource = Literal["userinfo", "id_token"]
ProviderName = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
Text = Annotated[str, Meta(min_length=1)]


class OidcSwitches(Struct, frozen=True, kw_only=True):
    """In what two providers differ. levels: from its acr values to ours. An endpoint is an address, or a path below the
    issuer; when none is named, the provider's discovery document has them."""

    scopes: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=20)]
    levels: dict[Text, AssuranceLevel]
    signature: SignatureAlgorithm = "ES256"
    encrypted: bool = True
    pkce: bool = True
    max_age_seconds: Annotated[int, Meta(ge=0)] | None = None
    person_from: PersonSource = "userinfo"
    authorization_endpoint: Text | None = None
    token_endpoint: Text | None = None
    userinfo_endpoint: Text | None = None
    given_names_claim: Text = "given_name"
    birth_name_claim: Text = "family_name"
    usage_name_claim: Text | None = None
    birth_date_claim: Text = "birthdate"

    @property
    def endpoints(self) -> Mapping[str, str | None]:
        """By the names that a discovery document gives them."""
        return {
            "authorization_endpoint": self.authorization_endpoint,
            "token_endpoint": self.token_endpoint,
            "userinfo_endpoint": self.userinfo_endpoint,
        }

    def acr(self, minimum: AssuranceLevel) -> str | None:
        """The provider's word for the lowest of its levels that is enough; None when none is."""
        enough = [(ORDER[level], acr) for acr, level in self.levels.items() if ORDER[level] >= ORDER[minimum]]
        return min(enough)[1] if enough else None


SWITCHES: Mapping[ProviderKind, OidcSwitches] = {
    "franceconnect_plus": OidcSwitches(
        scopes=("openid", "identite_pivot", "preferred_username"),
        levels={"eidas1": "low", "eidas2": "substantial", "eidas3": "high"},
        pkce=False,  # its front end refuses every parameter that is not on its list, code_challenge among them
        authorization_endpoint="/authorize",
        token_endpoint="/token",  # noqa: S106  (a path)
        userinfo_endpoint="/userinfo",
        usage_name_claim="preferred_username",
    ),
}
LABELS: Mapping[ProviderKind, str] = {"franceconnect_plus": "FranceConnect+"}


class IdentityProviderSettings(Struct, frozen=True, kw_only=True):
    """One identity provider. jwks_file: its keys, pinned; without it the bridge fetches them from the issuer, whose TLS
    certificate ca_file vouches for, or the system. label: how people call it, on its button."""

    kind: ProviderKind
    label: Text | None = None
    issuer: Text
    client_id: Text
    client_secret_file: Path
    jwks_file: Path | None = None
    ca_file: Path | None = None
    oidc: OidcSwitches | None = None

    @property
    def shown(self) -> str | None:
        """Its name for people: the operator's, or that of its kind."""
        return self.label or LABELS.get(self.kind)

    @property
    def switches(self) -> OidcSwitches:
        """Those of its kind, or else its own. Raises ConfigInvalid when it has none, or two."""
        of_kind = SWITCHES.get(self.kind)
        if of_kind is not None and self.oidc is not None:
            raise ConfigInvalid(f"kind = {self.kind} takes no table oidc; take it out")
        switches = of_kind or self.oidc
        if switches is None:
            raise ConfigInvalid(f"kind = {self.kind} needs a table oidc")
        return switches


def check(at: str, provider: IdentityProviderSettings, minimum: AssuranceLevel) -> None:
    """Raises ConfigInvalid when nobody could identify with this provider, or not safely. at: its dotted name."""
    try:
        switches = provider.switches
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{at}: {error}") from error
    if switches.acr(minimum) is None:
        raise ConfigInvalid(f"{at}: none of its levels reaches identity.minimum_level")
    if "openid" not in switches.scopes:
        raise ConfigInvalid(f"{at}.oidc.scopes must hold openid")
    if provider.jwks_file is None and not provider.issuer.startswith("https://"):
        raise ConfigInvalid(f"{at}.jwks_file is needed: keys are fetched from an https issuer only")
    if provider.jwks_file is not None and provider.ca_file is not None:
        raise ConfigInvalid(f"{at}.ca_file is of keys that are fetched; take it or jwks_file out")
    _check_endpoints(at, provider.issuer, switches)


def _check_endpoints(at: str, issuer: str, switches: OidcSwitches) -> None:
    """All of them or none, each where nobody on the way can read or change a request."""
    named = switches.endpoints
    needed = [key for key in named if switches.person_from == "userinfo" or key != "userinfo_endpoint"]
    if any(named.values()) and not all(named[key] for key in needed):
        raise ConfigInvalid(f"{at}.oidc must name all of {', '.join(needed)}, or none for discovery")
    if issuer.endswith("/") and any(address and address.startswith("/") for address in named.values()):
        raise ConfigInvalid(f"{at}.issuer must be without a final slash; its endpoints are paths below it")
    addresses = {f"{at}.oidc.{key}": address for key, address in named.items() if address and address[0] != "/"}
    for key, address in ({f"{at}.issuer": issuer} | addresses).items():
        if not is_guarded(address):
            raise ConfigInvalid(f"{key} must be an https address, but on loopback")


def is_guarded(address: str) -> bool:
    """Whether a request to it cannot be read on the way: https, or plain http that stays on this machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:  # a bracket without its other half
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
