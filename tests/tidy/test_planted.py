"""The list of planted defects does not rot: each can still be planted, and the tests that notice it are there."""

from pathlib import Path

import msgspec
import pytest

from tests.planted.__main__ import run_tests
from tests.planted.defects import ROOT, Defect, Plot, misfits, planted, read_list

GOOD = Defect("a", "x.py", "is_mine(row)", "True", "Everybody has it.", ("test_x.py::test_it",))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One file, one test."""
    (tmp_path / "x.py").write_text("if is_mine(row): take(row)\n")
    (tmp_path / "test_x.py").write_text("def test_it(): ...\n\n\nclass Cases:\n    async def test_more(self): ...\n")
    return tmp_path


def test_each_can_still_be_planted_and_has_its_test() -> None:
    """Whoever changes a line that has a defect in the list changes the list with it."""
    assert list(misfits(read_list(), ROOT)) == []


def test_it_is_planted_where_it_belongs(tree: Path) -> None:
    """One place, the rest as it was."""
    assert planted(GOOD, tree) == "if True: take(row)\n"
    assert (
        list(misfits([GOOD, msgspec.structs.replace(GOOD, id="b", tests=("test_x.py::Cases::test_more",))], tree)) == []
    )


@pytest.mark.parametrize(
    "change",
    [
        {"old": "is_yours(row)"},
        {"old": "row"},
        {"old": "True"},
        {"file": "y.py"},
        {"new": "is_mine(row)"},
        {"means": "no sentence"},
        {"tests": ()},
        {"tests": ("test_x.py::test_gone",)},
        {"tests": ("test_y.py::test_it",)},
        {"tests": ("test_x.py",)},
    ],
    ids=str,
)
def test_what_cannot_be_planted_or_noticed_is_seen(tree: Path, change: dict[str, object]) -> None:
    """A text that is gone or stands there twice, a file or a test that is gone: told, never skipped."""
    assert list(misfits([msgspec.structs.replace(GOOD, **change)], tree)) != []


def test_what_was_planted_is_cleared(tree: Path) -> None:
    """The next defect is planted into the tree as it was; bytecode of the one before is never taken for it."""
    before, path = (tree / "x.py").read_text(), tree / "x.py"
    plot, times = Plot(tree), {path.stat().st_mtime}
    for count in range(1, 4):
        plot.plant(GOOD)
        assert path.read_text() != before
        times.add(path.stat().st_mtime)
        assert len(times) == count + 1
        plot.clear()
        assert path.read_text() == before


ENDINGS = """
import pytest

@pytest.fixture
def broken():
    raise ValueError

def test_passes(): ...
def test_errs(broken): ...
@pytest.mark.parametrize("x", ["a b", "c]"])
def test_fails(x): raise ValueError("a - b")
@pytest.mark.skip
def test_is_skipped(): ...
"""


@pytest.mark.anyio
async def test_only_a_test_that_fails_has_noticed(tree: Path) -> None:
    """Not one whose fixture breaks, nor one that is skipped: either would be silent about what is wrong."""
    (tree / "test_endings.py").write_text(ENDINGS)
    run = await run_tests(tree, ["test_endings.py"], ["-n", "0"])
    assert (run.code, run.failed) == (1, frozenset({"test_endings.py::test_fails"}))


def test_a_function_that_a_later_migration_replaces_is_dead_text(tmp_path: Path) -> None:
    """What is planted there is never run: nobody could notice. Beside the function, and in the last one, it counts."""
    folder = tmp_path / "schemas" / "migrations"
    folder.mkdir(parents=True)
    body = "CREATE {}FUNCTION qerds.f(a int) RETURNS int AS $$\nBEGIN\n    RETURN {};\nEND $$;\nGRANT {} TO x;\n"
    (folder / "0001_a.sql").write_text(body.format("", "one", "SELECT"))
    (folder / "0002_b.sql").write_text(body.format("OR REPLACE ", "two", "INSERT"))
    (tmp_path / "test_x.py").write_text("def test_it(): ...\n")

    def misfit(file: str, old: str) -> list[str]:
        row = msgspec.structs.replace(GOOD, file=f"schemas/migrations/{file}", old=old, new="three")
        return list(misfits([row], tmp_path))

    assert "0002_b.sql says anew" in misfit("0001_a.sql", "one")[0]
    assert misfit("0001_a.sql", "SELECT") == misfit("0002_b.sql", "two") == []


def test_two_of_one_name_are_seen(tree: Path) -> None:
    """Whoever names one on the command line means one."""
    assert list(misfits([GOOD, GOOD], tree)) == ["a: there are two of this name"]
