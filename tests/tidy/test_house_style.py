"""The house rules that a program can check: lengths, names, docstrings."""

import ast
import re
from collections.abc import Iterator, Mapping
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


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


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


def public_classes(modules: Mapping[str, ast.Module]) -> dict[str, list[str]]:
    """The files that define a class of each public name."""
    files: dict[str, list[str]] = {}
    for path, module in modules.items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files.setdefault(node.name, []).append(path)
    return files


def shared_class_names(modules: Mapping[str, ast.Module]) -> dict[str, list[str]]:
    return {name: files for name, files in public_classes(modules).items() if len(files) > 1}


def lines_max(path: Path) -> int:
    special = {
        "deploy/local/supervisor.py": SUPERVISOR_LINES_MAX,
        "pipeline/adapters/postgres/migrate.py": MIGRATION_RUNNER_LINES_MAX,
    }
    return special.get(IDS[path], MODULE_LINES_MAX)


@pytest.mark.parametrize("path", PRODUCT, ids=IDS.get)
def test_modules_and_functions_stay_readable(path: Path) -> None:
    """A module holds one idea and says which; a stranger can read a stage in five minutes."""
    source = path.read_text()
    if not source.strip():
        return
    assert len(source.splitlines()) <= lines_max(path)
    assert ast.get_docstring(tree(path)), "a module's docstring says what it owns, its rules, and what it does not do"
    too_long = [
        f"{f.name} (line {f.lineno})"
        for f in functions(path)
        if f.end_lineno is not None and f.end_lineno - f.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not too_long


@pytest.mark.parametrize("path", PRODUCT, ids=IDS.get)
def test_no_room_for_leftovers(path: Path) -> None:
    """No utils, helpers, manager, common or misc: a thing is named for what it is."""
    assert not any(BANNED_NAMES.search(part) for part in path.relative_to(ROOT).with_suffix("").parts)
    names = [
        n.name for n in ast.walk(tree(path)) if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert not [name for name in names if BANNED_NAMES.search(name) or name.endswith(("Manager", "Helper", "Util"))]


@pytest.mark.parametrize("path", [*PRODUCT, *BENCH], ids=IDS.get)
def test_what_is_held_has_a_noun(path: Path) -> None:
    """A local is named for what it holds (`rows`, `letter`), not for having been found, known or asked for."""
    assert not names_of_nothing(tree(path))


@pytest.mark.parametrize("name", sorted(NAMES_OF_NOTHING))
@pytest.mark.parametrize(
    "source",
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
def test_a_planted_name_of_nothing_is_refused(source: str, name: str) -> None:
    """Wherever a name can be bound: parameter, assignment, loop, comprehension, with, except, match."""
    assert names_of_nothing(ast.parse(source.replace("NAME", name)))


@pytest.mark.parametrize("source", ["class C:\n    known: int\n    said = 1", "g(known=1).asked", "def told(): ..."])
def test_what_others_call_it_is_left_alone(source: str) -> None:
    """Fields, keywords, attributes and functions are no locals."""
    assert not names_of_nothing(ast.parse(source))


def test_a_class_has_a_name_of_its_own() -> None:
    """Who searches for a public class finds one; what shares a name on purpose says why, and does share it."""
    shared = shared_class_names({IDS[path]: tree(path) for path in [*PRODUCT, *BENCH]})
    assert {name: files for name, files in shared.items() if name not in SHARED_CLASS_NAMES} == {}
    assert set(SHARED_CLASS_NAMES) <= set(shared), "a name that is no longer shared needs no reason"


def test_a_planted_class_of_the_same_name_is_refused() -> None:
    """In another file, within a class or a function too; a private one is its file's own affair."""
    modules = {"a.py": "class Letter: ...\nclass _Row: ...", "b.py": "class _Row: ...", "c.py": "class Batch: ..."}
    parsed = {path: ast.parse(source) for path, source in modules.items()}
    assert shared_class_names(parsed) == {}
    for source in ("class Letter: ...", "def f():\n    class Letter: ...", "class Form:\n    class Letter: ..."):
        assert shared_class_names({**parsed, "planted.py": ast.parse(source)}) == {"Letter": ["a.py", "planted.py"]}


@pytest.mark.parametrize("path", PRODUCT, ids=IDS.get)
def test_errors_are_raised_or_handled(path: Path) -> None:
    """Only the loop and the gateway's outermost handler catch everything; nobody relies on assert, which -O removes."""
    for node in ast.walk(tree(path)):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise Invariant(...) instead of assert"
        if isinstance(node, ast.ExceptHandler) and IDS[path] not in BROAD_EXCEPT_ALLOWED:
            if isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None:
                continue  # tidies up and passes it on
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught not in ("Exception", "BaseException", "everything"), f"line {node.lineno} catches {caught}"


@pytest.mark.parametrize("path", PRODUCT, ids=IDS.get)
def test_nothing_is_left_for_later(path: Path) -> None:
    """No marker of unfinished work, and no path that exists on one machine only."""
    source = path.read_text()
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", source)
    assert not re.search(r"[\"'/](home|root|work)/[a-z]", source)


@pytest.mark.parametrize("path", [p for p in TESTS if p.name.startswith("test_")], ids=IDS.get)
def test_every_test_states_its_promise(path: Path) -> None:
    """A test's docstring says what it proves, so that whoever breaks it knows what they broke."""
    silent = [f.name for f in functions(path) if f.name.startswith("test_") and not ast.get_docstring(f)]
    assert not silent


@pytest.mark.parametrize("path", TESTS, ids=IDS.get)
def test_tests_wait_on_signals(path: Path) -> None:
    """No sleep hides a race, and no patching hides that a fake is not like the real thing."""
    for node in ast.walk(tree(path)):
        if IDS[path] not in (WAITING, BEATING) and isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            waits = called in ("time.sleep", "anyio.sleep", "asyncio.sleep", "trio.sleep", "sleep")
            # sleep(0) lets another task run, sleep_forever waits for a cancellation: neither waits for time to pass.
            assert not waits or ast.unparse(node.args[0]) == "0", f"line {node.lineno}: {called}"
            assert not called.endswith(("monkeypatch.setattr", "mock.patch")), f"line {node.lineno}: {called}"


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
    imported = {node.module or "" for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")]
