"""The type checker with the project's own configuration and cache, over files that a test planted."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".qerds" / "cache" / "mypy"  # as `./qerds test` leaves it: a warm run takes seconds


def complaints(planted: Mapping[str, str], folder: Path) -> tuple[dict[str, set[int]], str]:
    """The lines of each planted module that the checker calls wrong, by the module's name; and all that it said."""
    for name, source in planted.items():
        (folder / f"{name}.py").write_text(source)
    paths = [folder / f"{name}.py" for name in planted]
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(CACHE), "--no-error-summary", *map(str, paths)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    wrong: dict[str, set[int]] = {name: set() for name in planted}
    for line in said.stdout.splitlines():
        path, _, rest = line.partition(":")
        if ": error:" in line:
            wrong[Path(path).stem].add(int(rest.split(":")[0]))
    return wrong, said.stdout + said.stderr
