"""No file of ours makes a commit less durable than its server, but for the take, which says why."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("pipeline", "gateway", "hsm_bridge", "deploy", "schemas", "Procfile", "qerds")
ENDINGS = (".py", ".sql", "")
WEAKENS = re.compile(
    r"synchronous_commit|full_page_writes|['\"]fsync['\"]|\bfsync\s*(=|TO\b)|\bUNLOGGED\b", re.IGNORECASE
)
COMMENTS = {".py": "#", ".sql": "--", "": "#"}
# Where, and how often. The second is what the servers of tests get; nothing of an installation names it (below).
ALLOWED = {"pipeline/adapters/postgres/sql/mailbox.sql": 1, "deploy/local/postgres.py": 1}
FOR_TESTS = "FOR_TESTS"


def files() -> list[Path]:
    tops = [ROOT / place for place in PLACES]
    inside = [path for top in tops if top.is_dir() for path in top.rglob("*") if "__pycache__" not in path.parts]
    return sorted(path for path in [*tops, *inside] if path.is_file() and path.suffix in ENDINGS)


def weakened(text: str, comment: str) -> list[str]:
    """The lines that do, or name what does; not those of comments."""
    return [line for line in text.splitlines() if WEAKENS.search(line.partition(comment)[0])]


def test_nothing_makes_a_commit_less_durable() -> None:
    """A role, a migration, a connection, a command line: whatever may set it would have to name it."""
    lines = {str(p.relative_to(ROOT)): weakened(p.read_text(), COMMENTS[p.suffix]) for p in files()}
    assert {path: len(there) for path, there in lines.items() if there} == ALLOWED


def test_an_installation_does_not_have_the_settings_of_tests() -> None:
    """The one line with them is used by tests alone."""
    users = [str(p.relative_to(ROOT)) for p in files() if FOR_TESTS in p.read_text()]
    assert users == ["deploy/local/postgres.py"]
    assert (ROOT / users[0]).read_text().count(FOR_TESTS) == 1


@pytest.mark.parametrize(
    "line",
    [
        "SET LOCAL synchronous_commit = off",
        "ALTER ROLE x SET Synchronous_Commit TO local",
        '    "fsync": "off",',
        "ALTER SYSTEM SET fsync TO off",
        "options += ['-c', 'fsync=off']",
        "CREATE UNLOGGED TABLE x ()",
    ],
)
def test_each_way_to_do_it_is_seen(line: str) -> None:
    """By its name."""
    assert weakened(line, "#") == [line]
    assert weakened(f"# {line}", "#") == []
    assert weakened("os.fsync(descriptor)", "#") == []
