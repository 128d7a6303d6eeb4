"""The kept list of planted defects, defects.toml: what is in it, and whether it still fits the tree.

Owns     the form of a row, reading the list, planting one row into a copy of the tree
Rules    an old text stands in its file exactly once, so that nobody can doubt what is planted; a row that no longer
         fits is an error, never skipped
Elsewhere: making copies and running tests (__main__.py)
"""

import ast
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec

FUNCTION = re.compile(r"^CREATE (?:OR REPLACE )?FUNCTION ([a-z_.]+)\(", re.MULTILINE)
LIST = Path(__file__).with_name("defects.toml")
ROOT = LIST.parents[2]


class Defect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One mistake that somebody might make: `old` becomes `new`, which `means` that in service; `tests` notice it."""

    id: str
    file: str
    old: str
    new: str
    means: str
    tests: tuple[str, ...]


class Misfit(Exception):
    """A row of the list does not fit the tree any more; the text says which and why."""


def read_list(path: Path = LIST) -> tuple[Defect, ...]:
    """Every row, in order. Raises msgspec.ValidationError for a row of another form."""
    return msgspec.convert(tomllib.loads(path.read_text())["defect"], tuple[Defect, ...])


def planted(defect: Defect, tree: Path) -> str:
    """The whole text of the file with the defect in it. Raises Misfit when the old text is not there exactly once."""
    path = tree / defect.file
    text = path.read_text() if path.is_file() else ""
    times = text.count(defect.old)
    if times != 1:
        raise Misfit(f"{defect.id}: its old text stands in {defect.file} {times} times, not once")
    if later := replaced_in(path, text.partition(defect.old)[0]):
        raise Misfit(f"{defect.id}: what {defect.file} says there, {later} says anew: nothing would be planted")
    return text.replace(defect.old, defect.new)


def replaced_in(path: Path, before: str) -> str | None:
    """The later migration that makes the function anew in which what follows `before` stands; None outside of one."""
    begun = list(FUNCTION.finditer(before)) if path.parent.name == "migrations" else []
    if not begun or before.count("$$", begun[-1].start()) > 1:  # its body has begun and ended
        return None
    later = [file for file in sorted(path.parent.glob("*.sql")) if file.name > path.name]
    return next((file.name for file in later if begun[-1][1] in FUNCTION.findall(file.read_text())), None)


def misfits(defects: Sequence[Defect], tree: Path) -> Iterator[str]:
    """All that keeps rows from being planted and noticed in this tree."""
    ids = [defect.id for defect in defects]
    yield from (f"{name}: there are two of this name" for name in sorted({name for name in ids if ids.count(name) > 1}))
    for defect in defects:
        if defect.old == defect.new or not defect.means.endswith("."):
            yield f"{defect.id}: it changes nothing, or does not say in a sentence what it means"
        if not defect.tests:
            yield f"{defect.id}: it names no test"
        yield from (f"{defect.id}: there is no test {test}" for test in defect.tests if not is_there(test, tree))
        try:
            planted(defect, tree)
        except Misfit as error:
            yield str(error)


def is_there(test: str, tree: Path) -> bool:
    """Whether a test of this name (FILE::FUNCTION, FILE::CLASS::FUNCTION) is written down."""
    file, _, name = test.partition("::")
    return (tree / file).is_file() and name in names_of_tests(tree / file)


@cache
def names_of_tests(path: Path) -> frozenset[str]:
    """FUNCTION and CLASS::FUNCTION, of a file of tests."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        names |= {prefix + n.name for n in inside if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    return frozenset(names)


class Plot:
    """A copy of the tree in which one defect at a time is planted."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._planted = 0

    def plant(self, defect: Defect) -> None:
        """Write the file anew; `clear` undoes it. Raises Misfit."""
        text = planted(defect, self.tree)
        path = self.tree / defect.file
        self._original = (path, path.read_text(), path.stat().st_mtime)
        path.write_text(text)
        self._planted += 1
        os.utime(path, (self._original[2] + self._planted,) * 2)  # bytecode is good for one second of a file's time

    def clear(self) -> None:
        """As it was."""
        path, text, time = self._original
        path.write_text(text)
        os.utime(path, (time, time))
