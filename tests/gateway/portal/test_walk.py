"""The recipient's way, walked page by page over a real database and the bridge's own code."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from starlette.applications import Starlette

from gateway.faces import page_routes
from pipeline.ports.bridge import wire
from tests.portal_world import (
    CANARY,
    CONTENTS,
    SENDER_NAME,
    STRANGER,
    SUBJECT,
    Browser,
    Letter,
    World,
    hidden,
)
from tests.words import reserved_words_in
from tests.worlds.bare_evidence import bare_draft

pytestmark = pytest.mark.anyio


async def test_accept_and_download(portal: World, browser: Browser) -> None:
    """From link to last byte: the sender appears only when the acceptance is stamped; E.1 with the last document."""
    letter = await portal.open_letter()
    landing = await browser.claim(letter)
    assert "A registered letter is waiting" in landing.text
    choose = await browser.sign_in(letter)
    assert "Angela Claire Louise" in choose.text
    decided = await browser.decide(letter, "accept")
    assert decided.status_code == 303
    waiting = await browser.go(letter.address())
    assert "recorded and is being sealed" in waiting.text
    assert waiting.headers["refresh"]
    assert not [page for page in browser.seen if CANARY in page.text.lower()]
    assert await portal.drafted(letter) == ["A.1", "C.1", "C.3", "D.1"]
    assert await portal.waiting("seal") == 2

    await portal.stamp()
    accepted = await browser.go(letter.address())
    assert SENDER_NAME in accepted.text
    assert SUBJECT in accepted.text
    for content in CONTENTS:
        assert hashlib.sha256(content).hexdigest() in accepted.text
    first = await browser.get(f"{letter.address()}/documents/1")
    assert first.content == CONTENTS[0]
    assert first.headers["content-disposition"].startswith("attachment")
    assert first.headers["content-security-policy"].startswith("sandbox")
    assert "E.1" not in await portal.drafted(letter)
    second = await browser.get(f"{letter.address()}/documents/2")
    assert second.content == CONTENTS[1]
    assert (await portal.drafted(letter))[-1] == "E.1"
    assert await portal.stamp() == ["E.1"]
    assert await portal.state(letter) == "received"
    again = await browser.get(f"{letter.address()}/documents/1")
    assert again.content == CONTENTS[0]
    assert (await portal.drafted(letter)).count("E.1") == 1


async def test_acceptance_is_one_act_at_the_time_of_the_intent(portal: World, browser: Browser) -> None:
    """C.3 and D.1 carry the time at which the decision was taken, whatever the bridge took."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    await browser.decide(letter, "accept")
    times = await portal.owner.fetch(
        "SELECT e.event_time = i.decided_at AS same FROM qerds.evidence e "
        "JOIN qerds.decision_intent i USING (delivery) WHERE e.event IN ('C.3', 'D.1')"
    )
    assert [row["same"] for row in times] == [True, True]


@pytest.mark.parametrize("act", ["accept", "refuse"])
async def test_a_decision_that_could_never_be_sealed_is_not_recorded(portal: World, browser: Browser, act: str) -> None:
    """The bridge's clock is ten minutes from the database's: no draft is made that would die unsealed, and the person
    is not told that something was recorded."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    await portal.value("INSERT INTO qerds.legal_clock (ahead) VALUES (interval '10 min')")
    decided = await browser.decide(letter, act)
    assert decided.headers["location"].endswith("?message=not_recorded")
    assert await portal.drafted(letter) == ["A.1", "C.1"]
    assert await portal.waiting("seal") == 0


class SlowBridge:
    """Something happens before its receipt of a decision comes back."""

    def __init__(self, portal: World, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._portal = portal
        self._meanwhile = meanwhile

    async def ask(self, items: Sequence[Any]) -> Any:
        answers = await self._portal.ports.bridge.ask(items)
        if any(isinstance(item, wire.Decide) for item in items):
            await self._meanwhile()
        return answers


async def decided_slowly(portal: World, letter: Letter, act: str, meanwhile: Callable[[], Awaitable[None]]) -> str:
    """Where a browser is sent whose decision took the bridge so long."""
    portal.app = Starlette(routes=page_routes(replace(portal.ports, bridge=SlowBridge(portal, meanwhile))))
    async with Browser(portal) as browser:
        await browser.claim(letter)
        await browser.sign_in(letter)
        return str((await browser.decide(letter, act)).headers["location"])


@pytest.mark.parametrize("act", ["accept", "refuse"])
async def test_a_receipt_that_comes_after_its_intent_is_over_decides_nothing(portal: World, act: str) -> None:
    """The window may have been closed meanwhile: the person is told that nothing was recorded, and may try again."""
    letter = await portal.open_letter()

    async def a_minute_passes() -> None:
        await portal.owner.execute("UPDATE qerds.decision_intent SET made_at = made_at - interval '61 s'")

    assert (await decided_slowly(portal, letter, act, a_minute_passes)).endswith("?message=not_recorded")
    assert await portal.drafted(letter) == ["A.1", "C.1"]
    assert await portal.waiting("seal") == 0


@pytest.mark.parametrize("act", ["accept", "refuse"])
async def test_a_second_decision_waits_while_one_is_made(portal: World, browser: Browser, act: str) -> None:
    """In another window, for as long as the first one's intent lives: there is no second receipt."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    page = await browser.go(f"{letter.address()}/{act}")
    await portal.owner.execute(
        "INSERT INTO qerds.decision_intent (id, delivery, act, decided_at)"
        " VALUES ($1, $2, 'accept', qerds.legal_now())",
        uuid4(),
        letter.delivery,
    )
    decided = await browser.post(f"{letter.address()}/{act}", hidden(page.text) | {"understood": "yes"})
    assert decided.headers["location"] == letter.address()  # which says that a decision is under way
    assert await portal.value("SELECT count(*) FROM qerds.decision_intent") == 1
    assert await portal.drafted(letter) == ["A.1", "C.1"]


@pytest.mark.parametrize("act", ["accept", "refuse"])
async def test_who_finds_the_choice_ended_is_told_so(portal: World, act: str) -> None:
    """Whoever drafted first under the lock has decided, also while the bridge made a receipt for another: the letter's
    page shows what stands."""
    letter = await portal.open_letter()

    async def another_ends_it() -> None:
        key = await portal.value("SELECT key_id FROM qerds.published_key WHERE use = 'seal'")
        ended = replace(bare_draft(letter.delivery, "C.5", 3, at=datetime.now(UTC)), seal_key_id=key)
        names = [field.name for field in fields(ended)]
        places = ", ".join(f"${n}" for n in range(1, len(names) + 1))
        await portal.owner.execute(
            f"INSERT INTO qerds.evidence ({', '.join(names)}) VALUES ({places})",
            *(getattr(ended, name) for name in names),
        )

    assert await decided_slowly(portal, letter, act, another_ends_it) == letter.address()
    assert await portal.drafted(letter) == ["A.1", "C.1", "C.5"]
    assert await portal.waiting("seal") == 0


async def test_refuse(portal: World, browser: Browser) -> None:
    """A refusal is stamped, the sender stays hidden afterwards, and nothing can be downloaded."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    await browser.decide(letter, "refuse")
    assert await portal.stamp() == ["C.4"]
    assert await portal.state(letter) == "refused"
    page = await browser.go(letter.address())
    assert "You have refused the letter" in page.text
    evidence = await portal.value("SELECT evidence FROM qerds.evidence WHERE event = 'C.4'")
    for address in ("/documents/1", f"/evidence/{evidence}.xml", "/accept"):
        answer = await browser.get(letter.address() + address)
        assert answer.status_code == 303
    assert not [page for page in browser.seen if CANARY in page.text.lower()]


async def test_evidence_files_verify(portal: World, browser: Browser) -> None:
    """What the recipient downloads is what the verifier accepts, on the public page too."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    await browser.decide(letter, "accept")
    await portal.stamp()
    evidence = await portal.value("SELECT evidence FROM qerds.evidence WHERE event = 'C.3'")
    file = await browser.get(f"{letter.address()}/evidence/{evidence}.xml")
    assert file.headers["content-type"] == "application/xml"
    for language, verdict in (("en", "Valid:"), ("fr", "Valide")):
        answer = await browser.http.post(
            f"/{language}/verify", files={"proof": ("C.3.xml", file.content), "content": ("a.pdf", CONTENTS[0])}
        )
        assert answer.status_code == 200
        assert verdict in answer.text
        assert reserved_words_in(answer.text) == []
    flipped = file.content.replace(b"Angela", b"Angola")
    answer = await browser.http.post("/en/verify", files={"proof": ("C.3.xml", flipped)})
    assert "Invalid:" in answer.text


async def test_a_stranger_learns_nothing(portal: World, browser: Browser) -> None:
    """Another person sees that it is another's letter, not whose; the attempt is a fact; a sixth is none, a third
    person's is one, and the addressee comes in all the same."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    for _ in range(5):
        page = await browser.sign_in(letter, STRANGER)
        assert "This letter is for another person" in page.text
    limited = await browser.sign_in(letter, STRANGER)
    assert "Too many attempts" in limited.text
    assert await portal.value("SELECT count(*) FROM qerds.identification WHERE outcome = 'no'") == 5
    assert not [page for page in browser.seen if "Angela" in page.text or CANARY in page.text.lower()]
    assert await portal.drafted(letter) == ["A.1", "C.1"]
    told = await portal.owner.fetch(
        "SELECT identifications, persons FROM qerds.event_unsequenced WHERE persons > 0 ORDER BY id"
    )
    assert [tuple(row) for row in told] == [(n, 1) for n in range(1, 6)]
    third = await browser.sign_in(letter, {**STRANGER, "given_name": "Bo"})
    assert "This letter is for another person" in third.text
    assert "Angela" in (await browser.sign_in(letter)).text
    assert await portal.value("SELECT match_kind FROM qerds.identification WHERE outcome = 'match'") == (
        "birth_name_and_birth_date"
    )


@pytest.mark.parametrize(
    "attack",
    [
        "wrong_nonce",
        "alg_none",
        "foreign_key",
        "expired_token",
        "wrong_acr",
        "wrong_audience",
        "plain_token",
        "replayed_code",
        "no_userinfo",
        "other_subject",
        "access_denied",
    ],
)
async def test_attacks_leave_the_letter_as_it_was(portal: World, browser: Browser, attack: str) -> None:
    """Whatever a hostile or broken provider answers, nobody is let in and nothing is recorded."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    page = await browser.sign_in(letter, attack=attack)
    assert page.status_code == 200
    assert "Nothing was recorded and the letter is unchanged." in page.text
    assert await portal.value("SELECT count(*) FROM qerds.identification") == 0
    assert "Continue and identify yourself" in (await browser.go(f"{letter.address()}/accept")).text
    assert await portal.drafted(letter) == ["A.1", "C.1"]


async def test_callback_counts_once_and_in_its_session(portal: World, browser: Browser) -> None:
    """A callback address that leaks is worth nothing: not in another browser, not with another state, not twice."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    page = await browser.go(f"{letter.address()}/identity")
    leaving = await browser.post(f"{letter.address()}/identity", hidden(page.text))
    back = await browser.pick(leaving.headers["location"], {"person": "angela"})
    async with Browser(portal) as thief:
        await thief.claim(letter)
        assert (await thief.get(back)).status_code == 400
    assert (await browser.get(back.replace("state=", "state=0"))).status_code == 400
    assert (await browser.get(back.replace("iss=http%3A", "iss=https%3A"))).status_code == 400
    before = browser.http.cookies["__Host-session"]
    assert (await browser.get(back)).headers["location"] == letter.address()
    assert browser.http.cookies["__Host-session"] != before
    assert (await browser.get(back)).status_code == 400


async def test_the_old_session_is_gone_after_identification(portal: World, browser: Browser) -> None:
    """Who knew the session before the person identified has nothing afterwards."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    old = browser.http.cookies["__Host-session"]
    await browser.sign_in(letter)
    async with Browser(portal) as thief:
        answer = await thief.http.get(letter.address(), headers={"Cookie": f"__Host-session={old}"})
    assert answer.status_code == 403


async def test_double_submit_shows_the_first_result(portal: World, browser: Browser) -> None:
    """The same form twice, or the other form from a second tab, changes nothing any more."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    accept = await browser.go(f"{letter.address()}/accept")
    refuse = await browser.go(f"{letter.address()}/refuse")
    for act, page in (("accept", accept), ("accept", accept), ("refuse", refuse)):
        answer = await browser.post(f"{letter.address()}/{act}", hidden(page.text) | {"understood": "yes"})
        assert answer.headers["location"] == letter.address()
    assert await portal.drafted(letter) == ["A.1", "C.1", "C.3", "D.1"]
    await portal.stamp()
    answer = await browser.post(f"{letter.address()}/refuse", hidden(refuse.text) | {"understood": "yes"})
    assert "You have accepted the letter" in (await browser.go(answer.headers["location"])).text


async def test_bridge_away_decides_nothing(portal: World, browser: Browser) -> None:
    """When the bridge is away, or its answer lost, nothing is decided; the same form does not come through later."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    page = await browser.go(f"{letter.address()}/accept")
    portal.fake.lose_answers = 10
    answer = await browser.post(f"{letter.address()}/accept", hidden(page.text) | {"understood": "yes"})
    portal.fake.lose_answers = 0
    assert answer.headers["location"] == f"{letter.address()}?message=not_recorded"
    assert await portal.drafted(letter) == ["A.1", "C.1"]
    assert "is being recorded" in (await browser.go(letter.address())).text
    await portal.owner.execute("UPDATE qerds.decision_intent SET made_at = made_at - interval '61 s'")
    again = await browser.post(f"{letter.address()}/accept", hidden(page.text) | {"understood": "yes"})
    assert again.headers["location"].endswith("?message=not_recorded")
    assert "could not be recorded" in (await browser.go(again.headers["location"])).text
    assert (await browser.decide(letter, "accept")).headers["location"] == letter.address()
    assert await portal.drafted(letter) == ["A.1", "C.1", "C.3", "D.1"]


async def test_no_decision_after_the_period(portal: World, browser: Browser) -> None:
    """A second after the instant of expiry the form is refused and the page says that the period is over."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    page = await browser.go(f"{letter.address()}/accept")
    await portal.owner.execute("UPDATE qerds.acceptance_window SET expires_at = qerds.legal_now() - interval '1 s'")
    answer = await browser.post(f"{letter.address()}/accept", hidden(page.text) | {"understood": "yes"})
    assert (await browser.go(answer.headers["location"])).status_code == 410
    assert await portal.drafted(letter) == ["A.1", "C.1"]
    assert await portal.value("SELECT count(*) FROM qerds.decision_intent") == 0


async def test_no_decision_before_the_notice_is_proved(portal: World, browser: Browser) -> None:
    """Until C.1 is stamped the letter can be neither identified for nor decided."""
    letter = await portal.letter()
    assert "being prepared" in (await browser.claim(letter)).text
    assert (await browser.get(f"{letter.address()}/identity")).status_code == 303


async def test_the_box_must_be_ticked(portal: World, browser: Browser) -> None:
    """WCAG 2.2 criterion 3.3.4: a legal commitment is confirmed; without the tick nothing is decided."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    page = await browser.go(f"{letter.address()}/refuse")
    answer = await browser.post(f"{letter.address()}/refuse", hidden(page.text))
    assert answer.status_code == 422
    assert "Please tick the box" in answer.text
    assert await portal.drafted(letter) == ["A.1", "C.1"]


async def test_two_letters_in_one_browser(portal: World, browser: Browser) -> None:
    """Each letter asks for its own identification; deciding one leaves the other alone."""
    one, two = await portal.open_letter(), await portal.open_letter()
    await browser.claim(one)
    await browser.claim(two)
    await browser.sign_in(one)
    assert "waiting for you" in (await browser.go(two.address())).text
    await browser.sign_in(two)
    await browser.decide(one, "accept")
    await browser.decide(two, "refuse")
    assert await portal.drafted(one) == ["A.1", "C.1", "C.3", "D.1"]
    assert await portal.drafted(two) == ["A.1", "C.1", "C.4"]


async def test_head_hands_nothing_over(portal: World, browser: Browser) -> None:
    """HEAD tells the size and releases nothing."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    await browser.decide(letter, "accept")
    await portal.stamp()
    answer = await browser.http.head(f"{letter.address()}/documents/2")
    assert answer.headers["content-length"] == str(len(CONTENTS[1]))
    assert await portal.value("SELECT count(*) FROM qerds.handover") == 0


@pytest.mark.parametrize(
    "change", ["seen_at = seen_at - interval '16 min'", "created_at = created_at - interval '61 min'"]
)
async def test_a_run_out_session_says_so(portal: World, browser: Browser, change: str) -> None:
    """After 15 minutes idle, or an hour, the pages of a letter are closed again."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    await portal.owner.execute(f"UPDATE qerds.portal_session SET {change}")
    page = await browser.go(letter.address())
    assert page.status_code == 403
    assert "Your session has ended" in page.text
    assert "waiting for you" in (await browser.claim(letter)).text


@pytest.mark.parametrize(("ago", "is_recorded"), [("0 s", False), ("61 min", True)])
async def test_who_is_not_the_addressee_five_times_an_hour_may_wait(
    portal: World, browser: Browser, ago: str, is_recorded: bool
) -> None:
    """Sign-ins that were begun beside each other count like those one after the other: the sixth is not recorded, and
    an hour later it is."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    page = await browser.go(f"{letter.address()}/identity")
    leaving = await browser.post(f"{letter.address()}/identity", hidden(page.text))
    back = await browser.pick(leaving.headers["location"], STRANGER)
    await browser.sign_in(letter, STRANGER)
    await portal.owner.execute(
        "INSERT INTO qerds.identification"
        " (id, delivery, provider, outcome, level, person_sha256, proof, authenticated_at, at)"
        " SELECT gen_random_uuid(), delivery, provider, CASE WHEN n % 2 = 0 THEN 'near' ELSE 'no' END, level,"
        " person_sha256, proof, authenticated_at, at FROM qerds.identification, generate_series(2, 5) n"
    )
    await portal.owner.execute("UPDATE qerds.identification SET at = at - $1::text::interval", ago)
    answer = await browser.get(back)
    assert answer.headers["location"].endswith("result=mismatch" if is_recorded else "result=limit")
    assert await portal.value("SELECT count(*) FROM qerds.identification") == (6 if is_recorded else 5)


async def test_a_late_callback_is_lost(portal: World, browser: Browser) -> None:
    """A sign-in that took more than ten minutes does not count."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    page = await browser.go(f"{letter.address()}/identity")
    leaving = await browser.post(f"{letter.address()}/identity", hidden(page.text))
    back = await browser.pick(leaving.headers["location"], {"person": "angela"})
    await portal.owner.execute(
        "UPDATE qerds.portal_session SET transactions = (SELECT jsonb_object_agg(key, jsonb_set(value, '{begun}', "
        "to_jsonb((value ->> 'begun')::float8 - 601))) FROM jsonb_each(transactions))"
    )
    assert (await browser.get(back)).status_code == 400
