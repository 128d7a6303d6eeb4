"""What may stand in a log, a dead letter or a reason: nobody's name reaches one by way of an exception's text."""

import ast
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = {"QerdsError", "BridgeError"}  # the texts of these trees are written
APART = (ROOT / "pipeline" / "client", ROOT / "pipeline" / "evidence" / "verification")  # programs of others: terminals
PRODUCT = [
    path
    for room in ("pipeline", "gateway", "hsm_bridge")
    for path in sorted((ROOT / room).rglob("*.py"))
    if not any(path.is_relative_to(folder) for folder in APART)
]
DECIDES = ROOT / "pipeline" / "process" / "failure.py"
SAFE_CALLS = {"reason_of", "text_of", "_word"}
OUTCOMES = {"Retry", "Bury"}
WORDS = {
    *("delivery", "evidence", "key_id", "seal_key_id", "object", "label", "epoch", "_epoch", "_delivery"),  # ids
    *("kind", "use", "op", "stage", "caller", "role", "cause", "phase"),  # kinds: words of ours
    *("code", "status", "sqlstate", "strerror"),  # codes; strerror is the system's own table
    *("part", "number", "rescues", "seconds", "_deadline_seconds", "_guard_seconds", "port", "moment"),  # counts, times
    *("path", "why"),  # files; reasons, which are checked where they are made
}
LOOKED_AT = {
    ("gateway/sender/openapi.py", "', '.join(twice)"),  # of our own files, likewise below
    ("gateway/sender/openapi.py", "error.detail"),
    ("gateway/sender/openapi.py", "file"),
    ("gateway/sender/openapi.py", "file.name"),
    ("hsm_bridge/audit.py", "*error.args"),  # texts of formats/key_record.py: numbers of lines
    ("hsm_bridge/audit.py", "old.name"),  # a file
    ("hsm_bridge/audit.py", "old[-1].name"),
    ("hsm_bridge/audit.py", "path.name"),
    ("hsm_bridge/token/device.py", "', '.join(wrong)"),  # names of attributes
    ("hsm_bridge/token/device.py", "self._general_errors >= GENERAL_ERRORS_MAX"),
    ("hsm_bridge/token/device.py", "so"),  # a file
    ("hsm_bridge/token/keyring.py", "path.name"),
    ("pipeline/__main__.py", "'|'.join(PROCESSES)"),
    ("pipeline/actors/loop.py", "m.subject"),  # the id of what the message is about
    ("pipeline/adapters/identity_http.py", "name"),  # of a field that we ask for
    ("pipeline/adapters/objects_s3.py", "where"),  # bucket and address, from the configuration
    ("pipeline/adapters/postgres/migrate.py", "OTHERS.format(row['name'], migration.name)"),
    ("pipeline/adapters/postgres/migrate.py", "migration.name"),
    ("pipeline/adapters/postgres/migrate.py", "path.name"),
    ("pipeline/adapters/postgres/migrate.py", "row['name']"),
    ("pipeline/adapters/postgres/migrate.py", "rows[-1]['name']"),
    ("pipeline/formats/checked_table.py", "_join(at, name)"),  # keys of the configuration, likewise below
    ("pipeline/formats/checked_table.py", "at"),
    ("pipeline/formats/checked_table.py", "hint"),
    ("pipeline/formats/checked_table.py", "words(field.type)"),  # what a value must be
    ("pipeline/formats/checked_table.py", "words(kind)"),
    ("pipeline/formats/checked_table.py", "words(names)"),
    ("pipeline/stages/seal.py", "error"),  # RowDiffers: names of fields
    ("pipeline/stages/timestamp.py", "error"),
    ("pipeline/formats/identity_providers.py", "at"),
    ("pipeline/formats/identity_providers.py", "error"),  # of this file
    ("pipeline/formats/identity_providers.py", "self.kind"),  # one of ours
    ("pipeline/formats/identity_providers.py", "', '.join(needed)"),
    ("pipeline/formats/identity_providers.py", "key"),
    ("pipeline/formats/configuration.py", "_place(error)"),  # line and column
    ("pipeline/formats/configuration.py", "key"),
    ("pipeline/formats/configuration.py", "what"),  # a value must be, as its table says
    ("pipeline/formats/database_address.py", "self.ca_file"),
    ("pipeline/formats/database_address.py", "key"),  # its place in the list
    ("pipeline/process/first_host.py", "', '.join(reasons)"),  # hosts, and kinds of errors
    ("pipeline/formats/configuration.py", "name"),
    ("pipeline/notices/relaying.py", "str(answer)"),  # cause, phase, code, status in digits
    ("pipeline/operate/__main__.py", "'|'.join(VERBS)"),
    ("pipeline/operate/command.py", "error"),  # Refused: what somebody typed is told back at the same terminal
    ("pipeline/operate/ledger.py", "line"),  # a count and seconds
    ("pipeline/operate/ledger.py", "progress"),
    ("pipeline/ports/mailbox.py", "ahead"),  # ids
    ("pipeline/ports/mailbox.py", "behind"),
    ("pipeline/process/escapes.py", "[place]"),
    ("pipeline/process/escapes.py", "record.levelname"),
    ("pipeline/process/escapes.py", "record.name"),  # a logger
    ("pipeline/process/life.py", "error"),  # of a kind that the process names as its own
    ("pipeline/process/life.py", "name"),  # of the process
    ("pipeline/process/recorder.py", "behind(error)"),
    ("pipeline/process/recorder.py", "details"),
    ("pipeline/process/recorder.py", "where"),
    ("pipeline/retention/packages.py", "unsealed.about"),  # which package, by ids
    ("pipeline/retention/janitor.py", "done.refused"),  # counts
    ("pipeline/retention/janitor.py", "done.strays"),
    ("pipeline/retention/janitor.py", "counts"),
}


@dataclass(frozen=True, slots=True)
class Module:
    """What is asked of one file; its tree is not kept: a heap of trees slows every collection of garbage."""

    written: list[tuple[str, str | None]]  # what texts are put together from, and what is wrong with it
    imported: set[str | None]
    called: set[str]  # the last names


def last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ast.unparse(node).rpartition(".")[2]


@cache
def written_classes() -> Set[str]:
    """Names of all classes below the roots."""
    sources = [path.read_text() for path in PRODUCT]
    bases = {
        node.name: {last_name(base) for base in node.bases}
        for source in sources
        if "class " in source
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    }
    found = set(ROOTS)
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def sinks(tree: ast.AST) -> Iterator[tuple[ast.expr, Set[str]]]:
    """Each expression that makes a written text, with the names of caught exceptions whose text is ours."""
    waiting: list[tuple[ast.AST, Set[str]]] = [(tree, frozenset())]
    for node, ours in waiting:
        if isinstance(node, ast.ExceptHandler) and node.name and node.type is not None:
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            is_ours = all(last_name(kind) in written_classes() for kind in kinds)
            ours = ours | {node.name} if is_ours else ours - {node.name}
        if isinstance(node, ast.Call):
            yield from ((text, ours) for text in texts(node))
        waiting += [(child, ours) for child in ast.iter_child_nodes(node)]


def texts(call: ast.Call) -> list[ast.expr]:
    """The arguments of this call that will be written."""
    name = last_name(call.func)
    whole = ast.unparse(call.func) if name == "write" else name
    named = [keyword.value for keyword in call.keywords]
    if name in written_classes() or name == "_lost" or name == "note" or whole == "sys.stderr.write":
        return [*call.args, *named]
    if name in OUTCOMES:
        return [*call.args[1:2], *[k.value for k in call.keywords if k.arg == "why"]]
    if name == "print" and any(k.arg == "file" for k in call.keywords):
        return list(call.args)
    return []


def parts(text: ast.expr) -> Iterator[ast.expr]:
    """What a text is put together from, literals left out."""
    if isinstance(text, ast.Constant):
        return
    if isinstance(text, ast.JoinedStr):
        for value in text.values:
            if isinstance(value, ast.FormattedValue):
                yield from parts(value.value)
    elif isinstance(text, ast.IfExp):
        yield from [*parts(text.body), *parts(text.orelse)]
    elif isinstance(text, ast.BoolOp):
        for value in text.values:
            yield from parts(value)
    else:
        yield text


def is_safe(part: ast.expr, ours: Set[str], name: str) -> bool:
    """Whether this is an id, a kind, a count, a code, a type, a place, or the text of an exception of ours."""
    whole = ast.unparse(part)
    if (name, whole) in LOOKED_AT:
        return True
    if isinstance(part, ast.Call):
        called = ast.unparse(part.func)
        is_text = called == "str" and ast.unparse(part.args[0]) in ours
        return is_text or called == "len" or last_name(part.func) in SAFE_CALLS
    return (
        whole in ours
        or whole.isupper()
        or re.fullmatch(r"type\(\w+\).__name__", whole) is not None
        or last_name(part) in WORDS
    )


def written(tree: ast.AST, name: str) -> list[tuple[str, str | None]]:
    """All that written texts are put together from; with the line, where it may not stand there."""
    return [
        (ast.unparse(part), None if is_safe(part, ours, name) else f"line {part.lineno}: {ast.unparse(part)}")
        for text, ours in sinks(tree)
        for part in parts(text)
    ]


def unsafe(tree: ast.AST, name: str) -> list[str]:
    return [wrong for _, wrong in written(tree, name) if wrong]


@pytest.fixture(scope="module")
def modules() -> Mapping[Path, Module]:
    """Every file, read once for all tests."""
    return {path: read(path) for path in PRODUCT}


def read(path: Path) -> Module:
    tree = ast.parse(path.read_text(), str(path))
    imported, called = set[str | None](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called.add(last_name(node.func))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imported |= {alias.name for alias in node.names}
            imported |= {node.module} if isinstance(node, ast.ImportFrom) else set()
    return Module(written(tree, str(path.relative_to(ROOT))), imported, called)


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_written_holds_ids_kinds_counts_and_codes(modules: Mapping[Path, Module], path: Path) -> None:
    """Texts of our errors, reasons of retries and dead letters, log lines: no value that was sent, no library's text.

    A new word for what may be written goes into WORDS or LOOKED_AT, by somebody who has seen that it cannot be a value.
    """
    assert [wrong for _, wrong in modules[path].written if wrong] == []


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_place_takes_an_exception_apart(modules: Mapping[Path, Module], path: Path) -> None:
    """Whoever formats a traceback writes every text in it, also of what the exception was raised from."""
    assert "traceback" not in modules[path].imported or path == DECIDES
    forbidden = {"print_exc", "print_exception", "format_exc", "format_exception", "exception"}
    assert not modules[path].called & forbidden


@pytest.mark.parametrize(
    "planted",
    [
        "raise Transient(str(error)) from error",
        'raise Transient(f"relay: {error}") from error',
        'raise Invariant(f"no such letter: {error.args[0]!r}")',
        'raise ConfigInvalid(f"cannot read {error.doc}")',
        "outcomes.append(Retry(message, str(error)))",
        'outcomes.append(Bury(message, f"denied: {answer.code} {answer.detail}"))',
        "outcomes.append(Bury(message, why=str(error)))",
        'recorder.note("refused", recipient=notice.recipient_email)',
        'recorder.note("refused", why=str(error))',
        'print(f"cannot: {error}", file=sys.stderr)',
        'sys.stderr.write(f"cannot: {error}")',
        'raise self._lost(f"PostgreSQL: {error.detail}")',
    ],
)
def test_a_text_that_quotes_is_found(planted: str) -> None:
    """The check is not merely green: each way in which a library's text or a value would be written is seen."""
    code = f"try:\n    work()\nexcept ValueError as error:\n    {planted}\n"
    assert len(unsafe(ast.parse(code), "pipeline/planted.py")) == 1


def test_what_was_looked_at_is_still_there(modules: Mapping[Path, Module]) -> None:
    """An exception to the rule that nobody needs would let in something else under its name."""
    there = {(str(path.relative_to(ROOT)), part) for path, module in modules.items() for part, _ in module.written}
    assert there >= LOOKED_AT


def test_the_text_of_ours_may_be_passed_on() -> None:
    """It holds nothing else, and a retry without its reason would tell nobody anything."""
    code = "try:\n    work()\nexcept Transient as error:\n    told = Retry(message, str(error))\n"
    assert unsafe(ast.parse(code), "pipeline/planted.py") == []
    both = code.replace("except Transient", "except (Transient, ValueError)")
    assert len(unsafe(ast.parse(both), "pipeline/planted.py")) == 1
