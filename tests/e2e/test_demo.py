"""The whole story on real parts: `qerds demo` on a running installation, and what it leaves behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.local.layout import CHECKOUT
from tests.e2e.installation import Installation, installation
from tests.servers import short_directory
from tests.words import reserved_words_in

pytestmark = pytest.mark.timeout(180)
BASE_PORT = 13400
SPOKEN_ADDRESSES = ("/docs", "/v1/openapi.json", "/v1/status", "/v1/problems/consent_required", "/verify", "/nowhere")


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def demo(it: Installation, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "deploy.local.demo", "--state", str(it.layout.state), *options]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)


def test_the_demo_holds_in_every_step_and_breaks_no_invariant(running: Installation, tmp_path: Path) -> None:
    """From a sender's call to offline verification, over HTTP and SMTP only; nothing it leaves has a reserved word."""
    told = demo(running, "--keep", str(tmp_path))
    assert told.returncode == 0, told.stdout + told.stderr
    assert (tmp_path / "downloaded.pdf").read_bytes() == (tmp_path / "letter.pdf").read_bytes()
    assert reserved_words_in(told.stdout) == []
    for path in tmp_path.iterdir():
        text = path.read_bytes().decode("utf-8", "replace")  # a package stores its entries as they are
        assert reserved_words_in(text) == [], path
    running.check_ledger()


def test_no_address_of_the_gateway_speaks_reserved_words(running: Installation) -> None:
    """In neither language, on no page and in no answer: only a recognised service may say them."""
    for language in ("fr", "en"):
        for address in SPOKEN_ADDRESSES:
            headers = {"accept-language": language}
            answer = httpx.get(running.gateway + address, headers=headers, follow_redirects=True, timeout=20)
            assert reserved_words_in(answer.text) == [], address


def test_a_second_up_on_the_same_state_harms_nothing(running: Installation) -> None:
    """It says that it runs already, and the demo still holds."""
    before = running.running.pid
    command = [sys.executable, "-m", "deploy.local.up", "--state", str(running.layout.state), "--detach"]
    told = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0
    assert "already running" in told.stderr
    assert running.running.pid == before
    assert demo(running).returncode == 0
