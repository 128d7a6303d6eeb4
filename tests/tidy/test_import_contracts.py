"""The import contracts themselves: each catches what it is there for.

A forbidden import is added to the graph that import-linter judges, one at a time, and some contract must refuse it. A
few are written into files of a copy, too, where the command must find the same contracts broken.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence, Set
from copy import deepcopy
from pathlib import Path

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract
from importlinter.domain.contract import Contract

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("pipeline", "gateway", "hsm_bridge", "deploy")
TYPES: Mapping[str, type[Contract]] = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "independence": IndependenceContract,
    "layers": LayersContract,
    "protected": ProtectedContract,
}

# A row may name a room for all that lies in it. Rows of rooms that are still to be built come with them.
VIOLATIONS: Mapping[str, Sequence[tuple[str, str]]] = {
    "each storey of the pipeline builds on those below": [
        ("pipeline.errors", "pipeline.process"),
        ("pipeline.formats", "pipeline.content"),
        ("pipeline.formats", "pipeline.delivery"),
        ("pipeline.formats", "pipeline.process"),
        ("pipeline.content", "pipeline.evidence"),
        ("pipeline.delivery", "pipeline.evidence"),
        ("pipeline.process", "pipeline.evidence"),
        ("pipeline.evidence", "pipeline.ports"),
        ("pipeline.ports", "pipeline.actors"),
        ("pipeline.actors", "pipeline.notices"),
        ("pipeline.actors", "pipeline.deposits"),
        ("pipeline.actors", "pipeline.retention"),
        ("pipeline.actors", "pipeline.feed"),
        ("pipeline.actors", "pipeline.measures"),
        ("pipeline.notices", "pipeline.stores"),
        ("pipeline.deposits", "pipeline.stores"),
        ("pipeline.retention", "pipeline.stores"),
        ("pipeline.feed", "pipeline.stores"),
        ("pipeline.measures", "pipeline.stores"),
        ("pipeline.stores", "pipeline.intake"),
        ("pipeline.stores", "pipeline.exports"),
        ("pipeline.intake", "pipeline.adapters"),
        ("pipeline.exports", "pipeline.adapters"),
        ("pipeline.adapters", "pipeline.stages"),
        ("pipeline.adapters", "pipeline.connect"),
        ("pipeline.stages", "pipeline.operate"),
        ("pipeline.connect", "pipeline.operate"),
        ("pipeline.operate", "pipeline.__main__"),
    ],
    "nor is there a circle of files within a room": [
        ("pipeline.delivery.states", "pipeline.delivery.routes"),
        ("pipeline.feed.payload", "pipeline.feed.attempts"),
        ("gateway.pages.language", "gateway.pages.rendering"),
        ("hsm_bridge.token.device", "hsm_bridge.token.keyring"),
    ],
    "nor is a storey skipped upwards": [
        ("pipeline.formats", "pipeline.evidence"),
        ("pipeline.formats", "deploy.local.settings"),
        ("pipeline.delivery", "pipeline.stores"),
        ("pipeline.delivery", "pipeline.intake"),
        ("pipeline.evidence", "pipeline.intake"),
        ("pipeline.evidence", "pipeline.adapters"),
        ("pipeline.ports", "pipeline.stores"),
        ("pipeline.ports", "pipeline.adapters"),
        ("pipeline.actors", "pipeline.stores"),
        ("pipeline.actors", "pipeline.stages"),
        ("pipeline.intake", "pipeline.connect"),
        ("pipeline.adapters", "pipeline.operate"),
        ("pipeline.stages", "pipeline.__main__"),
    ],
    "formats, process and evidence stay small": [
        ("pipeline.formats", "random"),
        ("pipeline.content", "anyio"),
        ("pipeline.delivery", "time"),
        ("pipeline.process", "pipeline.formats"),
        ("pipeline.process", "pipeline.delivery"),
        ("pipeline.process", "asyncpg"),
        ("pipeline.evidence", "pipeline.formats.configuration"),
        ("pipeline.evidence", "pipeline.process"),
        ("pipeline.evidence", "hsm_bridge.wire"),
        ("pipeline.evidence", "time"),
        ("pipeline.evidence", "random"),
        ("pipeline.evidence", "secrets"),
        ("pipeline.evidence", "socket"),
        ("pipeline.evidence", "anyio"),
        ("pipeline.evidence", "httpx"),
    ],
    "stages know neither each other nor the outside": [
        ("pipeline.stages.seal", "pipeline.stages.encrypt"),
        ("pipeline.stages.notify", "pipeline.stages.expire"),
        ("pipeline.stages.archive", "pipeline.stages.webhook"),
        ("pipeline.stages.seal", "pipeline.connect"),
        ("pipeline.stages.seal", "pipeline.adapters.objects"),
        ("pipeline.stages.seal", "hsm_bridge.client"),
        ("pipeline.stages.archive", "gateway.edge"),
        ("pipeline.actors.loop", "pipeline.adapters.clock"),
        ("pipeline.actors.loop", "hsm_bridge.client"),
        ("pipeline.connect", "pipeline.stages.seal"),
        ("pipeline.operate", "pipeline.stages.seal"),
        ("gateway.edge", "pipeline.stages.seal"),
    ],
    "adapters are reached through connect": [
        ("pipeline.operate", "pipeline.adapters.objects"),
        ("pipeline.operate", "pipeline.actors.loop"),
        ("pipeline.__main__", "pipeline.adapters.clock"),
        ("gateway.app", "pipeline.adapters.objects"),
        ("gateway.sender", "pipeline.adapters.postgres.senders"),
        ("gateway.app", "pipeline.actors.loop"),
        ("deploy.local.zygote", "pipeline.adapters.bridge"),
        ("deploy.local.up", "pipeline.adapters.postgres.migrate"),
    ],
    "the client is a program of its own": [
        ("pipeline.client", "pipeline.adapters.objects"),
        ("pipeline.client", "pipeline.errors"),
        ("pipeline.client", "pipeline.formats"),
        ("pipeline.client", "pipeline.intake"),
        ("pipeline.client", "gateway.problems"),
        ("pipeline.client", "deploy.local.layout"),
        ("pipeline.operate", "pipeline.client.api"),
        ("gateway.sender", "pipeline.client.api"),
    ],
    "an installation sees configuration, client and process": [
        ("deploy.local.up", "pipeline.operate"),
        ("deploy.local.demo", "pipeline.evidence"),
        ("deploy.local.zygote", "pipeline.stages.seal"),
        ("deploy.local.zygote", "pipeline.connect"),
        ("deploy.local.zygote", "gateway.app"),
        ("deploy.local.softhsm", "hsm_bridge.token"),
        ("pipeline.stages.seal", "deploy.local.layout"),
        ("pipeline.connect", "deploy.local.settings"),
        ("pipeline.formats.configuration", "deploy.local.settings"),
        ("gateway.app", "deploy.local.layout"),
        ("hsm_bridge.publication", "deploy.local.settings"),
    ],
    "faces of the gateway are independent": [
        ("gateway.sender", "gateway.portal"),
        ("gateway.portal", "gateway.sender"),
        ("gateway.health", "gateway.sender"),
        ("gateway.health", "gateway.portal"),
        ("gateway.identity", "gateway.verify"),
        ("gateway.verify", "gateway.identity"),
    ],
    "nothing below sees a face": [
        ("pipeline.adapters", "gateway.edge"),
        ("pipeline.stores", "gateway.pages"),
        ("pipeline.intake", "gateway.problems"),
        ("pipeline.operate", "gateway.app"),
        ("hsm_bridge.service", "gateway.limits"),
    ],
    "each storey of the gateway builds on those below": [
        ("gateway.app", "gateway.__main__"),
        ("gateway.faces", "gateway.app"),
        ("gateway.sender", "gateway.faces"),
        ("gateway.sender", "gateway.portal"),
        ("gateway.portal", "gateway.sender"),
        ("gateway.health", "gateway.sender"),
        ("gateway.trust", "gateway.sender"),
        ("gateway.identity", "gateway.portal"),
        ("gateway.verify", "gateway.portal"),
        ("gateway.verify", "gateway.identity"),
        ("gateway.pages", "gateway.verify"),
        ("gateway.edge", "gateway.pages"),
        ("gateway.limits", "gateway.edge"),
        ("gateway.problems", "gateway.limits"),
        ("gateway.problem_codes", "gateway.problems"),
        ("gateway.app", "pipeline.connect"),
        ("gateway.sender", "pipeline.operate"),
    ],
    "each storey of the bridge builds on those below": [
        ("hsm_bridge.server", "hsm_bridge.__main__"),
        ("hsm_bridge.service", "hsm_bridge.server"),
        ("hsm_bridge.operations", "hsm_bridge.service"),
        ("hsm_bridge.token", "hsm_bridge.operations"),
        ("hsm_bridge.identity", "hsm_bridge.operations"),
        ("hsm_bridge.token", "hsm_bridge.identity"),
        ("hsm_bridge.identity", "hsm_bridge.token"),
        ("hsm_bridge.wire", "hsm_bridge.token"),
        ("hsm_bridge.clock", "hsm_bridge.token"),
        ("hsm_bridge.audit", "hsm_bridge.operations"),
        ("hsm_bridge.client", "hsm_bridge.clock"),
        ("hsm_bridge.client", "hsm_bridge.service"),
    ],
    "the bridge and the rest see of each other formats, process, client and wire": [
        ("hsm_bridge.publication", "pipeline.connect"),
        ("hsm_bridge.server", "pipeline.ports"),
        ("hsm_bridge.service", "pipeline.errors"),
        ("hsm_bridge.operations", "pipeline.evidence"),
        ("hsm_bridge.operations", "pipeline.content"),
        ("hsm_bridge.__main__", "pipeline.adapters.clock"),
        ("pipeline.adapters.bridge", "hsm_bridge.token"),
        ("pipeline.adapters.bridge", "hsm_bridge.service"),
        ("pipeline.ports", "hsm_bridge.client"),
        ("pipeline.connect", "hsm_bridge.token"),
        ("pipeline.operate", "hsm_bridge.operations"),
        ("pipeline.formats", "hsm_bridge.publication"),
        ("gateway.app", "hsm_bridge.client"),
        ("gateway.portal", "hsm_bridge.wire"),
        ("gateway.identity", "hsm_bridge.identity"),
    ],
    "one door per driver": [
        ("gateway.edge", "asyncpg"),
        ("pipeline.stores", "asyncpg"),
        ("pipeline.operate", "asyncpg"),
        ("pipeline.adapters.objects", "asyncpg"),
        ("hsm_bridge.service", "asyncpg"),
        ("hsm_bridge.operations", "pkcs11"),
        ("pipeline.adapters.bridge", "pkcs11"),
        ("deploy.local.softhsm", "pkcs11"),
        ("pipeline.stages.notify", "aiosmtplib"),
        ("pipeline.notices", "aiosmtplib"),
        ("pipeline.adapters.webhook_http", "aiosmtplib"),
        ("pipeline.stages.archive", "obstore"),
        ("gateway.sender", "obstore"),
        ("pipeline.adapters.objects", "obstore"),
        ("gateway.identity", "httpx"),
        ("pipeline.stages.webhook", "httpx"),
        ("pipeline.operate", "httpx"),
        ("hsm_bridge.client", "httpx"),
    ],
}
ROWS = [row for rows in VIOLATIONS.values() for row in rows]
PERMITTED = [
    ("pipeline.stages.seal", "pipeline.formats.tst"),
    ("pipeline.adapters.postgres.keys", "asyncpg"),
    ("pipeline.client.send", "httpx"),
    ("hsm_bridge.service", "pipeline.formats.context"),
    ("hsm_bridge.service", "pipeline.process"),
    ("gateway.portal", "gateway.identity"),
    ("deploy.local.zygote", "pipeline.process"),
]
# Also written into a file: one for each type of contract that can refuse a line.
WRITTEN = [
    ("pipeline.formats.tst", "pipeline.content.envelope"),
    ("pipeline.stages.seal", "pipeline.stages.encrypt"),
    ("gateway.edge", "asyncpg"),
    ("pipeline.operate.show", "pipeline.stages.seal"),
]
EMPTY = [
    ("pipeline.attic", "pipeline.errors"),
    ("pipeline.errors", "pipeline.attic"),
    ("pipeline.errors", "no_such_package"),
    ("pipeline.connect", "pipeline.formats.configuration"),
]


def each(rows: Sequence[tuple[str, str]]) -> pytest.MarkDecorator:
    """A test for each row, named for it."""
    return pytest.mark.parametrize(("importer", "imported"), rows, ids=[" -> ".join(row) for row in rows])


class ProvesNothing(LookupError):
    """A row names a module that is not there, or an import that is there already."""


class Walls:
    """The contracts of pyproject.toml, the graph of who imports whom, and the names of the contracts that it breaks."""

    def __init__(self) -> None:
        options = read_configuration(str(ROOT / "pyproject.toml"))
        session = options["session_options"]
        self._contracts = {
            one["name"]: TYPES[one["type"]](name=one["name"], session_options=session, contract_options=one)
            for one in options["contracts_options"]
        }
        self._graph = grimp.build_graph(
            *session["root_packages"],
            include_external_packages=session["include_external_packages"],
            cache_dir=None,
        )
        self.names = frozenset(self._contracts)
        self._likeliest = list(self._contracts)
        self._refusing: dict[tuple[str, str], str | None] = {}
        self.broken = self._broken(self._graph, self.names)

    def refusing(self, importer: str, imported: str, among: Set[str] | None = None) -> Set[str]:
        """The names of the contracts, among all or these, that this import breaks: one at least if it is forbidden.

        Raises ProvesNothing when there is no such module or package, and when the import is there already.
        """
        graph = deepcopy(self._graph)
        plant(graph, importer, imported)
        return self._broken(graph, self.names if among is None else among) - self.broken

    def one_refusing(self, importer: str, imported: str) -> str | None:
        """The name of a contract that this import breaks, if there is any; asked once, and no further than needed.

        Rows beside each other are alike: what refused the last one is asked first.
        """
        row = importer, imported
        if row not in self._refusing:
            graph = deepcopy(self._graph)
            plant(graph, importer, imported)
            broken = (name for name in self._likeliest if self._broken(graph, {name}) - self.broken)
            self._refusing[row] = name = next(broken, None)
            self._likeliest.sort(key=lambda other: other != name)
        return self._refusing[row]

    def refusing_room(self, room: str) -> Set[str]:
        """The names of the contracts that a room of this name breaks by being there."""
        graph = deepcopy(self._graph)
        graph.add_module(room)
        return self._broken(graph, self.names) - self.broken

    def _broken(self, graph: grimp.ImportGraph, names: Set[str]) -> Set[str]:
        # Each gets a copy of its own: a contract takes the imports that it ignores out of the graph that it is given.
        return {name for name in names if not self._contracts[name].check(deepcopy(graph), verbose=False).kept}


def plant(graph: grimp.ImportGraph, importer: str, imported: str) -> None:
    for module in (importer, imported):
        if module.split(".")[0] in ROOMS:
            exists = module in graph.modules
        else:  # external packages are in the graph once somebody imports them
            exists = importlib.util.find_spec(module) is not None
        if not exists:
            raise ProvesNothing(f"{importer} -> {imported}: there is no {module}; name what has taken its place")
    if imported not in graph.modules:
        graph.add_module(imported, is_squashed=True)
    if graph.direct_import_exists(importer=importer, imported=imported):
        raise ProvesNothing(f"{importer} -> {imported}: is imported today")
    graph.add_import(importer=importer, imported=imported)


def refusing_in_files(folder: Path) -> set[str]:
    """The names of the contracts that the command finds broken in this copy."""
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--cache-dir", str(folder / "cache")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert re.search(r"\d+ kept, \d+ broken", answer.stdout), answer.stdout + answer.stderr
    return set(re.findall(r"^(.+?) BROKEN", answer.stdout, re.MULTILINE))


@pytest.fixture(scope="module")
def walls() -> Walls:
    return Walls()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_tree_keeps_every_contract(walls: Walls, copy: Path) -> None:
    """As it is, the tree breaks none; so what the next tests see comes from their own line."""
    assert walls.broken == set()
    assert refusing_in_files(copy) == set()


@each(ROWS)
def test_a_forbidden_import_is_refused(walls: Walls, importer: str, imported: str) -> None:
    """One forbidden line breaks a contract, so the contracts are not merely green."""
    assert walls.one_refusing(importer, imported), f"nothing refuses {importer} -> {imported}"


def test_every_contract_refuses_something(walls: Walls) -> None:
    """No contract is idle: each refuses one row at least."""
    idle: Set[str] = walls.names - {walls.one_refusing(importer, imported) for importer, imported in ROWS}
    for importer, imported in ROWS:  # what others refused before
        if idle:
            idle -= walls.refusing(importer, imported, among=idle)
    assert idle == set()


@pytest.mark.parametrize("room", ["pipeline.attic", "gateway.attic", "hsm_bridge.attic"])
def test_a_room_without_a_storey_is_refused(walls: Walls, room: str) -> None:
    """Whoever builds a room says on which storey it lies; none is outside of the contracts by having been forgotten."""
    assert walls.refusing_room(room)


@each(PERMITTED)
def test_a_permitted_import_is_not(walls: Walls, importer: str, imported: str) -> None:
    """What may be imported breaks none, so the test before does not pass because everything is refused."""
    assert walls.refusing(importer, imported) == set()


@each(WRITTEN)
def test_the_command_says_the_same(walls: Walls, copy: Path, importer: str, imported: str) -> None:
    """The same import, written into the file, breaks exactly the contracts that it breaks in the graph."""
    path = copy.joinpath(*importer.split(".")).with_suffix(".py")
    before = path.read_text()
    path.write_text(f"{before}\nimport {imported}\n")
    try:
        assert refusing_in_files(copy) == walls.refusing(importer, imported)
    finally:
        path.write_text(before)


@each(EMPTY)
def test_a_row_that_proves_nothing_fails(walls: Walls, importer: str, imported: str) -> None:
    """When a module moves, its rows are renamed with it; none passes because what it names is gone."""
    with pytest.raises(ProvesNothing, match=re.escape(f"{importer} -> {imported}")):
        walls.refusing(importer, imported)
