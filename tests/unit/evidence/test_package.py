"""Packages: the same bytes for the same content, and nothing in them that was not put there."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace

import pytest

from pipeline.evidence.form.xades import SealInvalid
from pipeline.evidence.package.container import ContainerRefused, pack, unpack
from pipeline.evidence.package.snapshot import finish, open_package, package_signed_info, package_to_sign
from pipeline.formats.package_form import PackageRefused
from tests.fakes import letters
from tests.unit.evidence.conftest import Letter


def test_a_package_is_an_ordinary_zip_that_begins_with_its_mimetype(letter: Letter) -> None:
    """Any zip reader opens it; the first entry is the uncompressed mimetype (EN 319 162-1)."""
    with zipfile.ZipFile(io.BytesIO(letter.package)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == "mimetype"
        assert archive.read("mimetype") == b"application/vnd.etsi.asic-e+zip"
        assert [n for n in names if n.startswith("evidence/")] == [
            "evidence/001-A.1.xml",
            "evidence/002-C.1.xml",
            "evidence/003-C.3.xml",
            "evidence/004-D.1.xml",
            "evidence/005-E.1.xml",
        ]
        described = json.loads(archive.read("package.json"))
    assert described["sequence_through"] == 5
    assert (described["snapshot"], described["previous_sha256"]) == (1, None)


def test_the_same_content_gives_the_same_bytes(letter: Letter) -> None:
    """Building again from what was read, with the same seal, rebuilds the file byte for byte."""
    opened = open_package(letter.package)
    assert package_to_sign(opened.snapshot, opened.to_sign.signing_time) == opened.to_sign
    seal = opened.seal
    assert finish(opened.to_sign, seal.certificate_der, seal.signature, seal.token) == letter.package


def test_a_later_snapshot_names_the_digest_of_the_one_before(letter: Letter) -> None:
    """Snapshots are chained, so that an older one cannot be passed off as belonging to another history."""
    first = letters.snapshot(letter.provider, letter.documents[:2])
    before = letter.provider.packed(first, letters.PACKED_AT)
    second = replace(
        letters.snapshot(letter.provider, letter.documents),
        snapshot=2,
        previous_sha256=hashlib.sha256(before).digest(),
    )
    opened = open_package(letter.provider.packed(second, letters.PACKED_AT))
    assert opened.snapshot.previous_sha256 == hashlib.sha256(before).digest()
    assert opened.snapshot.documents[:2] == open_package(before).snapshot.documents
    for wrong in (replace(second, previous_sha256=None), replace(second, snapshot=1), replace(first, snapshot=0)):
        with pytest.raises(PackageRefused):
            package_to_sign(wrong, letters.PACKED_AT)


def test_a_seal_that_does_not_hold_is_not_packed(letter: Letter) -> None:
    """A wrong signature from outside stops the packing; no unverifiable package is ever stored."""
    to_sign = package_to_sign(letters.snapshot(letter.provider, letter.documents), letters.PACKED_AT)
    other = package_to_sign(letters.snapshot(letter.provider, letter.documents[:1]), letters.PACKED_AT)
    signature = letter.provider.seal.sign_raw(package_signed_info(other, letter.provider.seal.der))
    with pytest.raises(SealInvalid):
        finish(to_sign, letter.provider.seal.der, signature, None)


def test_limits_of_a_package(letter: Letter) -> None:
    """No evidence, too many, or something that is no evidence at all is refused."""
    snapshot = letters.snapshot(letter.provider, letter.documents)
    for wrong in (
        replace(snapshot, documents=()),
        replace(snapshot, documents=(letter.documents[0],) * 101),
        replace(snapshot, documents=(b"<a></a>",)),
        replace(snapshot, authorities=(b"x",) * 11),
    ):
        with pytest.raises(PackageRefused):
            package_to_sign(wrong, letters.PACKED_AT)


def test_only_our_own_spelling_of_a_zip_is_read() -> None:
    """A zip with the same entries written by another program, with a comment, or cut short is refused."""
    entries = [("a", b"one"), ("b/c.xml", b"")]
    packed = pack(entries)
    assert unpack(packed) == entries
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    refused = [b"", b"PK", other.getvalue(), packed + b"\0", b"\0" + packed, packed[:-1], packed[:10], packed[:33]]
    for container in refused:
        with pytest.raises(ContainerRefused):
            unpack(container)
    with pytest.raises(ContainerRefused):
        pack([("a", b""), ("a", b"")])
    with pytest.raises(ContainerRefused):
        pack([(f"{n}", b"") for n in range(201)])
