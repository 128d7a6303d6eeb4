"""A sandbox as a sender's program meets it: people who do what their address says, and fifteen days in a second."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from pipeline.client.answers import Delivery
from pipeline.client.api import QerdsClient
from tests.e2e.installation import Installation, installation, named
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(150)
BASE_PORT = 20_100
SECONDS = 60.0
MANY = 5
ADDRESSES = ("accepts", "refuses", "ignores", "bounces", "mismatch")
STATES = {
    "accepts": "accepted",
    "refuses": "refused",
    "ignores": "notified",
    "bounces": "notice_failed",
    "mismatch": "notified",
}
EVENTS = {
    "accepts": ["deposited", "notified", "accepted", "package_ready"],
    "refuses": ["deposited", "notified", "refused", "package_ready"],
    "ignores": ["deposited", "notified"],
    "bounces": ["deposited", "notice_failed", "package_ready"],
    "mismatch": ["deposited", "notified", "identity_mismatch"],
}


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


async def send(client: QerdsClient, folder: Path, address: str, **names: str) -> str:
    """The id of a letter to this local part."""
    path = folder / "letter.txt"
    path.write_text("A letter.")
    person = {"given_names": "Angela Claire Louise", "birth_name": "Dubois", **names}
    letter = {
        "recipient": {"kind": "professional", "email": f"{address}@recipient.example", **person},
        "subject": "A test",
        "documents": [named(await client.upload(path))],
    }
    return (await client.submit(letter)).id


async def wait_for_events(client: QerdsClient, letter: str, count: int) -> list[str]:
    """Those of a letter, in their order, once there are as many."""
    seen: list[str] = []
    cursor = None
    with anyio.move_on_after(SECONDS):
        while len(seen) < count:
            page = await client.events(cursor, delivery_id=letter, wait_seconds=10)
            seen += [str(event["type"]).removeprefix("delivery.") for event in page["items"]]
            cursor = page["next_cursor"]
    return seen


def test_people_do_what_their_address_says(running: Installation, tmp_path: Path) -> None:
    """Each state and each event, nobody at a screen; then sixteen days pass, and who ignores has not claimed."""

    async def story() -> None:
        async with running.client() as client:
            assert (await client.me())["sandbox"] is True
            sent = {address: await send(client, tmp_path, address) for address in ADDRESSES}
            for address, letter in sent.items():
                wanted = STATES[address]
                found = await client.wait_for(letter, lambda d, wanted=wanted: d.state == wanted, SECONDS)  # type: ignore[misc]
                assert isinstance(found, Delivery)
            for address, letter in sent.items():
                assert await wait_for_events(client, letter, len(EVENTS[address])) == EVENTS[address], address
            legal_time = await client.advance_clock("P16D")
            assert legal_time > str((await client.delivery(sent["ignores"])).body["expires_at"])
            for address in ("ignores", "mismatch"):
                await client.wait_for(sent[address], lambda d: d.state == "unclaimed", SECONDS)
            assert (await client.delivery(sent["accepts"])).state == "accepted"
            assert [proof.event for proof in await client.evidence(sent["accepts"])] == ["A.1", "C.1", "C.3", "D.1"]

    anyio.run(story)
    running.check_ledger()


def test_tags_make_many_and_a_letter_for_somebody_else_is_not_taken(running: Installation, tmp_path: Path) -> None:
    """Any tag; the person behind these addresses is one, and does not take what is for another."""

    async def story() -> None:
        async with running.client() as client:
            many = [await send(client, tmp_path, f"accepts+many-{n}") for n in range(MANY)]
            other = await send(client, tmp_path, "accepts+other", given_names="Fatima Zohra", birth_name="Ben Salah")
            for letter in many:
                await client.wait_for(letter, lambda d: d.state == "accepted", SECONDS)
            wanted = ["deposited", "notified", "identity_mismatch"]
            assert await wait_for_events(client, other, len(wanted)) == wanted
            assert (await client.delivery(other)).state == "notified"

    anyio.run(story)
    waiting = running.layout.mail / "waiting"
    running.wait("every mail to be put away", lambda: not list(waiting.iterdir()))
    log = (running.layout.logs / "recipients.log").read_text()
    assert "recipient.example" not in log
    assert log.count('"outcome": "accepts"') >= MANY


def test_who_dies_while_reading_reads_again(running: Installation, tmp_path: Path) -> None:
    """The reader is killed with a letter on its way: the next one takes it."""

    async def story() -> None:
        async with running.client() as client:
            letter = await send(client, tmp_path, "refuses+again")
            running.kill("recipients")
            await client.wait_for(letter, lambda d: d.state == "refused", SECONDS)

    anyio.run(story)
    running.check_ledger()
