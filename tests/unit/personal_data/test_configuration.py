"""A configuration or a secret that cannot be read: what stands in it stays in it, whichever process reads it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.children import child_environment
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import load
from tests.personal_data import PERSON, found_in

ROOT = Path(__file__).resolve().parents[3]
TWICE = f'["{PERSON}"]\n["{PERSON}"]\n'
FILES = {
    "not TOML": f"name = {PERSON}\n",
    "a text that does not end": f'name = "{PERSON}\n',
    "a key twice": f'"{PERSON}" = 1\n"{PERSON}" = 2\n',
    "a section twice": TWICE,
    "not UTF-8": f"name = 'é {PERSON}'\n",
    "a value that is none": f'config_version = "1"\nmode = "{PERSON}"\nembedded = "{PERSON}"\n',
    "a section that is none": f'provider = "{PERSON}"\n',
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    """The error names the file, the key or the place, and quotes none of it."""
    path = tmp_path / "qerds.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigInvalid) as told:
        load(path)
    assert found_in(str(told.value)) == []


@pytest.mark.parametrize(
    "module", [["pipeline", "seal"], ["gateway"], ["hsm_bridge"], ["pipeline.operate", "show", "1"]]
)
def test_a_process_that_cannot_start(tmp_path: Path, module: list[str]) -> None:
    """It ends with one line, in which nothing of the file stands, nor of the parser's complaint behind it."""
    path = tmp_path / "qerds.toml"
    path.write_text(TWICE)
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=child_environment({"PYTHONPATH": str(ROOT), "QERDS_CONFIG": str(path), "PATH": os.defpath}),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode != 0
    assert found_in(done.stdout + done.stderr) == []
    assert len(done.stderr.splitlines()) == 1, done.stderr
