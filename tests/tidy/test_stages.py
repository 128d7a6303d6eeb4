"""A stage can be told in five minutes: it is short, it says what it does, and few things of other rooms are in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = sorted(path for path in (ROOT / "pipeline" / "stages").glob("*.py") if path.name != "__init__.py")
LINES_MAX = 200
MODULES_MAX = 10  # the standard library's too
NAMES_MAX = 25
STORY = ("Receives ", "Outside ", "Commits ", "Emits ", "Fails ", "Source ")


def imported(source: str) -> Iterator[tuple[str, str]]:
    """The module and the name of everything that is imported anywhere; a module that is imported is its own name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (_imported_from(str(node.module), alias.name) for alias in node.names)


def _imported_from(package: str, name: str) -> tuple[str, str]:
    """`from pipeline.intake import drawing` imports that module, and not the package that it is in."""
    path = ROOT.joinpath(*package.split("."), name)
    is_module = path.with_suffix(".py").exists() or path.is_dir()
    return (f"{package}.{name}", name) if is_module else (package, name)


@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.stem)
def test_a_stage_can_be_told_in_five_minutes(path: Path) -> None:
    """Its docstring is its story; whoever reads on meets few names, and no fact whose type is anything."""
    source = path.read_text()
    story = ast.get_docstring(ast.parse(source)) or ""
    names = list(imported(source))
    assert not [word for word in STORY if word not in story]
    assert len(source.splitlines()) <= LINES_MAX
    assert len({module for module, _ in names}) <= MODULES_MAX
    assert len(names) <= NAMES_MAX
    assert "Any" not in {name for _, name in names}


def test_what_is_imported_is_counted() -> None:
    """Modules one by one, however they are imported and wherever; names as often as they are imported."""
    source = (
        "import os, sys\nfrom datetime import date, time\nfrom pipeline.intake import batches, drawing\n"
        "def late():\n    from pipeline.ports import bridge\n    from pipeline.ports.bridge import Keys\n"
    )
    names = list(imported(source))
    assert {module for module, _ in names} == {
        "os",
        "sys",
        "datetime",
        "pipeline.intake.batches",
        "pipeline.intake.drawing",
        "pipeline.ports.bridge",
    }
    assert len(names) == 8
