"""What protects a letter from everyone but its recipient: scanners, other sites, guesses, curious links."""

import hashlib
import re
from urllib.parse import urljoin

import anyio
import pytest

from gateway.pages.headers import POLICY
from pipeline.errors import Invariant
from tests.portal_world import CANARY, CONTENTS, ISSUER, PUBLIC_URL, STRANGER, Browser, Letter, World, hidden
from tests.words import reserved_words_in
from tests.worlds.page import Page

pytestmark = pytest.mark.anyio

LETTER_TABLES = ("evidence", "decision_intent", "identification", "handover", "log_leaf")


async def facts(portal: World) -> list[tuple[str, int]]:
    """How many rows there are about letters, and their states."""
    counts = [(table, await portal.value(f"SELECT count(*) FROM qerds.{table}")) for table in LETTER_TABLES]
    states = await portal.owner.fetch("SELECT state FROM qerds.delivery ORDER BY id")
    return counts + [(row["state"], 1) for row in states]


async def every_page(portal: World, browser: Browser, letter: Letter, language: str) -> None:
    """Walks one letter through all pages up to the documents, in one language."""
    at = letter.address(language)
    await browser.claim(letter)
    await browser.go(at)
    for result in ("cancelled", "unavailable", "refused", "again", "mismatch", "limit", "nonsense"):
        await browser.get(f"{at}/identity?result={result}")
    await browser.sign_in(letter, STRANGER)
    await browser.sign_in(letter)
    for address in ("", "?message=not_recorded", "/accept", "/refuse"):
        await browser.get(at + address)
    await browser.post(f"{at}/refuse", {"form_token": "wrong"})
    page = await browser.get(f"{at}/accept")
    await browser.post(f"{at}/accept", hidden(page.text))
    await browser.post(f"{at}/accept", hidden(page.text) | {"understood": "yes"})
    await browser.get(at)
    for address in (
        "/c/unknown",
        f"/{language}/letter/12345678901234",
        f"/{language}/verify",
        "/identity/callback/embedded?state=x",
    ):
        await browser.get(address)


async def test_a_scanner_changes_nothing(portal: World, browser: Browser) -> None:
    """A mail scanner that opens every link and sends every form without identity leaves all as it was."""
    letter = await portal.open_letter()
    before = await facts(portal)
    await browser.http.head(f"/c/{letter.token}")
    assert await portal.value("SELECT count(*) FROM qerds.portal_session") == 0
    todo, seen = [f"/c/{letter.token}", f"{letter.address()}/accept", f"{letter.address()}/refuse"], set[str]()
    while todo:
        address = urljoin(f"{PUBLIC_URL}/", todo.pop())
        if address in seen or not address.startswith(PUBLIC_URL):
            continue
        seen.add(address)
        await browser.http.head(address)
        answer = await browser.get(address)
        todo += [urljoin(address, answer.headers["location"])] if answer.is_redirect else []
        page = Page(answer.text)
        todo += [urljoin(address, link) for link in page.links]
        for method, action in page.forms:
            if method == "post" and "verify" not in action:
                await browser.post(urljoin(address, action), hidden(answer.text) | {"understood": "yes"})
    for act in ("accept", "refuse"):
        await browser.post(f"{letter.address()}/{act}", {"understood": "yes", "form": "0" * 32})
    assert len(seen) > 8
    assert await facts(portal) == before
    assert not [page for page in browser.seen if CANARY in page.text.lower()]


async def test_a_program_without_cookies_leaves_no_session(portal: World, browser: Browser) -> None:
    """However often it follows a link, and whatever redirects it follows; in the end it is told what is missing."""
    letter = await portal.open_letter()
    await browser.follows_without_cookies(f"/c/{letter.token}")
    assert await portal.value("SELECT count(*) FROM qerds.portal_session") == 0


async def test_nobody_chooses_the_session_of_somebody_else(portal: World, browser: Browser) -> None:
    """A cookie that came with the browser, ours of the first step or a stranger's, never becomes a session."""
    letter = await portal.open_letter()
    for brought in ("a" * 64, None):
        browser.http.cookies.clear()
        if brought is None:
            await browser.get(f"/c/{letter.token}")
            brought = browser.http.cookies["__Host-session"]
        else:
            browser.http.cookies.set("__Host-session", brought, domain="portal.example", path="/")
        await browser.get(f"/c/{letter.token}?cookie")
        assert browser.http.cookies["__Host-session"] != brought
        with_it = "SELECT count(*) FROM qerds.portal_session WHERE session_sha256 = $1"
        assert await portal.value(with_it, hashlib.sha256(brought.encode()).digest()) == 0
    assert await portal.value("SELECT count(*) FROM qerds.portal_session") == 2


async def test_unknown_malformed_and_expired_links_are_one_page(portal: World, browser: Browser) -> None:
    """Nobody can find out by guessing which links exist or existed: the same status, headers and bytes."""
    expired = await portal.open_letter()
    await portal.owner.execute("UPDATE qerds.acceptance_window SET expires_at = qerds.legal_now() - interval '1 s'")
    answers = [
        await browser.get(f"/c/{token}")
        for token in (
            expired.token,
            "0" * 22,
            "x",
            "a/b/c",
            "%00%ff",
            "é" * 300,
            expired.token + "x",
        )
    ]
    first = answers[0]
    assert first.status_code == 404
    for answer in answers:
        assert (answer.status_code, answer.content) == (404, first.content)
        assert sorted(answer.headers.items()) == sorted(first.headers.items())
    assert await portal.value("SELECT count(*) FROM qerds.portal_session") == 0


async def test_a_number_is_no_way_in(portal: World, browser: Browser) -> None:
    """Without the link, an existing number and an invented one look the same."""
    letter = await portal.open_letter()
    existing, invented = await browser.get(letter.address()), await browser.get("/en/letter/12345678901234")
    assert (existing.status_code, existing.content) == (invented.status_code, invented.content)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "", "Origin": PUBLIC_URL},
    ],
)
async def test_forms_of_other_sites_are_refused(portal: World, browser: Browser, headers: dict[str, str]) -> None:
    """Even with the right token, a form that another site sent decides nothing."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    page = await browser.go(f"{letter.address()}/accept")
    answer = await browser.post(f"{letter.address()}/accept", hidden(page.text) | {"understood": "yes"}, **headers)
    assert answer.status_code == 403
    assert await portal.drafted(letter) == ["A.1", "C.1"]


async def test_origin_counts_where_fetch_metadata_is_missing(portal: World, browser: Browser) -> None:
    """An old browser or a program sends its Origin: ours is accepted, none or another's is not."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    page = await browser.go(f"{letter.address()}/identity")
    for origin, status in ((None, 403), ("null", 403), ("https://evil.example", 403), (PUBLIC_URL, 303)):
        headers = {} if origin is None else {"Origin": origin}
        answer = await browser.http.post(f"{letter.address()}/identity", data=hidden(page.text), headers=headers)
        assert answer.status_code == status, origin


async def test_the_form_token_is_the_sessions(portal: World, browser: Browser) -> None:
    """A token of another session, none, or a body that is no form is refused."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    page = await browser.go(f"{letter.address()}/accept")
    fields = hidden(page.text) | {"understood": "yes"}
    async with Browser(portal) as other:
        await other.claim(letter)
        foreign = hidden((await other.go(f"{letter.address()}/identity")).text)["form_token"]
    for wrong in (fields | {"form_token": foreign}, fields | {"form_token": ""}, {**fields, "padding": "x" * 9000}):
        assert (await browser.post(f"{letter.address()}/accept", wrong)).status_code == 403
    json = await browser.http.post(f"{letter.address()}/accept", json=fields, headers={"Sec-Fetch-Site": "same-origin"})
    assert json.status_code == 403
    assert await portal.drafted(letter) == ["A.1", "C.1"]


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_every_page_keeps_the_house_rules(portal: World, browser: Browser, language: str) -> None:
    """Policy on every answer, nothing inline, no reserved word, no sender before acceptance, one language per page."""
    letter = await portal.open_letter()
    await every_page(portal, browser, letter, language)
    assert len(browser.seen) > 25
    for answer in browser.seen:
        leaving = "/identity?" in str(answer.url) or str(answer.url).endswith("/identity")
        target = f" {ISSUER}" if leaving else ""
        assert answer.headers["content-security-policy"] == POLICY.format(form_targets=target), answer.url
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["strict-transport-security"]
        assert Page(answer.text).inline == []
        assert reserved_words_in(answer.text) == []
        assert CANARY not in answer.text.lower()
        assert letter.token not in answer.text
        if answer.text and f"/{language}/" in str(answer.url):
            assert f'<html lang="{language}">' in answer.text
            notice = "demonstration service" if language == "en" else "service de démonstration"
            assert notice in answer.text


async def test_cookies_are_for_this_host_only(portal: World, browser: Browser) -> None:
    """The session cookie has the prefix and attributes that keep it from scripts, other hosts and plain HTTP."""
    letter = await portal.open_letter()
    answer = await browser.get((await browser.get(f"/c/{letter.token}")).headers["location"])
    cookie = answer.headers["set-cookie"]
    assert re.match(r"__Host-session=[0-9a-f]{64}; ", cookie)
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=lax", "path=/"} <= attributes
    assert not [part for part in attributes if part.startswith("domain")]
    assert letter.token not in answer.headers["location"]
    stored = await portal.value("SELECT encode(session_sha256, 'hex') FROM qerds.portal_session")
    assert stored not in cookie


async def test_an_interrupted_download_is_no_handover(portal: World, browser: Browser) -> None:
    """A reader that leaves half-way leaves an incomplete row and no E.1."""
    letter = await portal.open_letter(contents=CONTENTS[:1])
    await browser.claim(letter)
    await browser.sign_in(letter)
    await browser.decide(letter, "accept")
    await portal.stamp()
    await leave_half_way(portal, f"{letter.address()}/documents/1", browser.http.cookies["__Host-session"])
    row = await portal.owner.fetchrow("SELECT complete, bytes FROM qerds.handover")
    assert row["complete"] is False
    assert 0 < row["bytes"] < len(CONTENTS[0])
    assert "E.1" not in await portal.drafted(letter)
    assert (await browser.get(f"{letter.address()}/documents/1")).content == CONTENTS[0]
    assert (await portal.drafted(letter))[-1] == "E.1"


async def leave_half_way(portal: World, path: str, session: str) -> None:
    """Speaks ASGI like a server whose client closes the connection after the first piece."""
    left = anyio.Event()
    stalled = anyio.Event()

    async def receive() -> dict[str, object]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            if left.is_set():
                await stalled.wait()  # the socket takes nothing more
            left.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"portal.example"), (b"cookie", f"__Host-session={session}".encode())],
        "server": ("portal.example", 443),
        "client": ("127.0.0.1", 1),
    }
    with anyio.fail_after(10):
        await portal.app(scope, receive, send)  # type: ignore[arg-type]


async def test_content_that_was_altered_is_not_handed_over(portal: World, browser: Browser) -> None:
    """One flipped byte in the store: the answer breaks off, the row says incomplete, E.1 is not drafted."""
    letter = await portal.open_letter(contents=CONTENTS[:1])
    await browser.claim(letter)
    await browser.sign_in(letter)
    await browser.decide(letter, "accept")
    await portal.stamp()
    [(name, stored)] = portal.ports.objects.objects.items()
    portal.ports.objects.objects[name] = stored[:-1] + bytes([stored[-1] ^ 1])
    with pytest.raises(Invariant):
        await browser.get(f"{letter.address()}/documents/1")
    row = await portal.owner.fetchrow("SELECT complete, bytes FROM qerds.handover")
    assert row["complete"] is False
    assert row["bytes"] < len(CONTENTS[0])
    assert "E.1" not in await portal.drafted(letter)


async def test_two_downloads_at_once_make_one_handover(portal: World, browser: Browser) -> None:
    """Both finish, E.1 is drafted once."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    await browser.decide(letter, "accept")
    await portal.stamp()
    async with anyio.create_task_group() as tasks:
        for part in (1, 2, 1, 2):
            tasks.start_soon(browser.get, f"{letter.address()}/documents/{part}")
    assert (await portal.drafted(letter)).count("E.1") == 1
    assert await portal.value("SELECT count(*) FROM qerds.handover WHERE complete") == 4


async def test_acceptances_at_once_are_one(portal: World, browser: Browser) -> None:
    """Ten submits from ten tabs at the same moment: one decision."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    pages = [await browser.go(f"{letter.address()}/{act}") for act in ("accept", "refuse") * 5]
    async with anyio.create_task_group() as tasks:
        for page in pages:
            fields = hidden(page.text) | {"understood": "yes"}
            tasks.start_soon(browser.post, page.url.path, fields)
    drafted = await portal.drafted(letter)
    assert drafted in (["A.1", "C.1", "C.3", "D.1"], ["A.1", "C.1", "C.4"])
    assert await portal.value("SELECT count(*) FROM qerds.decision_intent") == 1


@pytest.mark.parametrize(
    ("upload", "status"),
    [
        ({"proof": ("a.bin", b"holiday picture")}, 200),
        ({"proof": ("a.bin", b"")}, 422),
        ({"other": ("a.bin", b"x")}, 422),
        ({"proof": ("a.bin", bytes(33 * 1024 * 1024))}, 413),
    ],
)
async def test_the_verifier_takes_anything(
    portal: World, browser: Browser, upload: dict[str, tuple[str, bytes]], status: int
) -> None:
    """Whatever is uploaded gets a page; too much is refused before it is read."""
    answer = await browser.http.post("/fr/verify", files=upload)
    assert answer.status_code == status
    if status == 200:
        assert "pas une preuve" in answer.text


async def test_looking_writes_the_session_seldom(portal: World, browser: Browser) -> None:
    """Pages looked at one after the other write nothing; after half a minute the idle time begins anew."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    version = "SELECT xmin::text || seen_at::text FROM qerds.portal_session"
    before = await portal.value(version)
    for _ in range(3):
        assert (await browser.get(letter.address())).status_code == 200
    assert await portal.value(version) == before
    await portal.owner.execute("UPDATE qerds.portal_session SET seen_at = clock_timestamp() - interval '14 min'")
    assert (await browser.get(letter.address())).status_code == 200
    assert await portal.value("SELECT seen_at > clock_timestamp() - interval '5 s' FROM qerds.portal_session")
