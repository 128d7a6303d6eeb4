"""The back channel: every answer of a provider becomes tokens, a refusal or "try later"."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from deploy.local.identity_provider import keys
from pipeline.adapters.identity_http import ANSWER_BYTES_MAX, HttpIdentityProvider
from pipeline.errors import Transient
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import IdentitySettings, parse
from pipeline.ports.outside import ExchangeRefused, IdentityTokens
from tests.portal_world import config_table

pytestmark = pytest.mark.anyio

TOKENS = {"access_token": "at", "id_token": "a.b.c.d.e", "token_type": "Bearer"}
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def identity(state_dir: Path) -> IdentitySettings:
    config = parse(config_table(state_dir))
    keys.prepare(config)
    return config.identity


async def exchange(identity: IdentitySettings, answer: Answer) -> IdentityTokens | ExchangeRefused:
    """One exchange with a provider that answers like this."""
    provider = HttpIdentityProvider(identity, httpx.MockTransport(answer))
    try:
        return await provider.exchange("code-1", "https://portal.example/identity/callback")
    finally:
        await provider.close()


async def test_tokens(identity: IdentitySettings) -> None:
    """Code, client and secret go to /token, the access token to /userinfo; what comes back is passed on unread."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return (
            httpx.Response(200, json=TOKENS) if request.url.path == "/token" else httpx.Response(200, text="1.2.3.4.5")
        )

    assert await exchange(identity, answer) == IdentityTokens("a.b.c.d.e", "1.2.3.4.5")
    assert b"code=code-1" in seen[0].content
    assert b"client_secret=" in seen[0].content
    assert seen[1].headers["authorization"] == "Bearer at"


async def test_a_refused_code_is_a_result(identity: IdentitySettings) -> None:
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
async def test_anything_else_is_for_later(identity: IdentitySettings, answer: Answer) -> None:
    """Broken, huge, redirecting or failing answers are Transient: the person is told to try again."""
    with pytest.raises(Transient):
        await exchange(identity, answer)


async def test_no_connection_is_for_later(identity: IdentitySettings) -> None:
    """A provider that cannot be reached is Transient."""

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("away", request=request)

    with pytest.raises(Transient):
        await exchange(identity, away)


def test_plain_http_stays_at_home(identity: IdentitySettings) -> None:
    """An issuer on the network must be https."""
    with pytest.raises(ConfigInvalid, match="https"):
        HttpIdentityProvider(replace(identity, issuer="http://idp.example"))
