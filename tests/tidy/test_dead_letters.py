"""Why a message is dead: each reason of ours is in the table for operators, and a stage says that it buries."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "pipeline").rglob("*.py"))
GIVING_UP = ("Bury", "OwnFault")  # an OwnFault of a content becomes the Bury of its letter


def reasons(source: str) -> Iterator[str]:
    """Each text that the source gives a dead letter; what it fills in is N."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in GIVING_UP:
            yield from texts(node.args[-1])


def texts(node: ast.expr) -> Iterator[str]:
    """A literal, either of two, or one that is filled in; none of a name, which was given its text elsewhere."""
    if isinstance(node, ast.IfExp):
        yield from (*texts(node.body), *texts(node.orelse))
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(v.value) if isinstance(v, ast.Constant) else "N" for v in node.values)
    elif isinstance(node, ast.Constant):
        yield str(node.value)


def rows() -> list[str]:
    """With what a reason begins, as docs/operate.md has it."""
    page = (ROOT / "docs" / "operate.md").read_text()
    table = page.partition("| reason begins with |")[2].partition("\n\n")[0]
    return [row.removesuffix("…") for row in re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)]


def test_every_reason_of_ours_is_in_the_table_for_operators() -> None:
    """Whoever finds a dead letter finds what it means and what to do."""
    ours = {reason for path in MODULES for reason in reasons(path.read_text())}
    assert {reason for reason in ours if not reason.startswith(tuple(rows()))} == set()
    assert {row for row in rows() if not any(r.startswith(row) for r in ours)} == {"spent 500 attempts"}  # the loop's


@pytest.mark.parametrize(
    "path", [path for path in MODULES if "Fails  " in path.read_text()], ids=lambda path: str(path.relative_to(ROOT))
)
def test_whoever_buries_says_so(path: Path) -> None:
    """Where a module tells how it fails, no dead letter that it makes is left out."""
    source = path.read_text()
    if any(reasons(source)):
        assert "Bury: " in str(ast.get_docstring(ast.parse(source)))


def test_reasons_are_read_from_every_kind_of_text() -> None:
    """Plain, either of two, filled in; a name has none."""
    source = 'Bury(m, "a")\nBury(m, "b" if x else f"c {n}: d")\nOwnFault("e")\nBury(m, finding.why)\nf("g")'
    assert [*reasons(source)] == ["a", "b", "c N: d", "e"]
