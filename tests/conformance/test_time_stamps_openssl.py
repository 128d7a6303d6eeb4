"""OpenSSL's own time-stamp tool accepts our answers and tokens, and refuses what it should."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pipeline.formats import tst
from tests.fakes import pki
from tests.worlds.time_stamp_unit import IMPRINT, MESSAGE, MOMENT, ROOT, TOKEN, UNIT, authority


def openssl(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["openssl", "ts", *map(str, arguments)], capture_output=True, text=True, timeout=10, check=False
    )


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def root_file(tmp_path: Path) -> Path:
    return write(tmp_path / "ca.pem", ROOT.certificate.public_bytes(Encoding.PEM))


def attime() -> list[str]:
    return ["-attime", str(int(MOMENT.timestamp()))]


def test_openssl_verifies_a_token_against_its_data(tmp_path: Path, root_file: Path) -> None:
    """`openssl ts -verify -token_in`: good with the authority alone, refused for other data and another authority."""
    token, data = write(tmp_path / "token.der", TOKEN), write(tmp_path / "data", MESSAGE)
    other = write(tmp_path / "other", b"other")
    stranger = write(tmp_path / "stranger.pem", pki.authority().certificate.public_bytes(Encoding.PEM))
    known: list[str | Path] = ["-verify", "-in", token, "-token_in", *attime()]
    assert "Verification: OK" in openssl(*known, "-data", data, "-CAfile", root_file).stdout
    assert openssl(*known, "-data", other, "-CAfile", root_file).returncode != 0
    assert openssl(*known, "-data", data, "-CAfile", stranger).returncode != 0


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_openssl_verifies_the_answer_to_its_own_request(tmp_path: Path, root_file: Path, digest: str) -> None:
    """A request made by OpenSSL, with nonce and certReq, gets an answer that fits it."""
    data, request = write(tmp_path / "data", MESSAGE), tmp_path / "request.tsq"
    assert openssl("-query", "-data", data, f"-{digest}", "-cert", "-out", request).returncode == 0
    answer = write(tmp_path / "answer.tsr", authority().answer(request.read_bytes(), MOMENT))
    done = openssl("-verify", "-queryfile", request, "-in", answer, "-CAfile", root_file, *attime())
    assert "Verification: OK" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("policy", "text"), [("1.2.3.4", "the requested TSA policy is not supported"), (pki.TSA_POLICY, "Granted.")]
)
def test_openssl_reads_what_we_decided(tmp_path: Path, policy: str, text: str) -> None:
    """Rejections are understood by their failure bit."""
    request = tst.encode_request(tst.StampRequest("sha256", IMPRINT, policy, None, True))
    answer = write(tmp_path / "answer.tsr", authority().answer(request, MOMENT))
    assert text in openssl("-reply", "-in", answer, "-text").stdout


def test_openssl_refuses_a_token_of_a_unit_that_ess_does_not_name(tmp_path: Path, root_file: Path) -> None:
    """The oracle itself looks at ESSCertIDv2: with another certificate beside the token it says no."""
    other = pki.leaf(ROOT, "Unit", purposes=pki.TIME_STAMPING)
    swapped = write(tmp_path / "token.der", pki.time_stamp(UNIT, IMPRINT, MOMENT, certificate=other.der))
    data = write(tmp_path / "data", MESSAGE)
    done = openssl("-verify", "-in", swapped, "-token_in", "-data", data, "-CAfile", root_file, *attime())
    assert done.returncode != 0
