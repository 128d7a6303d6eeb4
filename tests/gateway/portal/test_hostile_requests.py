"""Every page's address with odd names, parameters, cookies, headers and forms: below 500, or away; nothing stored."""

from urllib.parse import urlencode

import httpx
import pytest

from gateway.addresses import Address
from gateway.faces import page_routes
from gateway.pages.session import COOKIE
from tests.portal_world import PUBLIC_URL, Browser, World
from tests.worlds.hostile import RAW_BODIES, TEXTS, Elsewhere, in_address, in_header, rounds

SEED = 20260314
ROUNDS = 300
HEADERS = ("Accept", "Accept-Language", "Content-Type", "Cookie", "Origin", "Sec-Fetch-Site", "Range", "If-None-Match")
FIELDS = ("form_token", "form", "understood", "provider", "answer", "text", "state", "code", "iss", "error", "message")
FORM = "application/x-www-form-urlencoded"

pytestmark = pytest.mark.anyio


async def test_no_request_of_a_browser_is_a_fault(portal: World, browser: Browser) -> None:
    """With a session that knows a letter, with an invented one, with none; an exception would reach this test."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    session = browser.http.cookies[COOKIE]
    table = [row for row in page_routes(portal.ports) if isinstance(row, Address)]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Elsewhere(portal.app)), base_url=PUBLIC_URL) as http:
        for name, dice in rounds(ROUNDS, SEED):
            row = dice.choice(table)
            segments = row.path.split("/")
            for index, segment in enumerate(segments):
                if "{" in segment:
                    right = {"{language}": "fr", "{number}": letter.number, "{provider}": "embedded"}.get(segment, "1")
                    segments[index] = dice.choice([right, right, in_address(dice.choice(TEXTS)) or "x"])
            pairs = [(dice.choice(FIELDS), in_address(dice.choice(TEXTS))) for _ in range(dice.randint(0, 4))]
            headers = {header.encode(): in_header(dice.choice(TEXTS)) for header in HEADERS if not dice.randrange(4)}
            cookie = dice.choice([session, "0" * 64, dice.choice(TEXTS)])
            headers[b"Cookie"] = f"{COOKIE}=".encode() + in_header(cookie)
            if dice.randrange(2):
                headers |= {b"Content-Type": FORM.encode(), b"Sec-Fetch-Site": b"same-origin"}
            form = "&".join(f"{key}={value}" for key, value in pairs).encode()
            body = (
                dice.choice([form, urlencode(pairs).encode(), dice.choice(RAW_BODIES)]) if row.method == "POST" else b""
            )
            query = "&".join(f"{key}={value}" for key, value in pairs)
            path = "/".join(segments)
            request = http.build_request(row.method, f"{path}?{query}", headers=headers, content=body)
            answer = await http.send(request)
            assert answer.status_code < 500 or answer.status_code == 503, (name, row.method, path, answer.text)
    assert await portal.state(letter) == "notified"
    assert await portal.value("SELECT count(*) FROM qerds.decision_intent") == 0
