"""Several identity providers: the person chooses, each is spoken to in its own way, none stands in for another."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from pipeline.formats.configuration import DatabaseSettings
from pipeline.formats.identity_providers import EMBEDDED
from tests.bridge_process import SECOND, SECOND_ISSUER
from tests.fakes.oidc_provider import OidcPeer
from tests.portal_world import ISSUER, PUBLIC_URL, Browser, Letter, World, hidden, world

pytestmark = pytest.mark.anyio

ANGELA_THERE = {"given_name": "Angela Claire Louise", "family_name": "Dubois", "birthdate": "1962-08-24"}


@pytest.fixture
def peer() -> OidcPeer:
    return OidcPeer(secrets.token_hex(16), ANGELA_THERE)


@pytest.fixture
async def portal(database: DatabaseSettings, state_dir: Path, peer: OidcPeer) -> AsyncIterator[World]:
    async with world(database, state_dir, peer) as built:
        yield built


@pytest.fixture
async def browser(portal: World) -> AsyncIterator[Browser]:
    async with Browser(portal) as opened:
        yield opened


async def leave(browser: Browser, letter: Letter, name: str) -> str:
    """The address of the provider whose form was sent."""
    page = await browser.go(f"{letter.address()}/identity")
    fields = hidden(page.text) | {"provider": name}
    answer = await browser.post(f"{letter.address()}/identity", fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def come_back(peer: OidcPeer, address: str) -> str:
    """Through the second provider's front door: the address of the way back."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(peer.app()), base_url=SECOND_ISSUER) as http:
        return (await http.get(address)).headers["location"]


async def sign_in(browser: Browser, letter: Letter, name: str, peer: OidcPeer) -> httpx.Response:
    """Whole, with Angela; the page at the end."""
    address = await leave(browser, letter, name)
    back = await (come_back(peer, address) if name == SECOND else browser.pick(address, {"person": "angela"}))
    return await browser.go(back)


async def test_the_page_offers_every_provider_and_may_lead_to_each(portal: World, browser: Browser) -> None:
    """A form for each, with its name; the policy of the page names all their hosts and no other."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    page = await browser.go(f"{letter.address()}/identity")
    assert page.text.count('action="/en/letter/') == 2
    assert "Identify with the demonstration provider" in page.text
    assert "Identify with Second" in page.text
    policy = page.headers["content-security-policy"]
    assert f"form-action 'self' {ISSUER} {SECOND_ISSUER};" in policy


async def test_each_is_asked_in_its_own_way(portal: World, browser: Browser, peer: OidcPeer) -> None:
    """Scopes, levels, challenge and callback are the provider's; state and nonce are fresh each time."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    queries = {}
    for name in (EMBEDDED, SECOND):
        address = urlsplit(await leave(browser, letter, name))
        queries[name] = {key: value for key, [value] in parse_qs(address.query).items()}
        queries[name]["at"] = f"{address.scheme}://{address.netloc}{address.path}"
    first, second = queries[EMBEDDED], queries[SECOND]
    assert (first["at"], second["at"]) == (f"{ISSUER}/authorize", f"{SECOND_ISSUER}/sign-in")
    assert (first["acr_values"], second["acr_values"]) == ("eidas2", "urn:second:card")
    assert (first["scope"], second["scope"]) == ("openid identite_pivot preferred_username", "openid profile")
    assert first["redirect_uri"] == f"{PUBLIC_URL}/identity/callback/{EMBEDDED}"
    assert second["redirect_uri"] == f"{PUBLIC_URL}/identity/callback/{SECOND}"
    assert "code_challenge" not in first and second["code_challenge_method"] == "S256"
    assert first["state"] != second["state"] and first["nonce"] != second["nonce"]


async def test_the_second_provider_opens_a_letter(portal: World, browser: Browser, peer: OidcPeer) -> None:
    """From its sign-in to the last document; the evidence's identification names it."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    choose = await sign_in(browser, letter, SECOND, peer)
    assert "Angela Claire Louise" in choose.text
    await browser.decide(letter, "accept")
    await portal.stamp()
    answer = await browser.get(f"{letter.address()}/documents/1")
    assert answer.status_code == 200
    assert await portal.value("SELECT provider FROM qerds.identification") == SECOND


async def test_after_acceptance_the_provider_of_before_is_offered(
    portal: World, browser: Browser, peer: OidcPeer
) -> None:
    """Another one has another name for the same person, to whom the bridge would give no keys."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await sign_in(browser, letter, SECOND, peer)
    await browser.decide(letter, "accept")
    await portal.stamp()
    async with Browser(portal) as later:
        await later.claim(letter)
        page = await later.go(f"{letter.address()}/identity")
        assert "Identify with Second" in page.text and "demonstration provider" not in page.text
        fields = hidden(page.text) | {"provider": EMBEDDED}
        assert (await later.post(f"{letter.address()}/identity", fields)).status_code == 403
        await sign_in(later, letter, SECOND, peer)
        assert (await later.get(f"{letter.address()}/documents/1")).status_code == 200


async def test_a_return_counts_at_its_own_callback_only(portal: World, browser: Browser, peer: OidcPeer) -> None:
    """RFC 9700 section 4.4: a code of one provider never goes to the other, whichever way the return is bent."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    back = await come_back(peer, await leave(browser, letter, SECOND))
    bent = back.replace(f"/callback/{SECOND}", f"/callback/{EMBEDDED}")
    assert (await browser.get(bent)).status_code == 400
    assert len(peer.codes) == 1
    assert (await browser.get(back.replace(f"/callback/{SECOND}", "/callback/unknown"))).status_code == 400
    assert await portal.value("SELECT count(*) FROM qerds.identification") == 0


async def test_tokens_of_one_provider_are_no_answer_of_the_other(
    portal: World, browser: Browser, peer: OidcPeer
) -> None:
    """The second provider signs as the first: its issuer, its level. The bridge refuses both."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    for claims in ({"iss": ISSUER}, {"acr": "eidas2"}, {"acr": "urn:second:password"}):
        peer.claims = ANGELA_THERE | claims
        page = await sign_in(browser, letter, SECOND, peer)
        assert "The answer of the identity provider was not acceptable." in page.text
    assert await portal.value("SELECT count(*) FROM qerds.identification") == 0


async def test_an_unknown_provider_is_no_form_of_ours(portal: World, browser: Browser) -> None:
    """Nothing is begun with a provider that the page did not offer."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    page = await browser.go(f"{letter.address()}/identity")
    for name in ("unknown", "", "Second"):
        answer = await browser.post(f"{letter.address()}/identity", hidden(page.text) | {"provider": name})
        assert answer.status_code == 403
