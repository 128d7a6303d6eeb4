"""A number that people are told is the one that the code goes by."""

import json
import re
from pathlib import Path

import pytest

from gateway.problem_codes import PROBLEMS
from gateway.sender.packs import PACKED_DAYS
from pipeline.actors.contract import ATTEMPTS_MAX
from pipeline.delivery.routes import STAGES
from pipeline.deposits.wrapping import WRAP_OPEN_DAYS
from pipeline.feed.attempts import CIRCUIT_FAILURES, SCHEDULE_SECONDS, TRIES_MAX
from pipeline.formats.configuration import DOCUMENT_BYTES_DEFAULT
from pipeline.stores.batches import BATCH_DAYS
from pipeline.stores.consents import REQUEST_OPEN_DAYS
from pipeline.stores.senders import IDEMPOTENCY_HOURS, TOKEN_SECONDS, UPLOAD_DAYS

ROOT = Path(__file__).resolve().parents[2]
IN_WORDS = dict(enumerate(("seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"), start=7))
MIB = 1024 * 1024
PROCESSES = len((ROOT / "Procfile").read_text().splitlines())

HOURS, MINUTES = divmod(sum(SCHEDULE_SECONDS) // 60, 60)
SPACED = "5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h"
SECONDS_OF = {"s": 1, "min": 60, "h": 3600}

TOLD = [
    ("docs/content.md", r"`open_until`, (\d+) days after", WRAP_OPEN_DAYS),
    ("docs/invariants.md", r"is open for at most (\d+) days after the upload", WRAP_OPEN_DAYS),
    ("docs/threat-model.md", r"of its choice for (\d+) days after the upload", WRAP_OPEN_DAYS),
    (
        "pipeline/adapters/postgres/sql/ledger.sql",
        r"w.open_until > u.created_at \+ interval '(\d+) days'",
        WRAP_OPEN_DAYS,
    ),
    ("docs/events.md", r"\* \*\*Ten tries over ([\w ]+)\*\*", f"{HOURS} h {MINUTES} min"),
    ("docs/events.md", r"Ten tries over [^*]+\*\*: at once, after ([^.]+)\.", SPACED),
    ("docs/events.md", r"After (\w+) failures in a row", {3: "three"}[CIRCUIT_FAILURES]),
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
    ("docs/portal.md", r"nobody answered in (\d+) days", REQUEST_OPEN_DAYS),
    ("docs/portal.md", r"After (\d+) days without an answer", REQUEST_OPEN_DAYS),
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


def test_the_schedule_of_a_webhook_is_the_one_that_is_told() -> None:
    """Try by try; the number of tries is told in words."""
    told = [int(number) * SECONDS_OF[unit] for number, unit in (part.split() for part in SPACED.split(", "))]
    assert (tuple(told), TRIES_MAX) == (SCHEDULE_SECONDS, 10)


@pytest.mark.parametrize(("code", "days"), [("upload_expired", UPLOAD_DAYS), ("batch_expired", BATCH_DAYS)])
def test_a_problem_tells_the_number_of_the_code(code: str, days: int) -> None:
    """In every language."""
    problem = PROBLEMS[code]
    assert [re.findall(r"\d+", words.cause) for words in (problem.english, problem.french)] == [[str(days)]] * 2
