"""Identity providers in the configuration: what is refused, and what is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.formats.assurance import AssuranceLevel
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import parse
from pipeline.formats.identity_providers import SWITCHES, OidcSwitches
from tests.bridge_process import second_table
from tests.portal_world import config_table

Providers = dict[str, dict[str, Any]]


def identity(**switches: object) -> dict[str, Any]:
    """Two providers; the second one's switches are bent."""
    table = config_table(Path("/nonexistent"))
    second = second_table(Path("/none"), Path("/none"))
    second["oidc"] = {**second["oidc"], **switches}  # type: ignore[dict-item]
    table["identity"]["providers"]["second"] = second
    return table


def renamed(name: str) -> Callable[[Providers], object]:
    return lambda providers: providers.update({name: providers.pop("second")})


@pytest.mark.parametrize(
    ("bend", "says"),
    [
        (lambda p: p.clear(), "identity.providers must be 1 to 8 tables"),
        (lambda p: p.update({f"p{n}": p["second"] for n in range(8)}), "identity.providers must be 1 to 8 tables"),
        (renamed("Second"), "a name in identity.providers must be small letters, digits and _, at most 32"),
        (renamed("s" * 33), "a name in identity.providers must be"),
        (renamed("../x"), "a name in identity.providers must be"),
        (lambda p: p["second"].pop("oidc"), "identity.providers.second: kind = oidc needs a table oidc"),
        (
            lambda p: p["second"].update(kind="franceconnect_plus"),
            "second: kind = franceconnect_plus takes no table oidc",
        ),
        (lambda p: p["second"].update(kind="saml"), "second.kind must be one of franceconnect_plus, oidc"),
        (lambda p: p["second"].update(issuer="http://idp.example"), "second.issuer must be an https address"),
        (lambda p: p["second"].update(issuer="https://[idp"), "second.issuer must be an https address"),
        (lambda p: p["second"].update(label="FranceConnect+"), "each needs a label of its own"),
        (lambda p: p["second"].update(isuer="x"), r"did you mean identity.providers.second.issuer\?"),
    ],
)
def test_a_provider_that_nobody_could_use_is_refused(bend: Callable[[Providers], object], says: str) -> None:
    """By name, before anything starts."""
    table = identity()
    parse(table)
    bend(table["identity"]["providers"])
    with pytest.raises(ConfigInvalid, match=says):
        parse(table)


@pytest.mark.parametrize(
    ("switches", "says"),
    [
        ({"levels": {"urn:card": "low"}}, "second: none of its levels reaches identity.minimum_level"),
        ({"levels": {"urn:card": "highest"}}, "second.oidc.levels.urn:card must be one of high, low, substantial"),
        ({"scopes": ["profile"]}, "second.oidc.scopes must hold openid"),
        ({"scopes": []}, "second.oidc.scopes must be a list of 1 to 20 texts"),
        ({"signature": "HS256"}, "second.oidc.signature must be one of ES256, RS256"),
        ({"token_endpoint": "/token"}, "second.oidc must name all of authorization_endpoint, token_endpoint"),
        (
            {"authorization_endpoint": "/in", "token_endpoint": "/token", "person_from": "userinfo"},
            "must name all of authorization_endpoint, token_endpoint, userinfo_endpoint",
        ),
        (
            {"authorization_endpoint": "/in", "token_endpoint": "http://idp.example/token"},
            "second.oidc.token_endpoint must be an https address",
        ),
    ],
)
def test_switches_that_do_not_go_together_are_refused(switches: dict[str, object], says: str) -> None:
    """The complaint names the key."""
    with pytest.raises(ConfigInvalid, match=says):
        parse(identity(**switches))


@pytest.mark.parametrize(("minimum", "acr"), [("low", "eidas1"), ("substantial", "eidas2"), ("high", "eidas3")])
def test_the_lowest_level_that_is_enough_is_asked_for(minimum: AssuranceLevel, acr: str) -> None:
    """More would keep people out who are sure enough."""
    assert SWITCHES["franceconnect_plus"].acr(minimum) == acr
    sparse = OidcSwitches(scopes=("openid",), levels={"b": "high", "a": "low"})
    assert sparse.acr(minimum) == ("a" if minimum == "low" else "b")
