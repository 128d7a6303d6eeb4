"""The proofs of a demo that was really lived, before tools that nobody here wrote, and against every damaged byte.

Every byte of the package's zip structure and of one evidence in it, and 5,000 random positions: no flip goes unnoticed.
"""

import io
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest
from lxml import etree

from deploy.local.layout import CHECKOUT
from pipeline.evidence.certificates import load_anchors
from pipeline.evidence.form import xades
from pipeline.evidence.package.snapshot import open_package
from pipeline.evidence.verification.protocol import verify
from pipeline.evidence.verification.report import Verdict
from pipeline.formats.xades import imprint_sha256
from tests.conformance.foreign_tools import ALL_SCHEMAS, STANDARDS, run, tool
from tests.e2e.installation import installation
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(900)
BASE_PORT = 19400
RANDOM_POSITIONS = 5000
SEED = 20261124
PROCESSES = 2
SHARE = 100  # positions one process checks at a time


@dataclass(frozen=True, slots=True)
class Proofs:
    """What `qerds demo --keep` left."""

    folder: Path
    package: bytes
    anchors: tuple[bytes, ...]

    def evidences(self) -> dict[str, bytes]:
        """Name to document, unpacked by a plain zip reader."""
        with zipfile.ZipFile(io.BytesIO(self.package)) as archive:
            return {name: archive.read(name) for name in archive.namelist() if name.startswith("evidence/")}


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proofs]:
    folder = tmp_path_factory.mktemp("demo")
    with installation(short_directory() / "state", BASE_PORT) as it:
        command = [sys.executable, "-m", "deploy.local.demo", "--state", str(it.layout.state), "--keep", str(folder)]
        told = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
        assert told.returncode == 0, told.stdout + told.stderr
    yield Proofs(folder, (folder / "proofs.asice").read_bytes(), load_anchors((folder / "ca.pem").read_bytes()))


def test_the_demos_evidences_before_schema_xmlsec1_and_openssl(proofs: Proofs, tmp_path: Path) -> None:
    """Each of A.1, C.1, C.3, D.1, E.1: valid by the schemas, its seal by xmlsec1, its token by openssl ts."""
    parser = etree.XMLParser(no_network=True)
    schema = etree.XMLSchema(etree.fromstring(ALL_SCHEMAS, parser, base_url=str(STANDARDS / "all.xsd")))
    (tmp_path / "ca.pem").write_bytes((proofs.folder / "ca.pem").read_bytes())
    found = proofs.evidences()
    assert [name[13:16] for name in found] == ["A.1", "C.1", "C.3", "D.1", "E.1"]
    names = ("http://uri.etsi.org/19522/v1#:Evidence", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties")
    ids = [word for name in names for word in ("--id-attr:Id", name)]
    for name, document in found.items():
        assert schema.validate(etree.fromstring(document)), (name, schema.error_log)
        (tmp_path / "evidence.xml").write_bytes(document)
        sealed = run(tool("xmlsec1"), "--verify", *ids, "--trusted-pem", "ca.pem", "evidence.xml", cwd=tmp_path)
        assert sealed.returncode == 0, sealed.stderr
        seal = xades.take_apart(document).seal
        assert seal.token is not None
        (tmp_path / "token.tst").write_bytes(seal.token)
        digest = imprint_sha256(seal.signature).hex()
        asked = ("ts", "-verify", "-token_in", "-in", "token.tst", "-digest", digest, "-CAfile", "ca.pem")
        stamped = run(tool("openssl"), *asked, cwd=tmp_path)
        assert stamped.returncode == 0, stamped.stdout + stamped.stderr


def test_the_package_verifies_and_no_flipped_byte_goes_unnoticed(proofs: Proofs) -> None:
    """Zip structure, one whole evidence, 5,000 random positions, each with a random bit pattern."""
    open_package(proofs.package)  # raises when a byte of it is not accounted for
    moment = datetime(2100, 1, 1, tzinfo=UTC)
    assert verify(proofs.package, proofs.anchors, (), moment).verdict is Verdict.VALID
    positions = [*structure(proofs.package), *one_evidence(proofs)]
    chance = random.Random(SEED)
    positions += [chance.randrange(len(proofs.package)) for _ in range(RANDOM_POSITIONS)]
    flips = [(position, chance.randrange(1, 256)) for position in positions]
    shares = [flips[i : i + SHARE] for i in range(0, len(flips), SHARE)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("fork")) as pool:
        answers = pool.map(unnoticed, ((proofs.package, proofs.anchors, share) for share in shares))
        assert [flip for answer in answers for flip in answer] == []
    assert len(flips) > RANDOM_POSITIONS + len(next(iter(proofs.evidences().values())))


def unnoticed(work: tuple[bytes, tuple[bytes, ...], list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """The flips that the verifier did not notice."""
    package, anchors, flips = work
    missed = []
    for position, mask in flips:
        altered = bytearray(package)
        altered[position] ^= mask
        if verify(bytes(altered), anchors).verdict is Verdict.VALID:
            missed.append((position, mask))
    return missed


def structure(package: bytes) -> list[int]:
    """Every position that is not inside the content of an entry."""
    inside: set[int] = set()
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        for entry in archive.infolist():
            start = entry.header_offset + 30 + len(entry.filename.encode()) + len(entry.extra)
            inside |= set(range(start, start + entry.compress_size))
    return [position for position in range(len(package)) if position not in inside]


def one_evidence(proofs: Proofs) -> range:
    """Every position of the first evidence inside the package."""
    document = next(iter(proofs.evidences().values()))
    start = proofs.package.index(document)
    return range(start, start + len(document))
