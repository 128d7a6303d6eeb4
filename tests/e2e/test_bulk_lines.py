"""A batch with bad lines among good ones: each bad line gets its own reason, the others go on, and mending adds only
what was missing. QERDS_TEST_LETTERS=100000 ./qerds test e2e runs it in the size of a real sender.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e import bulk
from tests.e2e.bulk import Line
from tests.e2e.installation import Installation, installation
from tests.servers import short_directory

LETTERS = bulk.letters(1_000)
EVERY = 100 if LETTERS >= 10_000 else 20  # one line in so many is bad
SECONDS = 60 + LETTERS / 50
BASE_PORT = 13600
pytestmark = pytest.mark.timeout(120 + 4 * SECONDS)


def _recipient(**changes: object) -> Callable[[Line], None]:
    def spoil(line: Line) -> None:
        line["recipient"] = {**line["recipient"], **changes}

    return spoil


def _document(**changes: object) -> Callable[[Line], None]:
    def spoil(line: Line) -> None:
        line["documents"] = [{**line["documents"][0], **changes}]

    return spoil


def _set(**changes: object) -> Callable[[Line], None]:
    return lambda line: line.update(changes)


# What is wrong with a line -> the code that its result must name.
KINDS: dict[str, tuple[Callable[[Line], None], str]] = {
    "an address that is none": (_recipient(email="no address"), "email_invalid"),
    "a name that is missing": (_recipient(given_names=""), "field_invalid"),
    "a kind that does not exist": (_recipient(kind="robot"), "field_invalid"),
    "a field that nobody knows": (_set(colour="blue"), "field_unknown"),
    "a subject that is too long": (_set(subject="x" * 201), "field_invalid"),
    "a consumer without consent": (_recipient(kind="consumer"), "consent_required"),
    "an upload that does not exist": (
        _document(upload_id="01890a5d-ac96-774b-bcce-b302099a8057"),
        "upload_unknown",
    ),
    "another digest than the upload's": (_document(sha256="00" * 32), "digest_mismatch"),
    "no document": (_set(documents=[]), "field_invalid"),
    "the reference of an earlier line": (_set(client_ref="m-1", subject="Another letter"), "client_ref_conflict"),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def test_bad_lines_are_told_one_by_one_and_mending_adds_what_was_missing(running: Installation) -> None:
    """Exactly the bad lines are rejected, each with its code; the mended table sent again doubles nothing."""
    upload = bulk.one_upload(running)
    bad = bulk.spread(LETTERS, EVERY, {name: spoil for name, (spoil, _) in KINDS.items()})
    assert len(set(bad.values())) == len(KINDS)

    def lines(*, mended: bool) -> Iterator[Line]:
        for number in range(1, LETTERS + 1):
            line = bulk.good_line(upload, "m", number)
            if not mended and number in bad:
                KINDS[bad[number]][0](line)
            yield line

    folder = running.layout.state
    first = bulk.push(running, bulk.write_lines(folder / "first.ndjson", lines(mended=False)))
    assert bulk.wait_until_done(running, first, SECONDS) == "completed_with_errors"
    rejected = {r["line"]: r["problem"] for r in bulk.results(running, first, "rejected")}
    assert {line: problem_codes(problem) for line, problem in rejected.items()} == {
        line: {KINDS[kind][1]} for line, kind in bad.items()
    }
    assert sum(1 for _ in bulk.results(running, first, "accepted")) == LETTERS - len(bad)

    second = bulk.push(running, bulk.write_lines(folder / "mended.ndjson", lines(mended=True)))
    assert bulk.wait_until_done(running, second, SECONDS) == "completed"
    told = list(bulk.results(running, second))
    assert {r["line"] for r in told if not r.get("replayed")} == set(bad)
    assert running.count("SELECT count(*) FROM qerds.delivery WHERE client_ref LIKE 'm-%'") == LETTERS
    running.check_ledger(SECONDS)


def problem_codes(problem: dict[str, object]) -> set[str]:
    """The codes of a line's mistakes; of the problem itself where it has none."""
    errors = problem.get("errors")
    found = {str(e["code"]) for e in errors} if isinstance(errors, list) else set()
    return found or {str(problem["code"])}
