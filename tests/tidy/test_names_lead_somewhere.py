"""No comment, docstring or page names a file, page, rule, module, number or verb that the repository does not have."""

from pathlib import Path

import pytest

from tests.tidy.names import Nowhere, Repository, Said, dangling, sayings

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("pipeline", "gateway", "hsm_bridge", "deploy", "bench", "schemas", "tests", "docs", ".ci")
BYTES_MAX = 1_000_000  # of a file of ours that somebody reads; vectors are longer

# A repository with one thing of each kind.
SMALL = {
    "README.md": "# Small\n",
    "Procfile": "seal: exec python -m pipeline\n",
    "qerds": "    up | down) module=deploy.up ;;\n    dead-letters) module=pipeline.__main__ ;;\n",
    "docs/operate.md": "# Operate\n\n## What goes, and when\n",
    "docs/adr/0003-keys.md": "# 0003 Keys\n",
    "schemas/migrations/0007_facts.sql": "-- Facts.\n",
    "pipeline/__init__.py": "",
    "pipeline/__main__.py": "",
    "pipeline/config.py": "class Gateway:\n    port: int\n",
    "pipeline/ports.py": "class Rows:\n    def read(self): ...\n\nLIMIT: int = 3\n",
    "pipeline/stages/seal.py": "from pipeline.ports import Rows\n",
    "pipeline/stages/ports.py": "",
    "deploy/up.py": "",
    "gateway/app.py": "",
    "tests/db/test_facts.py": "",
}

DANGLING = [
    ("file", "docs/x.md", "See `pipeline/sealing.py`.", "pipeline/sealing.py"),
    ("file", "docs/x.md", "The folder `pipeline/events`.", "pipeline/events"),
    ("file", "pipeline/x.py", '"""As stages/notify.py."""', "stages/notify.py"),
    ("file", "pipeline/x.py", '"""Elsewhere: the words (words.py)."""', "words.py"),
    ("file", "deploy/x.py", "# the shape is that of ports.py", "ports.py"),
    ("file", "pipeline/x.py", '"""Elsewhere: when it is sealed (seal.py)"""', "seal.py"),
    ("file", "docs/x.md", "All is put together in `app.py`.", "app.py"),
    ("file", "tests/db/test_x.py", '"""The schemas lie in ../shared/schemas."""', "../shared/schemas"),
    ("file", "tests/x.py", "# all of pipeline/stages/part*.py", "pipeline/stages/part*.py"),
    ("file", "pipeline/stages/x.sql", "SELECT 1; -- kept by tests/db/test_keys.py", "tests/db/test_keys.py"),
    ("file", "docs/x.md", "The numbers of interfaces.md.", "interfaces.md"),
    ("page", "pipeline/x.py", "# see docs/operate.md#what-stays", "docs/operate.md#what-stays"),
    ("page", "pipeline/x.py", '"""See docs/operate.md, "What stays"."""', 'docs/operate.md, "What stays"'),
    ("page", "docs/x.md", 'See [operate.md](operate.md), "What\nstays".', 'operate.md, "What\nstays"'),
    ("page", "docs/x.md", "[operate](docs/operate.md)", "](docs/operate.md"),
    ("rule", "pipeline/stages/x.py", '"""Source    RFC 3161; rules "Time"."""', 'rules "Time"'),
    ("rule", "tests/x.py", '# what each may (rules, "Evidence")', 'rules, "Evidence"'),
    ("rule", "tests/x.py", "# the numbers of the style page", "style page"),
    ("module", "docs/x.md", "`pipeline.sealing`", "pipeline.sealing"),
    ("module", "pipeline/x.py", '"""pipeline.ports.Keys in memory."""', "pipeline.ports.Keys"),
    ("module", "pipeline/x.py", '"""What pipeline.ports.Rows.write takes."""', "pipeline.ports.Rows.write"),
    ("module", "pipeline/x.py", '"""ports.Rows over a session."""', "ports.Rows"),
    ("module", "pipeline/x.py", '"""As sealing.ports.Keys.read."""', "sealing.ports.Keys.read"),
    ("module", "docs/x.md", "The option `gateway.host`.", "gateway.host"),
    ("module", "Procfile", "seal: exec python -m pipelines seal", "pipelines"),
    ("number", "docs/x.md", "ADR 7 says why.", "ADR 7"),
    ("number", "schemas/migrations/0008_x.sql", "-- As in 0006.", "0006"),
    ("number", "pipeline/x.py", '"""Since migration 12."""', "migration 12"),
    ("verb", "README.md", "    ./qerds --state DIR start", "./qerds start"),
    ("verb", "docs/x.md", "`qerds dead-letter list`", "./qerds dead-letter"),
    ("verb", "pipeline/x.py", 'print(f"go on with: ./qerds resend {name}")', "./qerds resend"),
]

FOUND = [
    ("docs/x.md", "`pipeline/stages/seal.py`, `ports.py`; [operate](operate.md#what-goes-and-when), `docs/adr/`."),
    ("docs/x.md", "`pipeline.ports.LIMIT`, `pipeline.stages.seal.Rows`, `pipeline.ports.Rows.read()`, `gateway.port`."),
    ("docs/x.md", "Of the roles ports.Rows is none; `0007_facts.sql`."),
    ("pipeline/x.py", 'import ssl\n\n\ndef x():\n    """Raises ssl.SSLError."""'),
    ("pipeline/x.py", '"""pipeline.ports.Rows, and ports.py with its metadata.KEY."""'),
    ("docs/x.md", "`./qerds up`, `./qerds --state DIR dead-letters list`, `./qerds`; `python -m pipeline seal`; 0003."),
    ("docs/x.md", "`application/json`, GET /v1/seal.py, https://host/ports.py, STATE/running.json, and/or, 1 MB/s."),
    (
        "pipeline/x.py",
        '"""As stages/seal.py; docs/operate.md, "What goes,\n and when"; schemas/migrations/NNNN_x.sql."""',
    ),
    ("pipeline/stages/x.py", "# ports.py, tests/db/test_*.py, ADR 3 and migration 0007"),
    ("pipeline/x.py", 'NAME = "pipeline/gone.py is no comment"'),
    ("schemas/migrations/0007_facts.sql", "-- Said when it was true: pipeline/gone.py."),
]


def lost(texts: dict[str, str], path: str) -> list[Nowhere]:
    """What leads nowhere in one file of these."""
    repository = Repository(texts)
    return [nowhere for said in sayings(path, texts[path]) for nowhere in dangling(said, repository)]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every file of ours, by its path from the top; of one that is no text, nothing."""
    top = [path for path in ROOT.iterdir() if path.is_file()]
    files = [*top, *(path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())]
    short = {path: path.stat().st_size <= BYTES_MAX for path in files if "__pycache__" not in path.parts}
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8", errors="replace") if readable else ""
        for path, readable in short.items()
    }


def test_every_name_leads_somewhere(texts: dict[str, str]) -> None:
    """Whoever follows a name in our words arrives."""
    repository = Repository(texts)
    said = [saying for path, text in texts.items() for saying in sayings(path, text)]
    found = [nowhere for saying in said for nowhere in dangling(saying, repository)]
    assert not found, "\n".join(f"{n.path}:{n.line}: {n.kind} {n.name}" for n in found)


@pytest.mark.parametrize(("kind", "path", "text", "name"), DANGLING)
def test_a_name_that_leads_nowhere_is_found(kind: str, path: str, text: str, name: str) -> None:
    """One of each kind, planted where such names stand, is found as what it is."""
    found = lost({**SMALL, path: text}, path)
    assert [(nowhere.kind, nowhere.name) for nowhere in found if nowhere.kind == kind] == [(kind, name)]


@pytest.mark.parametrize(("path", "text"), FOUND)
def test_a_name_that_leads_somewhere_is_left_alone(path: str, text: str) -> None:
    """Nobody has to write around the test: what exists may be named in every usual way, and so may what is not ours."""
    assert lost({**SMALL, path: text}, path) == []


def test_a_name_is_found_where_it_stands() -> None:
    """File and line are those of the name, within a docstring of many lines too."""
    source = 'def seal():\n    """Seal.\n\n    As\n    gone.py.\n    """\n'
    assert lost({**SMALL, "pipeline/x.py": source}, "pipeline/x.py") == [Nowhere("pipeline/x.py", 5, "file", "gone.py")]


@pytest.mark.parametrize(
    "path", ["README.md", "Procfile", "qerds", "pyproject.toml", "pipeline/connect.py", "docs/bulk.md"]
)
def test_every_kind_of_file_is_read(texts: dict[str, str], path: str) -> None:
    """A name planted at the end of a real file is found among all that the file already says."""
    planted = {**texts, path: f"{texts[path]}\n# pipeline/gone.py\n"}
    assert [nowhere.name for nowhere in lost(planted, path) if "gone" in nowhere.name] == ["pipeline/gone.py"]


def test_what_is_said_is_kept_together() -> None:
    """Comments on lines that follow each other are one text, so that a name may go over the end of a line."""
    assert list(sayings("x.py", '# docs/operate.md,\n# "What\n# goes"\n\nX = 1  # one\n')) == [
        Said("x.py", 1, ' docs/operate.md,\n "What\n goes"'),
        Said("x.py", 5, " one"),
    ]
