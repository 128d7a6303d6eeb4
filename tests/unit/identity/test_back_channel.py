"""The back channel: every answer of a provider becomes tokens, a refusal or "try later"."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from deploy.local.identity_provider import keys
from pipeline.adapters.identity_http import ANSWER_BYTES_MAX, HttpBackChannel
from pipeline.errors import Transient
from pipeline.formats.configuration import parse
from pipeline.formats.identity_providers import IdentityProviderSettings, OidcSwitches
from pipeline.ports.bridge import wire
from pipeline.ports.outside import ExchangeRefused
from tests.portal_world import config_table

pytestmark = pytest.mark.anyio

TOKENS = {"access_token": "at", "id_token": "a.b.c.d.e", "token_type": "Bearer"}
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def identity(state_dir: Path) -> IdentityProviderSettings:
    config = parse(config_table(state_dir))
    keys.prepare(config)
    return keys.settings_of(config)


async def exchange(identity: IdentityProviderSettings, answer: Answer) -> wire.IdentityTokens | ExchangeRefused:
    """One exchange with a provider that answers like this."""
    provider = HttpBackChannel(identity, httpx.MockTransport(answer))
    try:
        return await provider.exchange("code-1", "https://portal.example/identity/callback", None)
    finally:
        await provider.close()


async def test_tokens(identity: IdentityProviderSettings) -> None:
    """Code, client and secret go to /token, the access token to /userinfo; what comes back is passed on unread."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return (
            httpx.Response(200, json=TOKENS) if request.url.path == "/token" else httpx.Response(200, text="1.2.3.4.5")
        )

    assert await exchange(identity, answer) == wire.IdentityTokens("a.b.c.d.e", "1.2.3.4.5")
    assert b"code=code-1" in seen[0].content
    assert b"client_secret=" in seen[0].content
    assert seen[1].headers["authorization"] == "Bearer at"


async def test_a_refused_code_is_a_result(identity: IdentityProviderSettings) -> None:
    """RFC 6749 section 5.2: the provider's error code comes back as a refusal."""
    refused = await exchange(identity, lambda _: httpx.Response(400, json={"error": "invalid_grant"}))
    assert refused == ExchangeRefused("invalid_grant")


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: httpx.Response(503),
        lambda _: httpx.Response(302, headers={"Location": "http://127.0.0.1/"}),
        lambda _: httpx.Response(200, text="not json"),
        lambda _: httpx.Response(200, json=["no object"]),
        lambda _: httpx.Response(200, json={"access_token": 1}),
        lambda _: httpx.Response(200, content=b"x" * (ANSWER_BYTES_MAX + 1)),
        lambda r: httpx.Response(200, json=TOKENS) if r.url.path == "/token" else httpx.Response(500),
        lambda r: httpx.Response(200, json=TOKENS) if r.url.path == "/token" else httpx.Response(200, content=b"\xff"),
    ],
)
async def test_anything_else_is_for_later(identity: IdentityProviderSettings, answer: Answer) -> None:
    """Broken, huge, redirecting or failing answers are Transient: the person is told to try again."""
    with pytest.raises(Transient):
        await exchange(identity, answer)


async def test_no_connection_is_for_later(identity: IdentityProviderSettings) -> None:
    """A provider that cannot be reached is Transient."""

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("away", request=request)

    with pytest.raises(Transient):
        await exchange(identity, away)


# ------------------------------------------------------------------ endpoints
SWITCHES = OidcSwitches(scopes=("openid",), levels={"high": "high"}, person_from="id_token")
DOCUMENT = {
    "issuer": "https://idp.example",
    "authorization_endpoint": "https://idp.example/sign-in",
    "token_endpoint": "https://tokens.idp.example/redeem",
}


def discovering(identity: IdentityProviderSettings, **switches: str) -> IdentityProviderSettings:
    """The same client at a provider whose endpoints are discovered, or named here."""
    return replace(identity, kind="oidc", issuer="https://idp.example", oidc=replace(SWITCHES, **switches))


async def test_endpoints_are_discovered_once_an_hour(identity: IdentityProviderSettings) -> None:
    """One document serves the front door and the back channel; a verifier goes along with the code."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=DOCUMENT if request.method == "GET" else {"id_token": "a.b.c"})

    channel = HttpBackChannel(discovering(identity), httpx.MockTransport(answer))
    assert await channel.authorization_endpoint() == "https://idp.example/sign-in"
    tokens = await channel.exchange("code-1", "https://portal.example/identity/callback/x", "verifier-1")
    assert tokens == wire.IdentityTokens("a.b.c", "")
    await channel.close()
    assert [str(request.url) for request in seen] == [
        "https://idp.example/.well-known/openid-configuration",
        "https://tokens.idp.example/redeem",
    ]
    assert b"code_verifier=verifier-1" in seen[1].content


async def test_named_endpoints_are_addresses_or_paths(identity: IdentityProviderSettings) -> None:
    """Nothing is discovered when they are named."""
    named = discovering(identity, authorization_endpoint="https://other.example/in", token_endpoint="/token")
    channel = HttpBackChannel(named, httpx.MockTransport(lambda _: httpx.Response(200, json={"id_token": "a.b.c"})))
    assert await channel.authorization_endpoint() == "https://other.example/in"
    assert await channel.exchange("code-1", "https://portal.example/", None) == wire.IdentityTokens("a.b.c", "")
    await channel.close()


@pytest.mark.parametrize(
    ("bent", "says"),
    [
        ({"issuer": "https://evil.example"}, "is not the issuer's"),
        ({"issuer": 7}, "no issuer"),
        ({"authorization_endpoint": "https://evil.example/sign-in"}, "elsewhere than the issuer"),
        ({"authorization_endpoint": "http://idp.example/sign-in"}, "no authorization_endpoint that can be used"),
        ({"authorization_endpoint": None}, "no authorization_endpoint that can be used"),
        ({"authorization_endpoint": "https://[bad/"}, "no authorization_endpoint that can be used"),
    ],
)
async def test_a_document_that_leads_astray_is_not_followed(
    identity: IdentityProviderSettings, bent: dict[str, object], says: str
) -> None:
    """Another issuer's, or with endpoints that a form may not lead to or that anybody on the way reads: for later."""
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json=DOCUMENT | bent))
    channel = HttpBackChannel(discovering(identity), answer)
    with pytest.raises(Transient, match=says):
        await channel.authorization_endpoint()
    await channel.close()


async def test_a_failed_discovery_is_tried_again(identity: IdentityProviderSettings) -> None:
    """A provider that was away is found as soon as it is back."""
    answers = [httpx.Response(503), httpx.Response(200, json=["list"]), httpx.Response(200, json=DOCUMENT)]
    channel = HttpBackChannel(discovering(identity), httpx.MockTransport(lambda _: answers.pop(0)))
    for _ in range(2):
        with pytest.raises(Transient):
            await channel.authorization_endpoint()
    assert await channel.authorization_endpoint() == DOCUMENT["authorization_endpoint"]
    await channel.close()
