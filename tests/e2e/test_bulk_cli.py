"""The sender's bulk commands against a whole installation: push, killed and resumed, results, proof, export, events."""

import base64
import csv
import hashlib
import hmac
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.local.layout import CHECKOUT
from tests.e2e.installation import Installation, installation
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(180)
BASE_PORT = 14900
LETTERS = 60
WRONG = 3  # lines without an address
KILLED_LINES = 3000
STEP_SECONDS = 60
RESULTS = ("batch", "results")


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def started(it: Installation, *arguments: str) -> "subprocess.Popen[str]":
    verb, *rest = arguments
    command = [sys.executable, "-m", "pipeline.client", verb, "--state", str(it.layout.state), *rest]
    return subprocess.Popen(
        command, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )


def verb(it: Installation, *arguments: str, status: int = 0) -> str:
    """What the verb answers; fails the test when its exit status is another."""
    process = started(it, *arguments)
    out, err = process.communicate(timeout=STEP_SECONDS)
    assert process.returncode == status, f"{arguments}: {process.returncode}\n{out}\n{err}"
    return out


def spreadsheet(folder: Path, count: int, wrong: int = 0) -> Path:
    """A table as an office has it: its own column names, semicolons, two attachments."""
    (folder / "attach").mkdir()
    (folder / "attach" / "bail.txt").write_text("Résiliation du bail.\n")
    (folder / "attach" / "annexe.txt").write_text("Annexe.\n")
    path = folder / "letters.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["Dossier", "E-mail", "Prénom", "Nom", "Pièce", "Annexe", "Interne"])
        for n in range(1, count + 1):
            address = "" if n <= wrong else f"bulk-{n}@recipient.example"
            annex = "annexe.txt" if n % 2 else ""
            ref = f"{folder.name[-20:]}/{n}"
            table.writerow([ref, address, "Angela Claire Louise", "Dubois", "bail.txt", annex, "x"])
    (folder / "map.toml").write_text(
        """
[columns]
"Dossier" = "client_ref"
"E-mail" = "recipient.email"
"Prénom" = "recipient.given_names"
"Nom" = "recipient.birth_name"
"Pièce" = "documents.0.file"
"Annexe" = "documents.1.file"
[defaults]
subject = "Résiliation"
recipient = {kind = "professional", language = "fr"}
"""
    )
    return path


def table_of(folder: Path) -> list[str]:
    """The file and what belongs to it."""
    attach, table = folder / "attach", folder / "map.toml"
    return [str(folder / "letters.csv"), "--attach", str(attach), "--map", str(table)]


class Hook(BaseHTTPRequestHandler):
    """A sender's program that takes webhooks."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((self.headers, body))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


def test_a_table_goes_out_and_its_proofs_come_home(running: Installation, tmp_path: Path) -> None:
    """Three commands: push, results, proof; then an export; a verifier without a network accepts what came."""
    spreadsheet(tmp_path, LETTERS, WRONG)
    told = verb(running, "batch", "push", *table_of(tmp_path), "--validate-only", status=1)
    assert told.count("/recipient/email") == WRONG
    assert running.count("SELECT count(*) FROM qerds.delivery") == 0

    batch = json.loads(verb(running, "batch", "push", *table_of(tmp_path), "--json"))["id"]
    assert running.count("SELECT count(*) FROM qerds.upload") == 4  # two files; validating was a batch of its own

    def is_completed() -> bool:
        return str(json.loads(verb(running, "batch", "status", batch, "--json"))["state"]).startswith("completed")

    running.wait("the batch", is_completed, STEP_SECONDS)
    assert f"{LETTERS - WRONG} accepted, {WRONG} rejected" in verb(running, "batch", "status", batch)
    rejected = [json.loads(line) for line in verb(running, *RESULTS, batch, "--status", "rejected").splitlines()]
    assert [row["line"] for row in rejected] == list(range(1, WRONG + 1))
    assert rejected[0]["problem"]["errors"][0]["pointer"] == "/recipient/email"
    rows = list(csv.DictReader(io.StringIO(verb(running, *RESULTS, batch, "--csv"))))
    assert len(rows) == LETTERS

    home = tmp_path / "home"
    verb(running, "batch", "proof", batch, "-o", str(home))
    proof = home / f"batch-{batch}.asice"
    with zipfile.ZipFile(proof) as archive:
        lines = archive.read("lines/001.csv").decode().splitlines()[1:]
    assert len(lines) == LETTERS
    numbers = {line.split(",")[3] for line in lines} - {""}
    assert numbers == {row["number"] for row in rows} - {""}
    anchor = running.layout.ca_certificate
    assert verify(proof, anchor) == 0

    for _ in range(2):  # the same command again goes on with the same export
        verb(running, "export", "--batch", batch, "-o", str(home), "--kinds", "package,evidence")
    assert running.count("SELECT count(*) FROM qerds.export") == 1
    [part] = home.glob("*.zip")
    with zipfile.ZipFile(part) as archive:
        packages = [name for name in archive.namelist() if name.endswith(".asice")]
        assert {name.split("/")[0] for name in packages} == numbers
        archive.extract(packages[0], tmp_path)
    assert verify(tmp_path / packages[0], anchor) == 0

    deposited = verb(running, "events", "--types", "delivery.deposited", "--json").splitlines()
    assert len(deposited) == LETTERS - WRONG
    told = verb(running, "events", "--types", "batch.completed,export.ready")
    assert batch in told
    assert "export.ready" in told
    running.check_ledger()


def verify(path: Path, anchor: Path) -> int:
    command = [sys.executable, "-m", "pipeline.evidence.verification", str(path), "--trust", str(anchor), "--quiet"]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=STEP_SECONDS, check=False).returncode


def test_killed_client_and_killed_gateway_lose_and_double_nothing(running: Installation, tmp_path: Path) -> None:
    """SIGKILL for the client in the middle of a push, then for the gateway while it goes on: each line once."""
    spreadsheet(tmp_path, KILLED_LINES)
    uploads = running.count("SELECT count(*) FROM qerds.upload")
    first = started(running, "batch", "push", *table_of(tmp_path), "--part-lines", "100", "--name", "killed")

    def parts(what: str = "count(*)") -> int:
        batches = "SELECT id FROM qerds.batch WHERE name = 'killed'"
        return running.count(f"SELECT {what} FROM qerds.batch_part WHERE batch IN ({batches})")

    running.wait("some parts", lambda: parts() >= 3)
    first.send_signal(signal.SIGKILL)
    _, err = first.communicate(timeout=STEP_SECONDS)
    assert first.returncode == -signal.SIGKILL
    batch = err.split()[1].rstrip(";")
    done = parts()
    assert 3 <= done < KILLED_LINES // 100

    second = started(running, "batch", "push", "--resume", batch, "--json")
    running.wait("a part more", lambda: parts() > done)
    running.kill("gateway")
    out, err = second.communicate(timeout=STEP_SECONDS)
    assert second.returncode == 0, err
    assert json.loads(out)["counts"]["received"] == KILLED_LINES
    assert parts("sum(lines)") == KILLED_LINES
    assert running.count("SELECT count(*) FROM qerds.upload") == uploads + 2
    verb(running, "batch", "push", "--resume", batch)  # it is submitted: nothing more to do
    verb(running, "batch", "cancel", batch)
    of_batch = f"FROM qerds.delivery WHERE batch = '{batch}'"
    running.wait("rest", lambda: running.count(f"SELECT count(*) {of_batch} AND state = 'submitted'") == 0)
    drawn = running.count(f"SELECT count(*) FROM qerds.batch_result WHERE batch = '{batch}'")
    assert drawn == running.count(f"SELECT count(*) {of_batch}")
    running.check_ledger()


def test_what_is_typed_wrong_is_said(running: Installation, tmp_path: Path) -> None:
    """2 for what cannot be meant, 3 for what is not there, 1 for what the service refuses."""
    path = spreadsheet(tmp_path, 1)
    verb(running, "batch", "push", status=2)
    verb(running, "batch", "push", str(tmp_path / "absent.csv"), status=2)
    verb(running, "batch", "push", str(path), "--map", str(tmp_path / "map.toml"), status=2)  # no --attach
    verb(running, "batch", "push", "--resume", "nobody", status=3)
    verb(running, "batch", "status", "nobody", status=1)
    verb(running, "export", "--from", "2026-01-01", status=2)
    verb(running, "export", "--from", "soon", "--to", "later", status=2)


def test_events_reach_a_program_on_this_machine(running: Installation, tmp_path: Path) -> None:
    """`webhook listen` posts what happens from now on, signed, in order, without an address on the internet."""
    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    hook.taken = []  # type: ignore[attr-defined]
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    _, err = started(running, "events").communicate(timeout=STEP_SECONDS)
    forward = f"http://127.0.0.1:{hook.server_port}/hook"
    listening = started(running, "webhook", "listen", "--forward", forward, "--after", err.split()[-1])
    (tmp_path / "letter.txt").write_text("A letter.\n")
    who = ["--to", "hook@recipient.example", "--kind", "professional", "--given-names", "Angela"]
    who += ["--birth-name", "Dubois", "--json"]
    sent = json.loads(verb(running, "send", str(tmp_path / "letter.txt"), *who))

    def events() -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in hook.taken]  # type: ignore[attr-defined]

    def types() -> set[str]:
        return {e["type"] for e in events() if e.get("number") == sent["number"]}

    running.wait("the events", lambda: {"delivery.deposited", "delivery.notified"} <= types())
    listening.kill()
    _, err = listening.communicate(timeout=STEP_SECONDS)
    hook.shutdown()
    hook.server_close()
    secret = base64.b64decode(err.split("whsec_")[1].split()[0])
    for headers, body in hook.taken:  # type: ignore[attr-defined]
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    sequences = [event["sequence"] for event in events()]
    assert sequences == sorted(sequences)
