"""The API document drives requests by itself: whatever it allows, and whatever it forbids, gets the answer it promises.

Owns     running schemathesis over every operation of the served document against a whole installation
Rules    bounded in examples, seeded, and in one process: what fails is named with the request that shows it
Elsewhere: the clock of the sandbox, which would end what the other operations live by (test_sandbox.py)
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import schemathesis

from gateway.sender.openapi import FILE_ADDRESS, description
from tests.e2e.access import token
from tests.e2e.installation import Installation, installation, named
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(150)
BASE_PORT = 19900
EXAMPLES_MAX = 10  # per operation; the coverage phase makes some 30 more by itself
SECONDS_MAX = 90
CONFIG = """
[checks]
# Whether what the generator thinks is right is accepted says little: no schema says which text is an e-mail address, a
# digest of these very bytes, or a time that this service takes.
positive_data_acceptance.enabled = false
# A request that is wrong in two ways is refused for either: not there (404), used up (410), or the one that was meant.
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429]
missing_required_header.expected-statuses = [400, 401, 403, 404, 409, 410, 415, 422]
[[operations]]
include-operation-id = "advanceSandboxClock"  # years ahead, the others would meet keys and certificates that have ended
enabled = false
[[operations]]
include-operation-id = "validate"  # answers with 200 what is wrong: that is its purpose
checks.negative_data_rejection.enabled = false
[[operations]]
include-operation-id = "verify"  # so does this one, of any bytes: there is no file that is not binary
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def test_the_document_is_valid_openapi() -> None:
    """By the schema of OpenAPI 3.1: client generators take it. Every operation has a name of its own."""
    described = description(FILE_ADDRESS, is_sandbox=True)
    schemathesis.openapi.from_dict(described).validate()
    names = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


async def things(it: Installation, folder: Path) -> dict[str, str]:
    """One of each kind, by the name of the parameter that names it."""
    letter = folder / "letter.txt"
    letter.write_text("A letter.")
    async with it.client() as client:
        uploaded = await client.upload(letter)
        sent = await client.submit(
            {
                "recipient": {
                    "kind": "professional",
                    "email": "api@recipient.example",
                    "given_names": "Angela",
                    "birth_name": "Dubois",
                },
                "subject": "A letter",
                "documents": [named(uploaded)],
            }
        )
        await client.wait_for(sent.id, lambda d: d.state == "notified", 60)
        batch = await client.create_batch("by the document")
        await client.put_items(batch.id, 1, b'{"subject": "x"}\n')
        export = await client.create_export(batch=batch.id)
        return {
            "name": sent.id,
            "evidence": (await client.evidence(sent.id))[0].id,
            "upload": (await client.upload(letter)).id,
            "batch": batch.id,
            "export": str(export["id"]),
            "n": "1",
            "part": "1",
            "webhook": str((await client.create_webhook("https://hook.example.org/qerds"))["id"]),
        }


@pytest.mark.parametrize("which", ["made-up ids", "ids that exist"])
def test_every_operation_answers_as_described(running: Installation, tmp_path: Path, which: str) -> None:
    """No 500, no status, type, header or field that the document does not name; what it forbids is refused."""
    known = anyio.run(things, running, tmp_path) if which == "ids that exist" else {}
    parameters = "".join(f'"path.{name}" = "{value}"\n' for name, value in known.items())
    (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{parameters}{CONFIG}")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "run"]
    command += [f"{running.gateway}/v1/openapi.json", "--url", running.gateway]
    command += ["--header", f"Authorization: Bearer {token(running)}"]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES_MAX), "--seed", "1"]
    command += ["--generation-database", "none", "--continue-on-failure", "--warnings", "off", "--no-color"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert told.returncode == 0, told.stdout[-20_000:] + told.stderr[-2000:]
