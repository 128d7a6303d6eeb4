"""Our evidences and packages before validators that nobody here wrote.

ETSI and XAdES schemas (lxml), xmlsec1 for the signatures, openssl for the time-stamps. QERDS_STANDARDS names the folder
of schemas. A missing tool or schema is a failure, not a skip.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from pipeline.evidence.form import xades
from pipeline.evidence.package.snapshot import open_package
from pipeline.formats.xades import imprint_sha256
from tests.conformance.foreign_tools import ALL_SCHEMAS, STANDARDS, run, tool
from tests.fakes import letters
from tests.fakes.pki import Provider, revocation_list

SOME_TIME = "2026-06-01 00:00:00"  # inside the validity of the test certificates
SOME_EPOCH_SECONDS = "1780272000"


@pytest.fixture(scope="session")
def schema() -> etree.XMLSchema:
    assert STANDARDS.is_dir(), f"no schemas at {STANDARDS}; set QERDS_STANDARDS"
    parser = etree.XMLParser(no_network=True)
    source = etree.fromstring(ALL_SCHEMAS, parser, base_url=str(STANDARDS / "all.xsd"))
    return etree.XMLSchema(source)


@pytest.fixture(scope="session")
def provider() -> Provider:
    return Provider.new()


@pytest.fixture(scope="session")
def documents(provider: Provider) -> list[bytes]:
    """Every kind of evidence, with every optional part used somewhere."""
    return [document for plan in letters.PLANS for document in letters.life(provider, plan, b"one", b"two")[1]]


def xmlsec(folder: Path, file: str) -> subprocess.CompletedProcess[str]:
    return run(
        tool("xmlsec1"),
        "--verify",
        "--id-attr:Id",
        "http://uri.etsi.org/19522/v1#:Evidence",
        "--id-attr:Id",
        "http://uri.etsi.org/01903/v1.3.2#:SignedProperties",
        "--trusted-pem",
        "ca.pem",
        "--verification-time",
        SOME_TIME,
        file,
        cwd=folder,
    )


def test_evidences_are_valid_by_the_etsi_and_xades_schemas(schema: etree.XMLSchema, documents: list[bytes]) -> None:
    """EN 319 522-3 with the XAdES inside it: every kind of evidence validates."""
    for document in documents:
        assert schema.validate(etree.fromstring(document)), schema.error_log


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<EventTime>", b"<erds:EventTime>"),
        (b"<erds:MessageIdentifier>", b"<MessageIdentifier>"),
        (b"<erds:SenderDetails>", b"<erds:Sender>"),
        (b"<xades:SigningTime>", b"<xades:SigningMoment>"),
    ],
)
def test_the_schemas_are_really_looked_at(
    schema: etree.XMLSchema, documents: list[bytes], old: bytes, new: bytes
) -> None:
    """The namespace trap and a broken property fail, so that a pass above means something."""
    broken = documents[0].replace(old, new).replace(b"</" + old[1:], b"</" + new[1:])
    assert not schema.validate(etree.fromstring(broken))


def test_xmlsec1_accepts_each_seal_and_no_other(provider: Provider, documents: list[bytes], tmp_path: Path) -> None:
    """Both references and the signature verify under the authority; one changed character and they do not."""
    (tmp_path / "ca.pem").write_bytes(provider.root.pem)
    for document in documents[:6]:
        (tmp_path / "evidence.xml").write_bytes(document)
        accepted = xmlsec(tmp_path, "evidence.xml")
        assert accepted.returncode == 0, accepted.stderr
        assert "References (ok/all): 2/2" in accepted.stdout + accepted.stderr
    (tmp_path / "evidence.xml").write_bytes(documents[0].replace(b"40128823401927", b"40128823401928"))
    assert xmlsec(tmp_path, "evidence.xml").returncode != 0
    (tmp_path / "ca.pem").write_bytes(Provider.new().root.pem)
    (tmp_path / "evidence.xml").write_bytes(documents[0])
    assert xmlsec(tmp_path, "evidence.xml").returncode != 0


def openssl_ts(folder: Path, token: bytes, imprint: bytes) -> subprocess.CompletedProcess[str]:
    (folder / "token.tst").write_bytes(token)
    return run(
        tool("openssl"), "ts", "-verify", "-token_in", "-in", "token.tst", "-digest", imprint.hex(),
        "-CAfile", "ca.pem", "-attime", SOME_EPOCH_SECONDS, cwd=folder,
    )  # fmt: skip


def test_openssl_accepts_each_token(provider: Provider, documents: list[bytes], tmp_path: Path) -> None:
    """Each token is over the canonical SignatureValue of its own seal."""
    (tmp_path / "ca.pem").write_bytes(provider.root.pem)
    for document in documents[:6]:
        seal = xades.take_apart(document).seal
        assert seal.token is not None
        accepted = openssl_ts(tmp_path, seal.token, imprint_sha256(seal.signature))
        assert accepted.returncode == 0, accepted.stdout + accepted.stderr
        assert openssl_ts(tmp_path, seal.token, bytes(32)).returncode != 0


def test_the_package_seal_before_schema_xmlsec1_and_openssl(
    provider: Provider, schema: etree.XMLSchema, tmp_path: Path
) -> None:
    """Unpacked by a plain zip reader: valid by EN 319 162-1, each file covered by the seal, the seal by the token."""
    _, documents = letters.life(provider)
    snapshot = letters.snapshot(provider, documents, revocation_list(provider.root, []))
    second = replace(snapshot, snapshot=2, previous_sha256=hashlib.sha256(b"first").digest())
    packed = provider.packed(second, letters.PACKED_AT)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(tmp_path)
        files = len(archive.namelist())
    assert schema.validate(etree.parse(tmp_path / "META-INF" / "signatures.xml")), schema.error_log
    (tmp_path / "ca.pem").write_bytes(provider.root.pem)
    accepted = xmlsec(tmp_path, "META-INF/signatures.xml")
    assert accepted.returncode == 0, accepted.stderr
    assert f"References (ok/all): {files}/{files}" in accepted.stdout + accepted.stderr
    seal = open_package(packed).seal
    assert seal.token is not None
    assert openssl_ts(tmp_path, seal.token, imprint_sha256(seal.signature)).returncode == 0
    (tmp_path / "package.json").write_bytes(b"{}")
    assert xmlsec(tmp_path, "META-INF/signatures.xml").returncode != 0
