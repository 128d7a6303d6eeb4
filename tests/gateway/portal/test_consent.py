"""The page that asks for consent: what it shows, what its forms do, and what nobody can do with it."""

import hashlib
import secrets
from collections.abc import Mapping
from uuid import UUID

import anyio
import httpx
import pytest

from pipeline.stores.consents import New, NewRequest
from tests.portal_world import PUBLIC_URL, SENDER_EMAIL, SENDER_NAME, Browser, World, hidden
from tests.words import reserved_words_in
from tests.worlds.page import Page

pytestmark = pytest.mark.anyio

EVENTS = "SELECT array_agg(type ORDER BY id) FROM qerds.event_unsequenced"


async def request(portal: World, language: str = "en") -> tuple[UUID, str]:
    """A request whose mail has left: its id, and the link's token."""
    sender, token = portal.ports.ids.uuid7(), secrets.token_urlsafe(16)
    await portal.owner.execute(
        "INSERT INTO qerds.sender (id, name, email, identity_level, identity_method, identified_at) "
        "VALUES ($1, $2, $3, 'substantial', 'contract', clock_timestamp())",
        *(sender, SENDER_NAME, SENDER_EMAIL),
    )
    new = NewRequest(portal.ports.ids.uuid7(), sender, "c-1", "angela@example.net", "Angela", "Dubois", language)
    assert isinstance(await portal.ports.consents.ask(new), New)
    await portal.owner.execute(
        "INSERT INTO qerds.consent_mail VALUES ($1, $2, $3, sha256('text'), 'mail', clock_timestamp())",
        *(new.id, f"<{token}@example>", hashlib.sha256(token.encode()).digest()),
    )
    return new.id, token


async def send(browser: Browser, page: httpx.Response, fields: Mapping[str, str]) -> httpx.Response:
    """The page's form, and where it leads."""
    answer = await browser.post(str(page.url), hidden(page.text) | dict(fields))
    return await browser.go(answer.headers["location"]) if answer.is_redirect else answer


async def expire(portal: World) -> None:
    await portal.owner.execute(
        "UPDATE qerds.consent_request SET asked_at = asked_at - interval '31 days', "
        "expires_at = expires_at - interval '31 days'"
    )


async def test_a_program_without_cookies_leaves_no_session(portal: World, browser: Browser) -> None:
    """The same as at a letter's link."""
    _, token = await request(portal)
    await browser.follows_without_cookies(f"/consent/{token}")
    assert await portal.value("SELECT count(*) FROM qerds.portal_session") == 0


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_yes_makes_the_consent_of_the_text_that_was_shown(portal: World, browser: Browser, language: str) -> None:
    """Who asks for what stands on the page; the stored text is what it showed, and the consent has its digest."""
    _, token = await request(portal, language)
    page = await browser.go(f"/consent/{token}")
    assert page.status_code == 200
    for said in (SENDER_NAME, SENDER_EMAIL, "Angela Dubois", "angela@example.net"):
        assert said in page.text
    done = await send(browser, page, {"answer": "yes"})
    text, digest = await portal.owner.fetchrow("SELECT text, text_sha256 FROM qerds.consent_answer")
    for paragraph in text.split("\n\n"):
        assert paragraph.replace("'", "&#39;") in page.text
    row = await portal.owner.fetchrow("SELECT ref, email, given_names, method, text_sha256 FROM qerds.consent")
    assert tuple(row) == ("c-1", "angela@example.net", "Angela", "request", digest)
    assert digest == hashlib.sha256(text.encode()).digest()
    assert await portal.value(EVENTS) == ["consent.given"]
    assert {"en": "You have given your consent", "fr": "Vous avez donné votre consentement"}[language] in done.text


async def test_no_is_recorded_and_makes_no_consent(portal: World, browser: Browser) -> None:
    """The answer and its event, and nothing else; a second thought changes nothing."""
    _, token = await request(portal)
    page = await browser.go(f"/consent/{token}")
    done = await send(browser, page, {"answer": "no"})
    assert "You have not given your consent" in done.text
    assert "You have not given your consent" in (await send(browser, page, {"answer": "yes"})).text
    assert await portal.value("SELECT count(*) FROM qerds.consent") == 0
    assert await portal.value(EVENTS) == ["consent.refused"]


async def test_a_consent_is_withdrawn_by_the_same_link(portal: World, browser: Browser) -> None:
    """Also after the request has expired, with the box ticked; once, by the consumer, for ever."""
    _, token = await request(portal)
    await send(browser, await browser.go(f"/consent/{token}"), {"answer": "yes"})
    await expire(portal)
    page = await browser.go(f"/consent/{token}")
    unsure = await send(browser, page, {"answer": "withdraw"})
    assert unsure.status_code == 422
    assert await portal.value("SELECT count(*) FROM qerds.consent_withdrawal") == 0
    for _ in range(2):
        done = await send(browser, page, {"answer": "withdraw", "understood": "yes"})
        assert "Your consent was withdrawn" in done.text
    assert await portal.value("SELECT withdrawn_by FROM qerds.consent_withdrawal") == "consumer"
    assert await portal.value(EVENTS) == ["consent.given", "consent.withdrawn"]
    assert "Your consent was withdrawn" in (await send(browser, page, {"answer": "yes"})).text


async def test_an_expired_request_says_so_and_takes_no_answer(portal: World, browser: Browser) -> None:
    """Neither the page nor a form that was open when it expired."""
    _, token = await request(portal)
    page = await browser.go(f"/consent/{token}")
    await expire(portal)
    assert "This request has expired" in (await send(browser, page, {"answer": "yes"})).text
    assert "This request has expired" in (await browser.go(f"/consent/{token}")).text
    assert await portal.value("SELECT count(*) FROM qerds.consent_answer") == 0


async def test_of_two_answers_at_once_one_counts(portal: World, browser: Browser) -> None:
    """Two browsers, yes and no, again and again: one answer, one event, and a consent exactly when it is yes."""
    _, token = await request(portal)
    async with Browser(portal) as other:
        pages = [await b.go(f"/consent/{token}") for b in (browser, other)]
        async with anyio.create_task_group() as tasks:
            for b, page, said in ((browser, pages[0], "yes"), (other, pages[1], "no")) * 3:
                tasks.start_soon(send, b, page, {"answer": said})
    answer = await portal.value("SELECT answer FROM qerds.consent_answer")
    assert await portal.value("SELECT count(*) FROM qerds.consent") == (answer == "given")
    assert await portal.value(EVENTS) == [f"consent.{answer}"]


async def test_following_the_link_answers_nothing(portal: World, browser: Browser) -> None:
    """A scanner that opens everything and sends every form as it finds it leaves the question open."""
    _, token = await request(portal)
    await browser.http.head(f"/consent/{token}")
    assert await portal.value("SELECT count(*) FROM qerds.portal_session") == 0
    page = await browser.go(f"/consent/{token}")
    assert (await send(browser, page, {})).status_code == 422
    assert await portal.value("SELECT count(*) FROM qerds.consent_answer") == 0


async def test_a_text_that_changed_is_shown_again(portal: World, browser: Browser) -> None:
    """What was not on the page is not agreed to: another text, or the page in the other language."""
    _, token = await request(portal)
    page = await browser.go(f"/consent/{token}")
    await portal.owner.execute("UPDATE qerds.sender SET name = 'Somebody Else'")
    again = await send(browser, page, {"answer": "yes"})
    assert again.status_code == 422
    assert "has changed" in again.text
    assert await portal.value("SELECT count(*) FROM qerds.consent") == 0
    await send(browser, again, {"answer": "yes"})
    assert "Somebody Else" in await portal.value("SELECT text FROM qerds.consent_answer")


async def test_only_the_link_opens_the_page(portal: World, browser: Browser) -> None:
    """Without it a request that exists and one that does not are the same page; a wrong link is one neutral page."""
    known, token = await request(portal)
    for address in (f"/en/consent/{known}", f"/en/consent/{portal.ports.ids.uuid7()}"):
        assert (await browser.get(address)).status_code == 403
    assert browser.seen[0].content == browser.seen[1].content
    answers = [await browser.get(f"/consent/{wrong}") for wrong in ("x", token + "x", "a/b", "%00", "é" * 300)]
    assert {(a.status_code, a.content) for a in answers} == {(404, answers[0].content)}
    assert await portal.value("SELECT count(*) FROM qerds.portal_session") == 0


async def test_forms_of_others_are_refused(portal: World, browser: Browser) -> None:
    """Another site's form, another session's token, or a letter's session answer nothing."""
    known, token = await request(portal)
    page = await browser.go(f"/consent/{token}")
    fields = hidden(page.text) | {"answer": "yes"}
    assert (await browser.post(str(page.url), fields, **{"Sec-Fetch-Site": "cross-site"})).status_code == 403
    assert (await browser.post(str(page.url), fields | {"form_token": "0" * 64})).status_code == 403
    letter = await portal.open_letter()
    async with Browser(portal) as other:
        await other.claim(letter)
        assert (await other.post(f"{PUBLIC_URL}/en/consent/{known}", fields)).status_code == 403
    assert await portal.value("SELECT count(*) FROM qerds.consent_answer") == 0


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_every_page_keeps_the_house_rules(portal: World, browser: Browser, language: str) -> None:
    """Policy on every answer, nothing inline, no reserved word."""
    _, token = await request(portal, language)
    page = await browser.go(f"/consent/{token}")
    await send(browser, page, {})
    await send(browser, page, {"answer": "yes", "text": "0" * 64})
    given = await send(browser, page, {"answer": "yes"})
    await send(browser, given, {"answer": "withdraw"})
    await send(browser, given, {"answer": "withdraw", "understood": "yes"})
    await browser.get("/consent/x")
    assert len(browser.seen) > 8
    for seen in browser.seen:
        assert "default-src 'none'" in seen.headers["content-security-policy"]
        assert seen.headers["cache-control"] == "no-store"
        assert Page(seen.text).inline == []
        assert reserved_words_in(seen.text) == []
