"""`./qerds` in a checkout that nothing was installed into: any verb may be the first one.

The programs it calls stand in for the real ones and only leave the files that those would leave, so no package is
fetched here; the real ones run in .ci/run.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
PYTHON = """#!/bin/bash
case "$1 $2" in
"-m venv") mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
"-m pip") [[ $3 == --version ]] || printf '#!/bin/bash\\n' | install -m 755 /dev/stdin "$(dirname "$4")/uv" ;;
"-P -m") echo "runs $3" ;;
esac
"""
BROKEN_UV = "#!/bin/bash\nexit 1\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The script and its locks alone."""
    home = tmp_path / "checkout"
    home.mkdir()
    for name in ("qerds", *(path.name for path in CHECKOUT.glob("requirements*.lock"))):
        shutil.copy2(CHECKOUT / name, home / name)
    return home


def start(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The script, with only what a plain machine has on its path."""
    programs = checkout.parent / "programs"
    programs.mkdir(exist_ok=True)
    for name, text in (("python3", PYTHON), ("uv", BROKEN_UV)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.defpath}",
        "HOME": str(checkout.parent),
        "QERDS_NO_APT": "1",
        "QERDS_PKCS11_MODULE": "/dev/null",
    }
    command = [str(checkout / "qerds"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(
    ("verb", "module"),
    [("up", "deploy.local.up"), ("test", "deploy.local.test"), ("bench", "bench"), ("verify", "pipeline.evidence")],
)
def test_any_verb_can_be_the_first(checkout: Path, verb: str, module: str) -> None:
    """It brings its packages and runs; the second time nothing is installed."""
    first = start(checkout, verb)
    assert first.returncode == 0, first.stderr
    assert f"runs {module}" in first.stdout
    assert "installing" in first.stderr

    second = start(checkout, verb)
    assert second.returncode == 0, second.stderr
    assert "installing" not in second.stderr


def test_the_service_and_the_bench_have_an_environment_each(checkout: Path) -> None:
    """Whichever came first: peers and plots never reach the service."""
    assert start(checkout, "bench").returncode == 0
    assert start(checkout, "up").returncode == 0
    assert sorted(path.parent.parent.name for path in (checkout / ".qerds").glob("*/bin/python")) == ["bench", "venv"]
