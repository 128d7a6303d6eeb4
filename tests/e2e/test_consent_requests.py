"""Consent by mail, with every process real: asked, answered on the page, used for a letter, withdrawn by its link."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from deploy.local.browser import PersonBrowser
from deploy.local.recipient import mails_to, wait_for
from pipeline.client.answers import Refused
from tests.e2e.installation import Installation, installation, named
from tests.servers import short_directory
from tests.words import reserved_words_in

pytestmark = pytest.mark.timeout(180)
BASE_PORT = 19700
ADDRESS = "jeanne.martin@recipient.example"
PERSON = {"email": ADDRESS, "given_names": "Jeanne", "birth_name": "Martin"}


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def link_of(it: Installation) -> str:
    """The link in the newest mail to the person, once there is one."""
    found = wait_for("the mail that asks", lambda: mails_to(it.catcher, ADDRESS))
    assert isinstance(found, list)
    text = str(found[0]["text"])
    assert reserved_words_in(text) == []
    [link] = [word for word in text.split() if word.startswith(f"{it.gateway}/consent/")]
    return link


def answer(link: str, **fields: str) -> str:
    """Follows the link, sends the page's form, and reads what the page says then."""
    with PersonBrowser() as browser:
        page = browser.get(link)
        return browser.submit(page, page.forms[0], **fields).text


def told(it: Installation, ref: str) -> list[str]:
    """The types of the events about one consent, in order."""

    async def read() -> list[str]:
        types = ["consent.given", "consent.refused", "consent.withdrawn"]
        async with it.client() as client:
            page = await client.events(types=types)
            return [event["type"] for event in page["items"] if event["consent_ref"] == ref]

    return anyio.run(read)


def test_a_consumer_is_asked_by_mail(running: Installation, tmp_path: Path) -> None:
    """A no is no consent; a yes carries a letter; after the withdrawal no letter is taken; the sender is told each."""
    document = tmp_path / "letter.txt"
    document.write_text("A letter.")

    async def ask(ref: str) -> str:
        async with running.client() as client:
            return str((await client.request_consent({"ref": ref, **PERSON, "language": "en"}))["state"])

    async def state(ref: str) -> str:
        async with running.client() as client:
            return str((await client.consent_request(ref))["state"])

    async def send(ref: str) -> str:
        async with running.client() as client:
            letter = {"recipient": {"kind": "consumer", **PERSON}, "consent_ref": ref, "subject": "A letter"}
            documents = [named(await client.upload(document))]
            return (await client.submit({**letter, "documents": documents})).id

    assert anyio.run(ask, "c-1") == "asked"
    assert "You have not given your consent" in answer(link_of(running), answer="no")
    assert anyio.run(state, "c-1") == "refused"
    with pytest.raises(Refused):
        anyio.run(send, "c-1")

    seen = len(mails_to(running.catcher, ADDRESS))
    assert anyio.run(ask, "c-2") == "asked"
    running.wait("the second mail", lambda: len(mails_to(running.catcher, ADDRESS)) > seen)
    link = link_of(running)
    assert "You have given your consent" in answer(link, answer="yes")
    letter = anyio.run(send, "c-2")
    running.wait(
        "the letter to be announced",
        lambda: running.rows(f"SELECT state FROM qerds.delivery WHERE id = '{letter}'") == [["notified"]],
    )
    assert "Your consent was withdrawn" in answer(link, answer="withdraw", understood="yes")
    assert anyio.run(state, "c-2") == "withdrawn"
    with pytest.raises(Refused):
        anyio.run(send, "c-2")
    both = ["consent.given", "consent.withdrawn"]
    running.wait("the events", lambda: (told(running, "c-1"), told(running, "c-2")) == (["consent.refused"], both))
    running.check_ledger()
