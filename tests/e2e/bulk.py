"""Many letters as one batch, for tests: the lines, the push by the client's own command, what became of them.

Owns     writing a table of lines, running the client as a process of its own
Rules    the size comes from QERDS_TEST_LETTERS where a test allows it: small by default, as large as one has time for
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio

from deploy.local.layout import CHECKOUT
from pipeline.client.answers import Upload
from tests.e2e.installation import Installation, named

CLIENT_SECONDS_MAX = 3600
Line = dict[str, Any]


def letters(default: int) -> int:
    """How many letters to send."""
    return int(os.environ.get("QERDS_TEST_LETTERS", default))


def one_upload(it: Installation, text: str = "The same letter to everybody.") -> Upload:
    """One content to many."""
    path = it.layout.state / "content.txt"
    path.write_text(text)

    async def send() -> Upload:
        async with it.client() as client:
            return await client.upload(path)

    return anyio.run(send)


def good_line(upload: Upload, tag: str, number: int) -> Line:
    """A professional, so that no consent is needed."""
    recipient = {"kind": "professional", "email": f"{tag}-{number}@recipient.example"}
    return {
        "client_ref": f"{tag}-{number}",
        "recipient": {**recipient, "given_names": "Angela Claire Louise", "birth_name": "Dubois"},
        "subject": "To all",
        "documents": [named(upload)],
    }


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    """NDJSON."""
    with path.open("w") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return path


def client_process(it: Installation, *arguments: str) -> "subprocess.Popen[str]":
    """`qerds batch …` as a sender runs it."""
    command = [sys.executable, "-m", "pipeline.client", "batch", arguments[0], "--state", str(it.layout.state)]
    return subprocess.Popen(
        [*command, *arguments[1:]], cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def push(it: Installation, path: Path, *more: str) -> str:
    """Push a whole file; the batch's id."""
    process = client_process(it, "push", str(path), "--json", *more)
    out, err = process.communicate(timeout=CLIENT_SECONDS_MAX)
    assert process.returncode == 0, out + err
    return str(json.loads(out)["id"])


def state_of(it: Installation, batch: str) -> str:
    """As the database has it."""
    return it.rows(f"SELECT state FROM qerds.batch WHERE id = '{batch}'")[0][0]


def wait_until_done(it: Installation, batch: str, seconds: float) -> str:
    """Every line is deposited or rejected; the final state."""
    it.wait(f"batch {batch} to be completed", lambda: state_of(it, batch).startswith("completed"), seconds)
    return state_of(it, batch)


def results(it: Installation, batch: str, status: str | None = None) -> Iterator[dict[str, Any]]:
    """The results stream, as the client prints it."""
    wanted = [] if status is None else ["--status", status]
    process = client_process(it, "results", batch, *wanted)
    out, err = process.communicate(timeout=CLIENT_SECONDS_MAX)
    assert process.returncode == 0, err
    return map(json.loads, out.splitlines())


def spread(count: int, every: int, kinds: Mapping[str, Callable[[Line], None]]) -> dict[int, str]:
    """Which lines are spoiled, and how: one in `every`, the kinds in turn. Lines count from 1."""
    names = list(kinds)
    return {number: names[n % len(names)] for n, number in enumerate(range(every, count + 1, every))}
