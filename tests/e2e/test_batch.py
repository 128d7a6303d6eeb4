"""A batch through real processes: kills on the way in and while it is drawn, and every letter once in the end."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from pipeline.client.credentials import find_credentials
from tests.e2e.installation import Installation, installation, states
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(240)
BASE_PORT = 19600
SHARED, INLINE, BAD = 600, 40, 10
LETTER = b"Dear Sir or Madam, this is for all of you."


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def digest(content: bytes) -> str:
    return f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"


class Sender:
    """The sample sender, who tries again for as long as nobody answers."""

    def __init__(self, it: Installation) -> None:
        self._it = it
        self._http = httpx.Client(base_url=it.gateway, timeout=60)
        known = find_credentials(it.layout.state)
        form = {
            "grant_type": "client_credentials",
            "client_id": known.client_id,
            "client_secret": known.client_secret,
        }
        token = self._http.post("/oauth2/token", data=form).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The first answer that is one."""

        def attempt() -> httpx.Response | None:
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError:
                return None
            return None if answer.status_code in (429, 503) else answer

        answer = self._it_waits(f"an answer to {method} {path}", attempt)
        assert answer.is_success, answer.text
        return answer

    def _it_waits(self, what: str, attempt: Callable[[], httpx.Response | None]) -> httpx.Response:
        found: list[httpx.Response] = []

        def look() -> bool:
            answer = attempt()
            if answer is not None:
                found.append(answer)
            return answer is not None

        self._it.wait(what, look)
        return found[0]

    def put(self, batch: str, part: int, body: bytes) -> httpx.Response:
        headers = {"Content-Type": "application/x-ndjson", "Content-Digest": digest(body)}
        return self.ask("PUT", f"/v1/batches/{batch}/items?part={part}", content=body, headers=headers)


def bodies() -> tuple[bytes, bytes]:
    """Letters with the shared content and bad lines among them; and letters with a content of their own."""
    shared = [{"client_ref": f"shared-{n}", "recipient": {"email": f"s{n}@recipient.example"}} for n in range(SHARED)]
    bad = [{"client_ref": f"bad-{n}", "recipient": {"email": "nobody"}} for n in range(BAD)]
    own: list[dict[str, Any]] = []
    for n in range(INLINE):
        content = f"Letter {n}, of its own.".encode()
        document = {"inline_base64": b64encode(content).decode(), "file_name": "own.txt"}
        document["sha256"] = hashlib.sha256(content).hexdigest()
        own.append(
            {"client_ref": f"own-{n}", "recipient": {"email": f"o{n}@recipient.example"}, "documents": [document]}
        )
    return ndjson([*shared[:300], *bad, *shared[300:]]), ndjson(own)


def ndjson(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def test_a_batch_is_whole_whatever_dies(running: Installation) -> None:
    """Gateway, ingest, encrypt are killed on the way: each good line is one notified letter, each bad one is told."""
    with Sender(running) as sender:
        walk(running, sender)


def walk(running: Installation, sender: Sender) -> None:
    headers = {
        "Content-Type": "text/plain",
        "Content-Digest": digest(LETTER),
        "Content-Disposition": "a; filename=a.txt",
    }
    upload = sender.ask("POST", "/v1/uploads", content=LETTER, headers=headers).json()
    names = {"kind": "professional", "given_names": "Angela Claire Louise", "birth_name": "Dubois"}
    document = {"upload_id": upload["id"], "file_name": "a.txt", "sha256": upload["sha256"]}
    defaults = {"recipient": names, "subject": "To many", "documents": [document]}
    opened = sender.ask("POST", "/v1/batches", json={"name": "many", "format": "ndjson", "defaults": defaults})
    batch, parts = opened.json()["id"], bodies()
    running.kill("gateway")
    lines = [sender.put(batch, part, body).json()["lines"] for part, body in enumerate(parts, start=1)]
    closing = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in parts)).hexdigest()
    sender.ask(
        "POST", f"/v1/batches/{batch}/submit", json={"parts": 2, "lines": sum(lines), "sha256_of_parts": closing}
    )
    for victim in ("ingest", "encrypt", "gateway", "ingest"):
        running.kill(victim)
    running.wait("the end of the batch", lambda: shown(sender, batch)["state"] == "completed_with_errors", 120)
    counts = shown(sender, batch)["counts"]
    good = SHARED + INLINE
    assert counts == {"received": good + BAD, "accepted": good, "rejected": BAD, "unprocessed": 0}
    told = sender.ask("GET", f"/v1/batches/{batch}/results").text.splitlines()
    rows = [json.loads(row) for row in told]
    assert [row["line"] for row in rows] == list(range(1, good + BAD + 1))
    assert {row["client_ref"] for row in rows if row["status"] == "rejected"} == {f"bad-{n}" for n in range(BAD)}
    assert len({row["delivery_id"] for row in rows if row["status"] == "accepted"}) == good
    running.wait("every notice", lambda: states(running) == {"notified": good}, 120)
    running.check_ledger()


def shown(sender: Sender, batch: str) -> dict[str, Any]:
    found: dict[str, Any] = sender.ask("GET", f"/v1/batches/{batch}").json()
    return found
