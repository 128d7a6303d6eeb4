"""What this installation may not call itself, and what the repository may not name."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.words import reserved_words_in

ROOT = Path(__file__).resolve().parents[2]
SHOWN = ("*.html", "*.txt", "*.json", "*.po", "*.toml", "*.css", "*.js", "*.jinja", "*.j2", "*.xml", "*.svg", "*.yaml")
ROOMS = ("gateway", "deploy", "pipeline", "schemas")
# A lock or a script that names a host stops working wherever that host is not reachable, behind a mirror for example.
# Spelt in halves, so that this file passes its own check.
HALVES = (
    *(("py", r"pi\.org"), ("python", "hosted"), ("npm", "js"), ("crates", r"\.io")),
    *(("deb", r"\.debian"), ("ghcr", r"\.io"), ("docker", r"\.io")),
)
REGISTRY = re.compile("|".join(["".join(halves) for halves in HALVES] + ["index" + "-url", "find" + "-links"]))
BINARY = (".png", ".ico", ".woff2", ".p7s", ".tsr", ".der", ".zip", ".asice")


def shown_files() -> list[Path]:
    return sorted(path for room in ROOMS for pattern in SHOWN for path in (ROOT / room).rglob(pattern))


def our_files() -> Iterator[Path]:
    folders = (*ROOMS, "hsm_bridge", "tests", "docs", "bench", ".ci")
    top = [path for path in ROOT.iterdir() if path.is_file()]
    for path in [*top, *(p for folder in folders for p in (ROOT / folder).rglob("*"))]:
        if path.is_file() and path.suffix not in (*BINARY, ".pyc"):
            yield path


@pytest.mark.parametrize("path", shown_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_templates_use_no_reserved_word(path: Path) -> None:
    """A service that is not legally recognised never calls itself by the names that the law reserves."""
    assert reserved_words_in(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "A qualified service",
        "service QUALIFIÉ",
        "service qualifi\u00e9e",
        "service qualifie\u0301",
        "une LRE",
        "Lettre  recommandée\nélectronique",
        "lettre recommandee electronique",
        "a qualified&nbsp;seal",
        "qualifi&eacute;",
    ],
)
def test_the_lint_finds_reserved_words(text: str) -> None:
    """Case, accents, line breaks and HTML entities do not hide a reserved word."""
    assert reserved_words_in(text)


@pytest.mark.parametrize(
    "text", ["mode non_qualified", "demonstration service", "celrel", "disqualifier", "préréglage"]
)
def test_the_lint_leaves_other_words_alone(text: str) -> None:
    """The machine token of the mode and words that merely contain the letters are no claim."""
    assert reserved_words_in(text) == []


def test_no_registry_host_is_named() -> None:
    """The installation uses whatever package source the machine has been given."""
    own = Path(__file__)
    named = [
        str(p.relative_to(ROOT)) for p in our_files() if p != own and REGISTRY.search(p.read_text(errors="replace"))
    ]
    # One command line in CONTRIBUTING.md makes the locks; the option there says to leave the host out.
    assert named in ([], ["CONTRIBUTING.md"])


def test_the_script_parses() -> None:
    """bash itself accepts `./qerds` and .ci/run."""
    for script in ("qerds", ".ci/run"):
        subprocess.run(["bash", "-n", str(ROOT / script)], check=True, timeout=10)


def test_the_locks_agree() -> None:
    """Tests run on the same versions as the service: the development lock holds the runtime lock."""
    pinned = re.compile(r"^([a-z0-9-]+==[^ \\]+)", re.MULTILINE)
    runtime = set(pinned.findall((ROOT / "requirements.lock").read_text()))
    development = set(pinned.findall((ROOT / "requirements-dev.lock").read_text()))
    assert runtime
    assert runtime <= development
