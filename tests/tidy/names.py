"""Names of things of this repository in what people read, and which of them lead nowhere.

Owns       what is read of each kind of file (`sayings`), what is a name there, and what it may lead to (`dangling`)
Names      file      `actors/loop.py`, `names.py`, `tests/db`: a path from the top or the end of one; a bare name lies
                     beside the speaker, or in a folder that the same text names. One that is no module may lie
                     anywhere, if it has one place only
           page      `docs/operate.md#alerts`, `docs/operate.md, "Alerts"`, and in a page `[text](operate.md)`
           rule      a rule in quotes without its page leads nowhere: name the page and the heading that tell it
           module    `pipeline.actors.loop.run`, `python -m hsm_bridge`; `gateway.port` may be an option, too. A module
                     names a class from the top (`pipeline.ports.rows.Facts`), or as its own code may write it
           number    `ADR 7`, `migration 12`, `0012`
           verb      `./qerds up`
Rules      everything here is pure over a mapping from path to text
           what a run writes (report.json, STATE/lock) is not judged
           a migration that was applied never changes again, comments included: of it only numbers are judged
Elsewhere  reading the tree, and the tests
"""

import ast
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, cached_property

EVERYWHERE = frozenset({"__init__.py", "report.md"})  # one in each package; one in each folder of results of the bench
NOT_OURS = frozenset({"pip", "venv", "pytest", "zipapp"})  # what `python -m` runs besides
PAGES = (".md", ".yaml")
WHOLE = ("Procfile", "qerds")  # their commands name modules, their texts verbs
HASHED = ("pyproject.toml", ".ci/run")
MIGRATIONS, ADRS = "schemas/migrations/", "docs/adr/"

START = r"(?<![\w./:@<{$*-])"  # not within a longer path, an address, a variable
PATH = re.compile(START + r"[\w.*-]+(?:/[\w.*-]+)+")
SOURCE = re.compile(r"\.(?:py|sql|md|lock|yaml)$")
BARE = re.compile(START + r"[\w*-]+(?:\.[\w-]+)*\.(?:py|sql|md|lock|yaml)\b(?![/(])")
ANCHOR = re.compile(r"([\w./-]+\.md)#([\w-]+)")
TITLE = re.compile(r"([\w./-]+\.md)[`)\]]*,\s+\"([^\"]+)\"")
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")
RULE = re.compile(r"\brules?,?\s+\"[^\"]+\"|\b(?:style|rules) page\b")
DOTTED = re.compile(START + r"[a-z_]+(?:\.[A-Za-z_]\w*)+(?!\w*[/@])")
CLASS = re.compile(r"[a-z_]\w*(?:\.[a-z_]\w*)*\.[A-Z]\w*[a-z]\w*(?:\.\w+)*")  # with where it is
RUN = re.compile(r"\bpython3? -m ([\w.]+)")
NUMBERED = re.compile(
    r"\b(?:ADRs?[ -]?|adr/)(?P<adr>\d+)\b|"
    r"\b[Mm]igrations?[ /](?P<migration>\d+)\b|" + START + r"(?P<either>00\d\d)(?:_\w+)?\b(?!\.\w)"
)
VERB = re.compile(r"(?:\./|`)qerds(?:\s+--(?:no-apt|(?:state|config)\s+\S+))*\s+([a-z][a-z-]*)")
VERB_CASE = re.compile(r"^    ([a-z][a-z |-]*)\) module=", re.MULTILINE)
MESSAGE = re.compile(r"\./qerds |docs/")
STRING_OR_COMMENT = re.compile(  # finds what the tokenizer finds, in far less time
    r"""\"{3}(?:[^"\\]|\\.|"(?!""))*"{3}|'{3}(?:[^'\\]|\\.|'(?!''))*'{3}"""
    r"""|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|#(?P<comment>[^\n]*)""",
    re.DOTALL,
)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Said:
    """One comment, docstring, message or paragraph, as it stands from this line of this file."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """What is asked of one Python file; its tree is not kept: a heap of trees slows every collection of garbage."""

    docstrings: list[tuple[int, str]]  # with their lines, likewise below; of every module, class and function
    messages: list[tuple[int, str]]  # other texts that tell a person what to type or to read
    names: list[str]  # that it binds


@dataclass(frozen=True, slots=True)
class Nowhere:
    """A name that leads nowhere."""

    path: str
    line: int
    kind: str
    name: str


@dataclass(frozen=True)
class Repository:
    """What a name may lead to; `texts` maps each path from the top to what the file holds (nothing, if unreadable)."""

    texts: Mapping[str, str]

    @cached_property
    def places(self) -> frozenset[str]:
        """Every file and every folder."""
        folders = {path[:at] for path in self.texts for at, sign in enumerate(path) if sign == "/"}
        return frozenset(self.texts) | folders

    @cached_property
    def ends(self) -> frozenset[str]:
        """Every end of a path that may stand for it: `loop.py` and `actors/loop.py` of `pipeline/actors/loop.py`."""
        return frozenset(path[at + 1 :] for path in self.texts for at, sign in enumerate(path) if sign == "/")

    @cached_property
    def homes(self) -> dict[str, list[str]]:
        """The folders in which there is a file of this name."""
        found: dict[str, list[str]] = {}
        for path in self.texts:
            found.setdefault(posixpath.basename(path), []).append(posixpath.dirname(path))
        return found

    @cached_property
    def tops(self) -> frozenset[str]:
        return frozenset(path.split("/")[0] for path in self.texts if "/" in path)

    @cached_property
    def modules(self) -> dict[str, str]:
        """The path of each module, by its dotted name."""
        paths = [path for path in self.texts if path.endswith(".py")]
        return {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in paths}

    @cached_property
    def packages(self) -> frozenset[str]:
        return frozenset(name[:at] for name in self.modules for at, sign in enumerate(name) if sign == ".")

    @cached_property
    def defined(self) -> frozenset[str]:
        """All that our modules define or import, and what their classes do, by the whole dotted name."""
        return frozenset(f"{name}.{n}" for name, path in self.modules.items() for n in parsed(self.texts[path]).names)

    @cached_property
    def options(self) -> frozenset[str]:
        """`Section.key` of the configuration: a field of a class that is named for its section."""
        names = (".".join(name.split(".")[-2:]) for name in self.defined if name.count(".") > 2)
        return frozenset(name.replace("Settings.", ".") for name in names)

    @cached_property
    def verbs(self) -> frozenset[str]:
        cases = VERB_CASE.findall(self.texts.get("qerds", ""))
        return frozenset(verb.strip() for case in cases for verb in case.split("|"))

    @cached_property
    def numbers(self) -> dict[str, frozenset[int]]:
        """Of decisions, of migrations, and of either."""
        adr, migration = (
            frozenset(int(found[1]) for path in self.texts if (found := re.match(rf"{folder}(\d{{4}})", path)))
            for folder in (ADRS, MIGRATIONS)
        )
        return {"adr": adr, "migration": migration, "either": adr | migration}


# ---------------------------------------------------------------- what is said
def sayings(path: str, text: str) -> Iterator[Said]:
    """All that a person reads in this file; nothing of a file whose words are not ours (locks, vectors, templates)."""
    if path.endswith(".py"):
        yield from comments(path, text)
        yield from docstrings(path, text)
    elif path.endswith(".sql"):
        lines = enumerate(text.splitlines(), start=1)
        yield from joined(path, [(number, line.partition("--")[2]) for number, line in lines if "--" in line])
    elif path in HASHED:
        lines = enumerate(text.splitlines(), start=1)
        yield from joined(path, [(number, line.partition("#")[2]) for number, line in lines if "#" in line])
    elif path in WHOLE or path.endswith(PAGES):
        lines = enumerate(text.splitlines(), start=1)
        yield from joined(path, [(number, line) for number, line in lines if line.strip()])


def joined(path: str, lines: list[tuple[int, str]]) -> Iterator[Said]:
    """Lines that follow each other are one text: what is named in it may go over the end of a line."""
    start, block = 0, list[str]()
    for number, line in lines:
        if block and number != start + len(block):
            yield Said(path, start, "\n".join(block))
            block = []
        if not block:
            start = number
        block.append(line)
    if block:
        yield Said(path, start, "\n".join(block))


def comments(path: str, text: str) -> Iterator[Said]:
    found, line, seen = list[tuple[int, str]](), 1, 0
    for token in STRING_OR_COMMENT.finditer(text) if "#" in text else ():
        if token["comment"] is not None:
            line, seen = line + text.count("\n", seen, token.start()), token.start()
            found.append((line, token["comment"]))
    yield from joined(path, found)


def docstrings(path: str, text: str) -> Iterator[Said]:
    """Of every module, class and function; and of product code what it tells a person to type or to read."""
    source = parsed(text)
    found = source.docstrings + ([] if path.startswith("tests/") else source.messages)
    yield from (Said(path, line, words) for line, words in found)


@cache
def parsed(text: str) -> Source:
    """Each file is asked twice, for its words and for the names that it binds, and parsed once."""
    tree = ast.parse(text)
    found = [constant for node in definitions(tree) for constant in docstring(node)]
    others = list[ast.Constant]()
    if MESSAGE.search(text):
        constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in found]
        others = [node for node in constants if MESSAGE.search(str(node.value))]
    told, messages = ([(node.lineno, str(node.value)) for node in nodes] for nodes in (found, others))
    return Source(told, messages, list(names_in(tree)))


def docstring(node: Definition) -> list[ast.Constant]:
    first = node.body[0] if node.body else None
    value = first.value if isinstance(first, ast.Expr) else None
    return [value] if isinstance(value, ast.Constant) and isinstance(value.value, str) else []


def definitions(tree: Definition) -> Iterator[Definition]:
    """The module, and what is defined at its top, in its classes and in its functions."""
    yield tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from definitions(node)


def names_in(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    """The names that this module or class binds, those of its classes with the class before them."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in names_in(node))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


# ---------------------------------------------------------------- where it leads
def dangling(said: Said, repository: Repository) -> list[Nowhere]:
    """Every name in this text that leads nowhere, in order."""
    kinds = {"number": lost_numbers} if said.path.startswith(MIGRATIONS) else KINDS
    found = [
        Nowhere(said.path, said.line + said.text.count("\n", 0, at), kind, name)
        for kind, lost in kinds.items()
        for at, name in lost(said, repository)
    ]
    return sorted(found, key=lambda nowhere: (nowhere.line, nowhere.name))


Search = Callable[[Said, Repository], Iterator[tuple[int, str]]]


def lost_files(said: Said, repository: Repository) -> Iterator[tuple[int, str]]:
    for found in PATH.finditer(said.text):
        name = found[0].rstrip(".")
        if is_judged(name, repository) and not path_leads(name, said.path, repository):
            yield found.start(), name
    for found in BARE.finditer(said.text):
        if not bare_leads(found[0], said, repository):
            yield found.start(), found[0]


def is_judged(path: str, repository: Repository) -> bool:
    """A path of ours by its beginning or by its end; others are addresses, media types, measures, what a run writes."""
    first = path.split("/")[0]
    return first in repository.tops or first == ".." or (SOURCE.search(path) is not None and not first.startswith("."))


def path_leads(path: str, speaker: str, repository: Repository) -> bool:
    """From the top, from the speaker's folder, or the end of some path. After NNNN any name will do."""
    path = path.partition("/NNNN")[0]
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(speaker), path))
    if "*" in path:
        return any(fnmatch(place, path) or fnmatch(place, f"*/{path}") for place in repository.places)
    if path in repository.places or beside in repository.places:
        return True
    return SOURCE.search(path) is not None and path in repository.ends


def bare_leads(name: str, said: Said, repository: Repository) -> bool:
    if name in EVERYWHERE or posixpath.join(posixpath.dirname(said.path), name) in repository.texts:
        return True
    names = [other for other in repository.homes if fnmatch(other, name)] if "*" in name else [name]
    homes = [home for other in names for home in repository.homes.get(other, [])]
    has_one_place = len(homes) == 1 and not name.endswith(".py")
    return has_one_place or ("*" in name and bool(homes)) or any(names_folder(said.text, home) for home in homes)


def names_folder(text: str, folder: str) -> bool:
    """By itself, or as that of a file."""
    return re.search(rf"(?<![\w/]){re.escape(folder)}(?:/[\w.*-]+)?/?(?![\w/])", text) is not None


def lost_pages(said: Said, repository: Repository) -> Iterator[tuple[int, str]]:
    for found in ANCHOR.finditer(said.text):
        if found[2] not in {slug(title) for title in titles(found[1], said.path, repository)}:
            yield found.start(), found[0]
    for found in TITLE.finditer(said.text):
        if " ".join(found[2].split()) not in titles(found[1], said.path, repository):
            yield found.start(), f'{found[1]}, "{found[2]}"'
    for found in LINK.finditer(said.text) if said.path.endswith(".md") else ():
        if posixpath.normpath(posixpath.join(posixpath.dirname(said.path), found[1])) not in repository.places:
            yield found.start(), found[0]


def titles(page: str, speaker: str, repository: Repository) -> list[str]:
    """The headings of a page, named from the top or from the speaker's folder; none when there is no such page."""
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(speaker), page))
    text = repository.texts.get(page) or repository.texts.get(beside) or ""
    return [title.strip() for title in HEADING.findall(text)]


def slug(title: str) -> str:
    """The anchor that a page's renderer gives to a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def lost_rules(said: Said, _repository: Repository) -> Iterator[tuple[int, str]]:
    yield from ((found.start(), found[0]) for found in RULE.finditer(said.text))


def lost_modules(said: Said, repository: Repository) -> Iterator[tuple[int, str]]:
    for found in DOTTED.finditer(said.text):
        root = found[0].split(".")[0]
        is_ours = root in repository.packages
        if not (module_leads(found[0], repository) if is_ours else class_leads(found[0], said.path, repository)):
            yield found.start(), found[0]
    for found in RUN.finditer(said.text):
        name = found[1].rstrip(".")
        if name not in NOT_OURS and name not in repository.modules:
            yield found.start(), name


def module_leads(name: str, repository: Repository) -> bool:
    section, _, key = name.partition(".")
    return (
        name in repository.modules
        or name in repository.packages
        or name in repository.defined
        or f"{section.capitalize()}.{key}" in repository.options
        or key in ("md", "sock")  # a page, which is judged as a file; a socket
    )


def class_leads(name: str, speaker: str, repository: Repository) -> bool:
    """A class of a package that is not ours: where a module says it, that module has the first part of its name."""
    if not speaker.endswith(".py") or not CLASS.fullmatch(name):
        return True
    module = speaker.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"{module}.{name.split('.')[0]}" in repository.defined


def lost_numbers(said: Said, repository: Repository) -> Iterator[tuple[int, str]]:
    for found in NUMBERED.finditer(said.text):
        series = found.lastgroup or ""
        if int(found[series]) not in repository.numbers[series]:
            yield found.start(), found[0]


def lost_verbs(said: Said, repository: Repository) -> Iterator[tuple[int, str]]:
    yield from ((f.start(), f"./qerds {f[1]}") for f in VERB.finditer(said.text) if f[1] not in repository.verbs)


KINDS: dict[str, Search] = {
    "file": lost_files,
    "page": lost_pages,
    "rule": lost_rules,
    "module": lost_modules,
    "number": lost_numbers,
    "verb": lost_verbs,
}
