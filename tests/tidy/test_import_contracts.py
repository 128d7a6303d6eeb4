"""The import contracts themselves: each catches what it is there for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("pipeline", "gateway", "hsm_bridge", "deploy")
VIOLATIONS = {
    "storeys": ("pipeline/formats/tst.py", "import pipeline.content.envelope"),
    "stages": ("pipeline/stages/seal.py", "import pipeline.stages.encrypt"),
    "stages-doors": ("pipeline/stages/seal.py", "import pipeline.adapters.objects"),
    "only-main-imports-stages": ("gateway/edge.py", "import pipeline.stages.seal"),
    "adapters": ("pipeline/adapters/objects.py", "import pipeline.actors.loop"),
    "evidence": ("pipeline/evidence/draft.py", "import pipeline.config"),
    "content": ("pipeline/content/envelope.py", "import pipeline.evidence.draft"),
    "events": ("pipeline/feed/attempts.py", "import pipeline.adapters.objects"),
    "gateway": ("gateway/edge.py", "import pipeline.adapters.objects"),
    "bridge": ("hsm_bridge/server.py", "import pipeline.config"),
    "bridge-doors": ("pipeline/adapters/objects.py", "import hsm_bridge.token.device"),
    "door-asyncpg": ("gateway/edge.py", "import asyncpg"),
    "door-pkcs11": ("hsm_bridge/operations/evidence.py", "import pkcs11"),
    "door-mail": ("pipeline/stages/notify.py", "import aiosmtplib"),
    "door-http": ("gateway/edge.py", "import httpx"),
}


def lint(folder: Path, *options: str) -> str:
    """What import-linter says about this copy."""
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return answer.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_tree_keeps_every_contract(copy: Path) -> None:
    """As it is, the tree breaks none; so what the next test sees comes from its own line."""
    assert " 0 broken." in lint(copy)


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_forbidden_import_is_caught(copy: Path, contract: str) -> None:
    """One forbidden line breaks exactly the contract that forbids it, so the contracts are not merely green."""
    name, line = VIOLATIONS[contract]
    path = copy / name
    before = path.read_text()
    path.write_text(f"{before}\n{line}\n")
    try:
        assert "BROKEN" in lint(copy, "--contract", contract)
    finally:
        path.write_text(before)
