"""What an authorization request must look like, as strictly as FranceConnect+ looks at it.

Rules    a parameter that is not on the list refuses the request, code_challenge included: FranceConnect+ does the same
Source   FranceConnect+ authorize parameters; OpenID Connect Core 1.0 section 3.1.2.1
"""

from collections.abc import Mapping, Sequence

from deploy.local.identity_provider.grants import SignInRequest

PARAMETERS = frozenset(
    {
        "client_id",
        "acr_values",
        "claims",
        "response_type",
        "nonce",
        "state",
        "redirect_uri",
        "scope",
        "prompt",
        "idp_hint",
        "ui_locales",
    }
)
LEVELS = ("eidas2", "eidas3")  # eidas1 is not offered
SCOPES = frozenset({"openid", "identite_pivot", "preferred_username", "profile", "birth", "email", "amr"})
NONCE_CHARACTERS_MIN = 22  # FranceConnect+
VALUE_CHARACTERS_MAX = 512


class RequestRefused(ValueError):
    """The request is shown to the person as a page and never sent back to the relying party."""


def parse(pairs: Sequence[tuple[str, str]], client_id: str, redirect_uri: str) -> SignInRequest:
    """The request, checked; raises RequestRefused."""
    parameters = dict(pairs)
    if len(parameters) != len(pairs) or set(parameters) - PARAMETERS:
        raise RequestRefused(
            f"unknown or repeated parameter: {', '.join(sorted(set(parameters) - PARAMETERS)) or 'repeated'}"
        )
    if any(len(value) > VALUE_CHARACTERS_MAX for value in parameters.values()):
        raise RequestRefused("a parameter is too long")
    if parameters.get("client_id") != client_id or parameters.get("redirect_uri") != redirect_uri:
        raise RequestRefused("unknown client_id or redirect_uri")
    if parameters.get("response_type") != "code":
        raise RequestRefused("response_type must be code")
    scopes = frozenset(parameters.get("scope", "").split(" "))
    if "openid" not in scopes or scopes - SCOPES:
        raise RequestRefused("scope must hold openid and known scopes only")
    return SignInRequest(
        client_id, redirect_uri, _required(parameters, "state"), _nonce(parameters), scopes, _level(parameters)
    )


def _required(parameters: Mapping[str, str], name: str) -> str:
    if not parameters.get(name):
        raise RequestRefused(f"{name} is missing")
    return parameters[name]


def _nonce(parameters: Mapping[str, str]) -> str:
    nonce = _required(parameters, "nonce")
    if len(nonce) < NONCE_CHARACTERS_MIN:
        raise RequestRefused(f"nonce is shorter than {NONCE_CHARACTERS_MIN} characters")
    return nonce


def _level(parameters: Mapping[str, str]) -> str:
    level = _required(parameters, "acr_values")
    if level not in LEVELS:
        raise RequestRefused(f"acr_values must be one of {', '.join(LEVELS)}")
    return level
