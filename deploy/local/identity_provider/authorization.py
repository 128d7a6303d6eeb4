"""What an authorization request must look like, as strictly as FranceConnect+ looks at it.

Rules    a parameter that is not on the list refuses the request, code_challenge included: FranceConnect+ does the same
Source   FranceConnect+ authorize parameters; OpenID Connect Core 1.0 section 3.1.2.1
"""

from collections.abc import Mapping, Sequence

from deploy.local.identity_provider.grants import Asked

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


def parse(pairs: Sequence[tuple[str, str]], client_id: str, redirect_uri: str) -> Asked:
    """The request, checked; raises RequestRefused."""
    asked = dict(pairs)
    if len(asked) != len(pairs) or set(asked) - PARAMETERS:
        raise RequestRefused(
            f"unknown or repeated parameter: {', '.join(sorted(set(asked) - PARAMETERS)) or 'repeated'}"
        )
    if any(len(value) > VALUE_CHARACTERS_MAX for value in asked.values()):
        raise RequestRefused("a parameter is too long")
    if asked.get("client_id") != client_id or asked.get("redirect_uri") != redirect_uri:
        raise RequestRefused("unknown client_id or redirect_uri")
    if asked.get("response_type") != "code":
        raise RequestRefused("response_type must be code")
    scopes = frozenset(asked.get("scope", "").split(" "))
    if "openid" not in scopes or scopes - SCOPES:
        raise RequestRefused("scope must hold openid and known scopes only")
    return Asked(client_id, redirect_uri, _required(asked, "state"), _nonce(asked), scopes, _level(asked))


def _required(asked: Mapping[str, str], name: str) -> str:
    if not asked.get(name):
        raise RequestRefused(f"{name} is missing")
    return asked[name]


def _nonce(asked: Mapping[str, str]) -> str:
    nonce = _required(asked, "nonce")
    if len(nonce) < NONCE_CHARACTERS_MIN:
        raise RequestRefused(f"nonce is shorter than {NONCE_CHARACTERS_MIN} characters")
    return nonce


def _level(asked: Mapping[str, str]) -> str:
    level = _required(asked, "acr_values")
    if level not in LEVELS:
        raise RequestRefused(f"acr_values must be one of {', '.join(LEVELS)}")
    return level
