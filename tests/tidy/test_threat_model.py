"""Nothing is claimed of an adversary that no test tries: the tests that docs/threat-model.md names are there."""

import ast
import re
from functools import cache
from pathlib import Path

from deploy.local.roles import OWNER, ROLES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
FINDINGS = ("C1", *(f"H{n}" for n in range(1, 9)), *(f"M{n}" for n in range(1, 13)), "low")
PARTIES = ("superuser", "socket of the bridge", "sender", "recipient", "relay", "identity provider")


def table(heading: str) -> list[list[str]]:
    """The cells of each row below a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)
    return [row.split(" | ") for row in rows[1:]]


@cache
def functions(file: str) -> frozenset[str]:
    """The tests of a file; none when it is not there."""
    path = ROOT / file
    nodes = ast.walk(ast.parse(path.read_text())) if path.is_file() else ()
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def named(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def test_every_test_that_is_named_is_there() -> None:
    """By file and function; a whole file or folder by its path."""
    tests = named(PAGE)
    assert len(tests) > 80
    assert [f"{file}::{name}" for file, name in tests if name not in functions(file)] == []
    paths = set(re.findall(r"`(tests/[\w/.]+)`", PAGE))
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_process_and_party_is_a_row_with_its_tests() -> None:
    """What is left to whoever is taken over, and what tries that it is no more."""
    rows = table("Taken over, one by one")
    first = " ".join(row[0] for row in rows)
    kinds = [role.removeprefix("qerds_") for role in ROLES if role != OWNER]
    assert [kind for kind in kinds if f"`{kind}`" not in first] == []
    assert [party for party in PARTIES if party not in first] == []
    assert [row[0] for row in rows if len(row) != 4 or not named(row[3])] == []


def test_every_finding_has_its_tests_or_is_called_open() -> None:
    """In their order; one that no test tries is not called closed."""
    rows = table("What was found once, and the test of its kind")
    assert tuple(dict.fromkeys(row[0] for row in rows)) == FINDINGS
    assert [row for row in rows if len(row) != 3 or (row[2] != "open" and not named(row[2]))] == []
