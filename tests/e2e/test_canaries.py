"""Canaries: strings that must be found nowhere they do not belong, looked for in every byte."""

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from deploy.local.browser import PersonBrowser
from deploy.local.recipient import Recipient, claim_link, mails_to, wait_for
from pipeline.client.api import QerdsClient
from tests.e2e.installation import Installation, installation, named
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(120)
BASE_PORT = 14400
NAMES = {"given_names": "Angela Claire Louise", "birth_name": "Dubois"}


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def forms(canary: str) -> list[bytes]:
    """The canary as it may stand in a file: raw, UTF-16, hexadecimal, base64 at each of its three alignments."""
    raw = canary.encode()
    found = [
        raw,
        canary.encode("utf-16-le"),
        canary.encode("utf-16-be"),
        raw.hex().encode(),
        raw.hex().upper().encode(),
    ]
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + raw)
        found.append(whole[4 if shift else 0 : -4])  # without the characters that the neighbours share
    return found


def files_with(folder: Path, needles: list[bytes]) -> list[str]:
    """The files below `folder` that hold one of the needles."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and any(needle in path.read_bytes() for needle in needles)
    ]


def sender_named(it: Installation, name: str) -> tuple[str, str, str]:
    told = it.operate("sender", "add", "--name", name, "--email", "sender@example.org", "--json")
    assert told.returncode == 0, told.stderr
    made = json.loads(told.stdout)
    return it.gateway, made["client_id"], made["client_secret"]


async def send(who: tuple[str, str, str], path: Path, address: str, subject: str) -> str:
    async with QerdsClient(*who) as client:
        document = await client.upload(path)
        answer = await client.submit(
            {
                "recipient": {"kind": "professional", "email": address, "language": "en", **NAMES},
                "subject": subject,
                "documents": [named(document)],
            }
        )
        await client.wait_for(answer.id, lambda d: d.state == "notified", 60)
        return answer.number


def told_to(browser: PersonBrowser) -> bytes:
    """Every byte that reached the recipient's browser."""
    seen = [page.url.encode() + json.dumps(dict(page.headers)).encode() + page.body for page in browser.seen]
    return b"\n".join(seen)


@pytest.mark.parametrize("act", ["accept", "refuse"])
def test_content_and_sender_are_nowhere_they_do_not_belong(running: Installation, tmp_path: Path, act: str) -> None:
    """Content in no file of the installation, ever; sender, subject, file name in no byte to the recipient too early.

    Too early: before acceptance; and after a refusal it stays too early.
    """
    content, name, subject, file_name = (f"canary-{secrets.token_hex(12)}" for _ in range(4))
    letter = tmp_path / f"{file_name}.txt"
    letter.write_text(f"Dear recipient, {content} is in this letter.\n" * 50)
    address = f"{secrets.token_hex(4)}@recipient.example"
    anyio.run(send, sender_named(running, name), letter, address, subject)

    [mail] = list(wait_for("the notice", lambda: mails_to(running.catcher, address)))  # type: ignore[call-overload]
    with PersonBrowser() as browser:
        recipient = Recipient(browser)
        recipient.follow(claim_link(mail, running.gateway))
        recipient.identify("angela")
        browser.get(f"{recipient.letter}/{act}")
        before = told_to(browser) + json.dumps(mail).encode()
        page = recipient.decide(act)
        hidden = forms(name) + forms(subject) + forms(file_name)
        assert not [needle for needle in hidden if needle in before]
        if act == "accept":
            page = recipient.accepted()
            assert name in page.text and subject in page.text
            assert recipient.download(page) == [letter.read_bytes()]
        else:
            running.wait("the refusal", lambda: "refused" in browser.get(recipient.letter).text.lower())
            assert not [needle for needle in hidden if needle in told_to(browser)]

    assert files_with(running.layout.state, forms(content)) == []
    assert files_with(Path(running.running.run_dir), forms(content)) == []
    running.check_ledger()
