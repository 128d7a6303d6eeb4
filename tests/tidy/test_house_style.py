"""The house rules that a program can check: lengths, names, docstrings."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("pipeline", "gateway", "hsm_bridge", "deploy")
MODULE_LINES_MAX = 400
SUPERVISOR_LINES_MAX = 300
MIGRATION_RUNNER_LINES_MAX = 130
FUNCTION_LINES_MAX = 60
BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|manager|common|misc)($|_)", re.IGNORECASE)
NAMES_OF_NOTHING = frozenset({"found", "known", "asked", "wanted", "told", "said", "one", "some", "mine"})
SHARED_CLASS_NAMES = {
    "Ports": "of each stage its own: what it may ask of the outside",
    "Done": "of a message in a stage, of an item in the bridge: two programs, and no file sees both",
    "Refused": "the API's no in the sender's client, the bridge's no to an item: two programs, and no file sees both",
}
BROAD_EXCEPT_ALLOWED = {"pipeline/actors/loop.py", "gateway/edge.py"}  # the two that record whatever escapes

# Asks another process, which cannot tell us, again and again under a deadline; the one place that may.
WAITING = "tests/waiting.py"  # the one file that may let time pass

PRODUCT = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
BENCH = sorted((ROOT / "bench").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BEATING = "tests/memory/mailbox.py"  # a port, not a test: it beats by the clock, which a simulation turns
IDS = {path: str(path.relative_to(ROOT)) for path in [*PRODUCT, *BENCH, *TESTS]}


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    line: int
    lines: int
    is_told: bool  # has a docstring


@dataclass(frozen=True, slots=True)
class Source:
    """One file, as far as the rules go; its tree is not kept: a heap of trees slows every collection of garbage."""

    text: str
    is_told: bool
    functions: list[Function] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    asserts: list[int] = field(default_factory=list)  # lines
    caught: list[tuple[int, str]] = field(default_factory=list)  # line, what is caught and not passed on
    pauses: list[tuple[int, str, str]] = field(default_factory=list)  # line, what is called, its first argument
    patches: list[tuple[int, str]] = field(default_factory=list)  # line, what is called
    imported_from: set[str] = field(default_factory=set)
    names_of_nothing: list[str] = field(default_factory=list)


@cache
def source(path: Path) -> Source:
    """Read, parsed and walked once for all tests."""
    text = path.read_text()
    tree = ast.parse(text, str(path))
    found = Source(text, bool(ast.get_docstring(tree)), names_of_nothing=names_of_nothing(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            note_call(found, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            found.functions.append(Function(node.name, node.lineno, lines, bool(ast.get_docstring(node))))
        elif isinstance(node, ast.ClassDef):
            found.classes.append(node.name)
        elif isinstance(node, ast.Assert):
            found.asserts.append(node.lineno)
        elif isinstance(node, ast.ExceptHandler):
            last = node.body[-1]
            if not (isinstance(last, ast.Raise) and last.exc is None):  # else it tidies up and passes it on
                found.caught.append((node.lineno, ast.unparse(node.type) if node.type else "everything"))
        elif isinstance(node, ast.ImportFrom):
            found.imported_from.add(node.module or "")
    return found


def note_call(found: Source, call: ast.Call) -> None:
    """Only of what may be a pause or a patch by its last name is the whole name put together."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in ("sleep", "setattr", "patch"):
        return
    called = ast.unparse(call.func)
    if called in ("time.sleep", "anyio.sleep", "asyncio.sleep", "trio.sleep", "sleep"):
        found.pauses.append((call.lineno, called, ast.unparse(call.args[0]) if call.args else ""))
    elif called.endswith(("monkeypatch.setattr", "mock.patch")):
        found.patches.append((call.lineno, called))


def names_held(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Parameters, locals and loop variables, with their lines; a field is named by what others call it."""
    classes = [node for node in ast.walk(module) if isinstance(node, ast.ClassDef)]
    declared = [node for c in classes for node in c.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    fields = {target for node in declared for target in ast.walk(node) if isinstance(target, ast.Name)}
    for node in ast.walk(module):
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in fields:
            yield node.id, node.lineno
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name is not None:
            yield node.name, node.lineno


def names_of_nothing(module: ast.Module) -> list[str]:
    """Of what it holds, those that say only how it came here."""
    return [f"{name} (line {line})" for name, line in names_held(module) if name in NAMES_OF_NOTHING]


def classes_of(module: ast.Module) -> list[str]:
    return [node.name for node in ast.walk(module) if isinstance(node, ast.ClassDef)]


def shared_class_names(classes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The public names that are defined more than once, with their files. classes: by file."""
    files: dict[str, list[str]] = {}
    for path, names in classes.items():
        for name in names:
            if not name.startswith("_"):
                files.setdefault(name, []).append(path)
    return {name: paths for name, paths in files.items() if len(paths) > 1}


def lines_max(path: Path) -> int:
    special = {
        "deploy/local/supervisor.py": SUPERVISOR_LINES_MAX,
        "pipeline/adapters/postgres/migrate.py": MIGRATION_RUNNER_LINES_MAX,
    }
    return special.get(IDS[path], MODULE_LINES_MAX)


@pytest.mark.parametrize("path", PRODUCT, ids=IDS.get)
def test_modules_and_functions_stay_readable(path: Path) -> None:
    """A module holds one idea and says which; a stranger can read a stage in five minutes."""
    module = source(path)
    if not module.text.strip():
        return
    assert len(module.text.splitlines()) <= lines_max(path)
    assert module.is_told, "a module's docstring says what it owns, its rules, and what it does not do"
    assert not [f"{f.name} (line {f.line})" for f in module.functions if f.lines > FUNCTION_LINES_MAX]


@pytest.mark.parametrize("path", PRODUCT, ids=IDS.get)
def test_no_room_for_leftovers(path: Path) -> None:
    """No utils, helpers, manager, common or misc: a thing is named for what it is."""
    assert not any(BANNED_NAMES.search(part) for part in path.relative_to(ROOT).with_suffix("").parts)
    names = [*source(path).classes, *(function.name for function in source(path).functions)]
    assert not [name for name in names if BANNED_NAMES.search(name) or name.endswith(("Manager", "Helper", "Util"))]


@pytest.mark.parametrize("path", [*PRODUCT, *BENCH], ids=IDS.get)
def test_what_is_held_has_a_noun(path: Path) -> None:
    """A local is named for what it holds (`rows`, `letter`), not for having been found, known or asked for."""
    assert not source(path).names_of_nothing


@pytest.mark.parametrize("name", sorted(NAMES_OF_NOTHING))
@pytest.mark.parametrize(
    "text",
    [
        "def f(): NAME = g()",
        "def f(NAME): ...",
        "async def f(*, NAME=1): ...",
        "f = lambda *NAME: 1",
        "for _, NAME in g(): ...",
        "rows = [NAME for NAME in g()]",
        "with g() as NAME: ...",
        "class C:\n    def f(self):\n        while NAME := g(): ...",
        "try: ...\nexcept OSError as NAME: ...",
        "match g():\n    case [int() as NAME]: ...",
    ],
)
def test_a_planted_name_of_nothing_is_refused(text: str, name: str) -> None:
    """Wherever a name can be bound: parameter, assignment, loop, comprehension, with, except, match."""
    assert names_of_nothing(ast.parse(text.replace("NAME", name)))


@pytest.mark.parametrize("text", ["class C:\n    known: int\n    said = 1", "g(known=1).asked", "def told(): ..."])
def test_what_others_call_it_is_left_alone(text: str) -> None:
    """Fields, keywords, attributes and functions are no locals."""
    assert not names_of_nothing(ast.parse(text))


def test_a_class_has_a_name_of_its_own() -> None:
    """Who searches for a public class finds one; what shares a name on purpose says why, and does share it."""
    shared = shared_class_names({IDS[path]: source(path).classes for path in [*PRODUCT, *BENCH]})
    assert {name: files for name, files in shared.items() if name not in SHARED_CLASS_NAMES} == {}
    assert set(SHARED_CLASS_NAMES) <= set(shared), "a name that is no longer shared needs no reason"


def test_a_planted_class_of_the_same_name_is_refused() -> None:
    """In another file, within a class or a function too; a private one is its file's own affair."""
    modules = {"a.py": "class Letter: ...\nclass _Row: ...", "b.py": "class _Row: ...", "c.py": "class Batch: ..."}
    parsed = {path: classes_of(ast.parse(text)) for path, text in modules.items()}
    assert shared_class_names(parsed) == {}
    for text in ("class Letter: ...", "def f():\n    class Letter: ...", "class Form:\n    class Letter: ..."):
        assert shared_class_names({**parsed, "planted.py": classes_of(ast.parse(text))}) == {
            "Letter": ["a.py", "planted.py"]
        }


@pytest.mark.parametrize("path", PRODUCT, ids=IDS.get)
def test_errors_are_raised_or_handled(path: Path) -> None:
    """Only the loop and the gateway's outermost handler catch everything; nobody relies on assert, which -O removes."""
    assert not source(path).asserts, "raise Invariant(...) instead of assert"
    broad = [(line, what) for line, what in source(path).caught if what in ("Exception", "BaseException", "everything")]
    assert not broad or IDS[path] in BROAD_EXCEPT_ALLOWED


@pytest.mark.parametrize("path", PRODUCT, ids=IDS.get)
def test_nothing_is_left_for_later(path: Path) -> None:
    """No marker of unfinished work, and no path that exists on one machine only."""
    text = source(path).text
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
    assert not re.search(r"[\"'/](home|root|work)/[a-z]", text)


@pytest.mark.parametrize("path", [p for p in TESTS if p.name.startswith("test_")], ids=IDS.get)
def test_every_test_states_its_promise(path: Path) -> None:
    """A test's docstring says what it proves, so that whoever breaks it knows what they broke."""
    assert not [f.name for f in source(path).functions if f.name.startswith("test_") and not f.is_told]


@pytest.mark.parametrize("path", TESTS, ids=IDS.get)
def test_tests_wait_on_signals(path: Path) -> None:
    """No sleep hides a race, and no patching hides that a fake is not like the real thing."""
    if IDS[path] in (WAITING, BEATING):
        return
    # sleep(0) lets another task run, sleep_forever waits for a cancellation: neither waits for time to pass.
    assert not [(line, called) for line, called, how_long in source(path).pauses if how_long != "0"]
    assert not source(path).patches


def test_packages_are_packages() -> None:
    """Every folder of ours is seen by the import contracts: they do not look into folders without __init__.py."""
    folders = {path.parent for path in PRODUCT}
    assert not [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]


def test_the_top_package_stays_empty() -> None:
    """Importing one room of the pipeline imports no other."""
    assert (ROOT / "pipeline" / "__init__.py").read_text() == ""


@pytest.mark.parametrize("path", TESTS, ids=IDS.get)
def test_no_test_module_is_imported(path: Path) -> None:
    """What several tests share has a place of its own (worlds, fakes, memory): a test module can be changed freely."""
    imported = source(path).imported_from
    assert not [name for name in imported if name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")]
