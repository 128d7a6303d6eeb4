"""One long document for many people, in parts: read once, wrapped for each; and the cleaning of the store."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from pipeline.client.uploads import inline_document
from tests.e2e.access import token
from tests.e2e.installation import Installation, installation, named, states
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(180)
BASE_PORT = 20400
LETTERS = 30
DOCUMENT_BYTES = 20 * 1024 * 1024  # two parts
TEXT = b"Un texte qui vient avec sa lettre."


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def asked(running: Installation) -> Counter[str]:
    """How many items the bridge was asked for, by its own record."""
    items: Counter[str] = Counter()
    for path in running.layout.bridge.glob("audit*.jsonl"):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry.get("phase") == "intent":
                items[entry["op"]] += entry.get("items", 0)
    return items


def test_one_document_for_many_letters_is_read_once(running: Installation) -> None:
    """Uploaded in parts, named by every letter: one opening per part, one content wrap, one wrap for each letter."""

    async def send(path: Path) -> None:
        async with running.client() as client:
            document = await client.upload(path)
            for n in range(LETTERS):
                await client.submit(
                    {
                        "recipient": {
                            "kind": "professional",
                            "email": f"many-{n}@recipient.example",
                            "given_names": "Angela Claire Louise",
                            "birth_name": "Dubois",
                        },
                        "subject": "To all our customers",
                        "documents": [named(document)],
                        "client_ref": f"many-{n}",
                    }
                )

    path = running.layout.state / "long.txt"
    path.write_bytes(os.urandom(DOCUMENT_BYTES // 2).hex().encode())
    anyio.run(send, path)
    running.wait("all to be notified", lambda: states(running) == {"notified": LETTERS}, 120)
    assert running.rows("SELECT count(*), count(DISTINCT upload) FROM qerds.upload_segment") == [["2", "1"]]
    assert running.count("SELECT count(*) FROM qerds.upload_wrap") == 1
    assert running.count("SELECT count(DISTINCT wrapped) FROM qerds.content_wrap") == LETTERS
    used = asked(running)
    assert used["derive_wrap"] >= LETTERS
    assert (used["open_intake"], used["wrap_content"]) == (2, 1)
    running.check_ledger()


def test_letters_that_bring_their_documents(running: Installation) -> None:
    """In the JSON or as parts of a form: read back like any upload, and rejected when the type is another."""

    def letter(name: str, *documents: dict[str, str]) -> dict[str, Any]:
        who = {"kind": "professional", "email": f"{name}@recipient.example"}
        recipient = {**who, "given_names": "Angela Claire Louise", "birth_name": "Dubois"}
        return {"recipient": recipient, "subject": "By itself", "documents": list(documents), "client_ref": name}

    def of_form(kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(TEXT).hexdigest()
        body = letter(f"form-{kind[-3:]}", {"part": "text", "file_name": "text", "sha256": digest})
        return {"metadata": (None, json.dumps(body), "application/json"), "text": ("text.txt", TEXT, kind)}

    async def send() -> None:
        async with running.client() as client:
            await client.submit(letter("inline", inline_document("text.txt", TEXT)))

    anyio.run(send)
    whom = {"Authorization": f"Bearer {token(running)}"}
    for kind in ("text/plain", "application/pdf"):
        answer = httpx.post(f"{running.gateway}/v1/deliveries", files=of_form(kind), headers=whom)
        assert answer.status_code == 202, answer.text
    own = (
        "SELECT client_ref, state FROM qerds.delivery WHERE client_ref IN ('inline', 'form-ain', 'form-pdf') ORDER BY 1"
    )
    wanted = [["form-ain", "notified"], ["form-pdf", "rejected"], ["inline", "notified"]]
    running.wait("the letters to come to rest", lambda: running.rows(own) == wanted, 60)
    running.check_ledger()


def test_archive_cleans_and_takes_nothing_that_is_used(running: Installation) -> None:
    """The first round of a new installation finds nothing to remove, and says so."""
    log = running.layout.logs / "archive.log"
    running.wait("a round of cleaning", lambda: '"what": "cleaned"' in log.read_text())
    [line] = [json.loads(line) for line in log.read_text().splitlines() if '"what": "cleaned"' in line]
    assert (line["uploads"], line["packs"], line["objects"], line["strays"], line["refused"]) == (0, 0, 0, 0, 0)
