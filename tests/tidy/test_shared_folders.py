"""No fixed name in a folder that others may write to: it may be a link of theirs by the time that we write there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The folder, then a name that begins with what a person would write. A template of mktemp ends in X, and what follows a
# variable is told by nobody beforehand.
FIXED = re.compile(
    r"(?<![\w/])/(?:var/tmp|tmp|dev/shm|run/lock)/(?![^\s\"']*X{6})[\w.{-]"
    r"|(?:gettempdir\(\)|TMPDIR[^\s/]*)\)? ?/ ?[\"']?[\w.-]"
    r"|(?:SHARED_MEMORY|MEMORY|DISK) / "
)
NO_TEXT = (".png", ".ico", ".woff2", ".p7s", ".tsr", ".der", ".zip", ".asice")


def ours() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in names.split("\0") if name]
    return [path for path in paths if path.suffix not in NO_TEXT and path.is_file() and path != Path(__file__)]


def test_nothing_is_written_under_a_name_that_others_know() -> None:
    """In scripts, programs, tests and what the documents tell people to type."""
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in ours()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if FIXED.search(line)
    ]
    assert lines == []


@pytest.mark.parametrize(
    "line",
    [
        "command >/tmp/qerds.log",
        "Path('/tmp/letter')",
        "/var/tmp/x",
        'open(f"/dev/shm/{name}")',
        'Path(tempfile.gettempdir()) / "qerds"',
        "mkdir $TMPDIR/qerds",
    ],
)
def test_a_fixed_name_is_seen(line: str) -> None:
    """However it is written."""
    assert FIXED.search(line)


@pytest.mark.parametrize("line", ["mktemp -d /tmp/qerds.XXXXXX", "tmp_path / 'x'", 'Path("/var/tmp")', "docs/tmp/x"])
def test_what_nobody_can_tell_is_no_fixed_name(line: str) -> None:
    """A folder alone, a template, a folder of ours."""
    assert not FIXED.search(line)
