"""A number that people are told is the one that the code goes by."""

import json
import re
from pathlib import Path

import pytest

from gateway.problem_codes import PROBLEMS
from gateway.sender.packs import PACKED_DAYS
from pipeline.actors.contract import ATTEMPTS_MAX
from pipeline.delivery.routes import STAGES
from pipeline.formats.configuration import DOCUMENT_BYTES_DEFAULT
from pipeline.stores.batches import BATCH_DAYS
from pipeline.stores.consents import OPEN_DAYS
from pipeline.stores.senders import IDEMPOTENCY_HOURS, TOKEN_SECONDS, UPLOAD_DAYS

ROOT = Path(__file__).resolve().parents[2]
IN_WORDS = dict(enumerate(("seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"), start=7))
MIB = 1024 * 1024
PROCESSES = len((ROOT / "Procfile").read_text().splitlines())

TOLD = [
    ("README.md", r"\* (\w+) stages are", IN_WORDS[len(STAGES)].capitalize()),
    ("README.md", r"the (\w+) processes of the `Procfile`", IN_WORDS[PROCESSES]),
    ("pipeline/stages/__init__.py", r"The (\w+) actors", IN_WORDS[len(STAGES)]),
    ("docs/content.md", r"no delivery names expires after (\d+) days", UPLOAD_DAYS),
    ("docs/content.md", r"Packed contents expire after (\d+) days", PACKED_DAYS),
    ("docs/content.md", r"Packed contents expire after \d+ days instead of (\d+)", UPLOAD_DAYS),
    ("schemas/api/uploads.json", r"no delivery uses expires after (\d+) days", UPLOAD_DAYS),
    ("docs/content.md", r"\((\d+) MiB unless the configuration", DOCUMENT_BYTES_DEFAULT // MIB),
    ("docs/operate.md", r"(\d+) MiB when it is not set", DOCUMENT_BYTES_DEFAULT // MIB),
    ("schemas/api/uploads.json", r"\((\d+) MiB unless the installation", DOCUMENT_BYTES_DEFAULT // MIB),
    ("docs/bulk.md", r"not submitted within (\d+) days", BATCH_DAYS),
    ("schemas/api/batches.json", r"not submitted within (\d+) days", BATCH_DAYS),
    ("docs/portal.md", r"nobody answered in (\d+) days", OPEN_DAYS),
    ("docs/portal.md", r"After (\d+) days without an answer", OPEN_DAYS),
    ("schemas/api/document.json", r"the same answer for (\d+) h", IDEMPOTENCY_HOURS),
    ("schemas/api/oauth.json", r"A token for (\d+) s", TOKEN_SECONDS),
    ("docs/operate.md", r"`spent (\d+) attempts`", ATTEMPTS_MAX),
]


@pytest.mark.parametrize(("path", "pattern", "number"), TOLD)
def test_a_page_tells_the_number_of_the_code(path: str, pattern: str, number: int | str) -> None:
    """In the documentation, and in the description of the API."""
    text = (ROOT / path).read_text()
    text = json.dumps(json.loads(text), ensure_ascii=False) if path.endswith(".json") else " ".join(text.split())
    assert re.findall(pattern, text) == [str(number)]


@pytest.mark.parametrize(("code", "days"), [("upload_expired", UPLOAD_DAYS), ("batch_expired", BATCH_DAYS)])
def test_a_problem_tells_the_number_of_the_code(code: str, days: int) -> None:
    """In every language."""
    problem = PROBLEMS[code]
    assert [re.findall(r"\d+", words.cause) for words in (problem.english, problem.french)] == [[str(days)]] * 2
