"""People who act by themselves: when they read, when they try again, when they give up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from deploy.local.browser import Page, PageUnexpected
from deploy.local.recipient import Recipient
from deploy.local.recipients import TRIES_MAX, GivenUp, Recipients, walk


@dataclass
class World:
    """A catcher with some mails that wait, walks that end as a test says, and a clock."""

    waiting: dict[str, str] = field(default_factory=dict)
    ends: Callable[[str], str] = lambda mail_id: "accepts"
    walked: list[str] = field(default_factory=list)
    told: list[Mapping[str, object]] = field(default_factory=list)
    now: float = 1000.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The catcher's API."""
        mail_id = request.url.path.rpartition("/")[2]
        if request.method == "DELETE":
            self.waiting.pop(mail_id, None)
            return httpx.Response(204)
        if request.url.path == "/api/waiting":
            return httpx.Response(200, json={"items": [{"id": i, "act": a} for i, a in sorted(self.waiting.items())]})
        if mail_id == "gone":
            return httpx.Response(404, json={})
        return httpx.Response(200, json={"id": mail_id, "text": ""})

    def walk(self, act: str, mail: dict[str, Any]) -> str:
        """Notes it, and ends as it shall."""
        self.walked.append(mail["id"])
        return self.ends(mail["id"])

    def people(self) -> Recipients:
        """All of them, over this world."""
        catcher = httpx.Client(base_url="http://mail", transport=httpx.MockTransport(self.answer))
        return Recipients(catcher, self.walk, self.told.append, lambda: self.now)


def test_a_mail_is_read_once_and_put_away() -> None:
    """In order of arrival; nothing in what is told names anybody."""
    world = World({"2": "refuses", "1": "accepts"})
    people = world.people()
    assert people.turn() == 0.0
    assert people.turn() == 0.0
    assert world.walked == ["1", "2"]
    assert world.waiting == {}
    assert world.told[0] == {
        "process": "recipients", "what": "read", "mail": "1", "act": "accepts", "outcome": "accepts",
    }  # fmt: skip


def test_a_letter_that_is_not_open_yet_is_tried_again_and_holds_up_nobody() -> None:
    """The notice is there before its proof is stamped: soon again, then less and less often; others go on."""

    def not_open(mail_id: str) -> str:
        if mail_id == "1":
            raise PageUnexpected("no form yet")
        return "accepts"

    world = World({"1": "accepts", "2": "accepts"}, not_open)
    people = world.people()
    pauses = [people.turn()]
    assert world.waiting == {"1": "accepts"}
    assert people.turn() == pauses[0]  # not due: not tried, and not asked at once again
    assert world.walked == ["1", "2"]
    for _ in range(3):
        world.now += 30.0
        pauses.append(people.turn())
    assert world.walked == ["1", "2", "1", "1", "1"]
    assert pauses == [0.25, 0.5, 1.0, 1.0]
    world.ends = lambda mail_id: "accepts"
    world.now += 30.0
    assert people.turn() == 0.0
    assert world.waiting == {}


@pytest.mark.parametrize(
    ("mail_id", "error"), [("1", PageUnexpected("x")), ("1", httpx.ConnectError("x")), ("gone", GivenUp("unused"))]
)
def test_nobody_tries_for_ever(mail_id: str, error: Exception) -> None:
    """A page that never comes, a portal that is away, a mail that is gone: given up after some minutes."""

    def fails(_: str) -> str:
        raise error

    world = World({mail_id: "accepts"}, fails)
    people = world.people()
    for _ in range(TRIES_MAX):
        assert world.waiting
        people.turn()
        world.now += 60.0
    assert world.waiting == {}
    assert str(world.told[0]["outcome"]).startswith("given up: ")


def test_what_cannot_change_is_given_up_at_once() -> None:
    """A closed letter, or one for somebody else: tried again it would only make more mismatches."""

    def closed(_: str) -> str:
        raise GivenUp("the letter is closed")

    world = World({"1": "accepts"}, closed)
    assert world.people().turn() == 0.0
    assert (world.waiting, len(world.walked)) == ({}, 1)
    assert world.told[0]["outcome"] == "given up: the letter is closed"


def test_a_catcher_that_is_away_is_told_to_the_loop() -> None:
    """Which waits and asks again; nothing that waits is forgotten."""
    world = World({"1": "accepts"})
    catcher = httpx.Client(base_url="http://mail", transport=httpx.MockTransport(lambda r: httpx.Response(503)))
    with pytest.raises(httpx.HTTPError):
        Recipients(catcher, world.walk, world.told.append, lambda: world.now).turn()
    assert world.walked == []


# ------------------------------------------------------------------ the walk itself
LINK = "http://gateway.test/c/token"
LETTER = "http://gateway.test/en/letter/1"


class Scripted(Recipient):
    """Answers what a test says, notes what was asked."""

    def __init__(self, landing: Page, identified: Page, decided: Page) -> None:
        self._landing, self._identified, self._decided = landing, identified, decided
        self.asked: list[str] = []

    def follow(self, link: str) -> Page:
        self.asked.append(link)
        return self._landing

    def identify(self, person: str, attack: str = "none", acr: str = "eidas2") -> Page:
        self.asked.append(person)
        return self._identified

    def decide(self, act: str) -> Page:
        self.asked.append(act)
        return self._decided


def page(url: str = LETTER, status: int = 200) -> Page:
    return Page(url, status, {}, b"", (), (), "")


USUAL = page()
MISMATCH = page(f"{LETTER}/identity?result=mismatch")


def walked(act: str, landing: Page = USUAL, identified: Page = USUAL, decided: Page = USUAL) -> tuple[str, list[str]]:
    """What came of it, and what the person did."""
    person = Scripted(landing, identified, decided)
    try:
        return walk(person, LINK, act), person.asked
    except GivenUp as error:
        return f"given up: {error}", person.asked


def test_people_do_what_their_address_says() -> None:
    """Accept and refuse as the addressee; identify as somebody else, and then nothing."""
    assert walked("accepts") == ("accepts", [LINK, "angela", "accept"])
    assert walked("refuses") == ("refuses", [LINK, "angela", "refuse"])
    assert walked("mismatch", identified=MISMATCH) == ("mismatch", [LINK, "jean"])


def test_a_walk_ends_early() -> None:
    """Before identifying when the letter is closed; before deciding when it is for somebody else."""
    for gone in (page(status=404), page(status=410)):
        assert walked("accepts", landing=gone) == ("given up: the letter is closed", [LINK])
    assert walked("refuses", identified=MISMATCH) == ("given up: the letter is for somebody else", [LINK, "angela"])


@pytest.mark.parametrize(
    "pages",
    [
        {"identified": page(f"{LETTER}/identity?result=unavailable")},
        {"identified": page(status=503)},
        {"decided": page(f"{LETTER}?message=not_recorded")},
        {"decided": page(status=503)},
    ],
)
def test_what_may_pass_is_left_to_be_tried_again(pages: dict[str, Page]) -> None:
    """The provider or the bridge is away."""
    with pytest.raises(PageUnexpected):
        walked("accepts", **pages)
