"""qerds demo: one registered letter, lived whole, over HTTP and SMTP only.

Owns     the story and what is checked at each step; never touches the database
Rules    a step that does not hold ends the story with exit status 1 and says what was seen
Exits    0 every step held, 1 one did not, 3 nothing runs on this state directory, 4 something did not answer
"""

import argparse
import hashlib
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx

from deploy.local import record
from deploy.local.arguments import add_state, layout_of, state_option
from deploy.local.browser import Page, PageUnexpected, PersonBrowser
from deploy.local.layout import HOST, Layout, TcpPorts
from deploy.local.recipient import NothingCame, Recipient, claim_link, mails_to, wait_for
from deploy.local.sample_letter import sample_pdf
from pipeline.client.answers import Refused, Unreachable, Upload
from pipeline.client.answers import TimedOut as NotInTime
from pipeline.client.api import QerdsClient
from pipeline.client.credentials import CredentialsMissing, find_credentials

STATE_SECONDS = 60.0
VERIFY_SECONDS = 60.0
SLOW_SECONDS = 1.5  # between steps, to look at the pages meanwhile
GIVEN_NAMES, BIRTH_NAME, BIRTH_DATE, PERSON = "Angela Claire Louise", "Dubois", "1962-08-24", "angela"
VERIFY = [sys.executable, "-m", "pipeline.evidence.verification"]


class StoryFailed(Exception):
    """A step that did not hold."""


@dataclass
class Story:
    """What the story has got so far."""

    layout: Layout
    base: int
    folder: Path
    slow: bool
    browser: PersonBrowser
    began: float = field(default_factory=time.monotonic)
    steps: int = 0

    @property
    def gateway(self) -> str:
        """The gateway's address."""
        return f"http://{HOST}:{self.base}"

    def step(self, text: str, holds: object, seen: object = "") -> None:
        """Print one step; raises StoryFailed when it does not hold."""
        self.steps += 1
        mark = "ok" if holds else "FAILED"
        print(f"{time.monotonic() - self.began:6.1f} s  {self.steps:2}  {mark:<6}  {text}", flush=True)
        if not holds:
            raise StoryFailed(f"{text}: saw {seen!r}"[:600])
        if self.slow:
            time.sleep(SLOW_SECONDS)

    def keep(self, name: str, content: bytes) -> Path:
        """Leave something in the folder."""
        path = self.folder / name
        path.write_bytes(content)
        return path


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="qerds demo", description="One registered letter, from sending to verification."
    )
    add_state(parser)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave mail, pages, content and package there")
    parser.add_argument("--slow", action="store_true", help="pause between steps")
    options = parser.parse_args(arguments)
    layout = layout_of(options)
    running = record.read_living(layout) if layout.state.exists() else None
    if running is None:
        print(f"nothing runs on {layout.state}; start it with ./qerds up{state_option(layout)}", file=sys.stderr)
        return 3
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qerds-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        story = Story(layout, running.base_port, folder, options.slow, stack.enter_context(PersonBrowser()))
        return _told(lambda: anyio.run(tell, story), story, options.keep)


def _told(tell_story: Callable[[], None], story: Story, kept: Path | None) -> int:
    try:
        tell_story()
    except (StoryFailed, PageUnexpected, NothingCame, NotInTime, Refused, CredentialsMissing) as error:
        print(f"the story ended here: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except (Unreachable, httpx.TransportError) as error:
        print(f"no answer: {type(error).__name__}: {error}", file=sys.stderr)
        return 4
    finally:
        _keep_pages(story)
    where = f"; mail, pages, content and package are in {kept}" if kept else ""
    print(f"all {story.steps} steps held{where}")
    return 0


async def tell(story: Story) -> None:
    """The whole story."""
    content = sample_pdf("A registered letter", [f"Reference {secrets.token_hex(8)}."])
    document = story.keep("letter.pdf", content)
    address = f"angela.{secrets.token_hex(4)}@recipient.example"
    credentials = find_credentials(story.layout.state)
    async with QerdsClient(credentials.base_url, credentials.client_id, credentials.client_secret) as sender:
        number = await _send(story, sender, document, _hex(content), address)
        link = _read_mail(story, address)
        page = _recipient_accepts(story, link)
        _download(story, page, document)
        await _received(story, sender, number)
        package = story.keep("proofs.asice", (await sender.package(number)).content)
    _verify(story, package, document)


async def _send(story: Story, sender: QerdsClient, document: Path, sha256: str, address: str) -> str:
    consent = f"demo-{secrets.token_hex(6)}"
    person = {"email": address, "given_names": GIVEN_NAMES, "birth_name": BIRTH_NAME}
    text = f"{GIVEN_NAMES} {BIRTH_NAME} consents to registered deliveries at {address}"
    details = {"obtained_at": "2026-01-01T00:00:00Z", "method": "demonstration", "text_sha256": _hex(text.encode())}
    await sender.put_consent(consent, {**person, **details})
    story.step("the sender records the recipient's consent", True)
    uploaded = await sender.upload(document)
    story.step("the sender uploads a letter, encrypted on the way in", uploaded.sha256 == sha256)
    body = {
        "recipient": {"kind": "consumer", **person, "birth_date": BIRTH_DATE, "language": "en"},
        "consent_ref": consent,
        "subject": "A letter for you",
        "documents": [_named(uploaded)],
    }
    answer = await sender.submit(body)
    story.step(f"the service takes it under number {answer.number}", answer.state == "submitted", answer)
    delivery = await sender.wait_for(answer.number, lambda d: d.state == "notified", STATE_SECONDS)
    story.step("proofs of deposit and notice are sealed and time-stamped", delivery.state == "notified", delivery)
    return answer.number


def _named(upload: Upload) -> dict[str, str]:
    """As a delivery names a document."""
    return {"upload_id": upload.id, "file_name": upload.file_name, "sha256": upload.sha256}


def _read_mail(story: Story, address: str) -> str:
    catcher = story.layout.mail_url(TcpPorts(story.base))
    [mail, *more] = list(wait_for("the notice", lambda: mails_to(catcher, address)))  # type: ignore[call-overload]
    story.keep("notice.txt", str(mail["text"]).encode())
    story.step(f"one mail arrives: {mail['subject']}", not more, more)
    return claim_link(mail, story.gateway)


def _recipient_accepts(story: Story, link: str) -> Page:
    recipient = Recipient(story.browser)
    page = recipient.follow(link)
    story.step("the link opens the announcement", page.status == httpx.codes.OK, page.text)
    page = recipient.identify(PERSON)
    story.step("the recipient identifies herself", page.status == httpx.codes.OK, page.text)
    page = recipient.decide("accept")
    story.step("the recipient accepts, and confirms it", page.status == httpx.codes.OK, page.text)
    page = recipient.accepted()
    story.step("the sender is named only now", "Demo" in page.text or "Sample" in page.text, page.text)
    return page


def _download(story: Story, page: Page, document: Path) -> None:
    contents = Recipient(story.browser).download(page)
    story.step("one document is offered", len(contents) == 1, len(contents))
    story.keep("downloaded.pdf", contents[0])
    story.step("it is, byte for byte, what was sent", contents[0] == document.read_bytes(), len(contents[0]))


async def _received(story: Story, sender: QerdsClient, number: str) -> None:
    delivery = await sender.wait_for(number, lambda d: d.state == "received", STATE_SECONDS)
    story.step("the proof of receipt is sealed and time-stamped", delivery.state == "received", delivery)
    events = [proof.event for proof in await sender.evidence(number)]
    story.step(f"the proofs are {', '.join(events)}", events == ["A.1", "C.1", "C.3", "D.1", "E.1"], events)


def _verify(story: Story, package: Path, document: Path) -> None:
    fetched = httpx.get(f"{story.gateway}/v1/trust/ca.pem", timeout=STATE_SECONDS)
    story.step("the gateway serves its trust anchor", fetched.status_code == httpx.codes.OK, fetched.status_code)
    anchor = story.keep("ca.pem", fetched.content)
    outcome = _run([*VERIFY, str(package), "--trust", str(anchor), "--content", str(document)])
    story.keep("verification.txt", outcome.stdout)
    story.step("the package verifies offline, with the letter", outcome.returncode == 0, outcome.stdout.decode())
    outcome = _run([*VERIFY, str(package), "--content", str(document)])
    story.step(
        "without a trust anchor the verifier does not say valid", outcome.returncode == 3, outcome.stdout.decode()
    )
    altered = bytearray(package.read_bytes())
    altered[len(altered) // 2] ^= 1
    outcome = _run([*VERIFY, str(story.keep("altered.asice", bytes(altered))), "--trust", str(anchor)])
    story.step("with one bit changed it does not verify", outcome.returncode in (1, 2), outcome.stdout.decode())


def _run(command: list[str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command, capture_output=True, timeout=VERIFY_SECONDS, check=False)


def _keep_pages(story: Story) -> None:
    for n, page in enumerate(story.browser.seen, start=1):
        if page.headers.get("content-type", "").startswith("text/html"):
            story.keep(f"page-{n:02}.html", page.body)


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
