"""A package: one delivery's evidences in an ASiC-E container (ETSI EN 319 162-1, XAdES), as numbered snapshots.

Owns the package seal over all entries, and the strict way back; names, order and content of the entries are in
pipeline/formats/package_form.py, because the bridge makes them too. Building takes two steps, because the bridge seals:
`package_to_sign` gives what its answer must be over, `finish` puts seal and token in. A snapshot is a superset of the
one before and names its digest. The certificates and revocation lists in `trust/` are copies for
information: a verifier is given its anchors, it never takes them from here. The content is never inside: a sender
keeps its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from pipeline.evidence.form.xades import SealInvalid, SealParts, check_signature, read_signature
from pipeline.evidence.package.container import pack, unpack
from pipeline.formats import bounded_json, xades
from pipeline.formats.package_form import (
    DESCRIPTION,
    EVIDENCE_NAME,
    MODE_WORDS,
    PackageRefused,
    SnapshotContents,
    package_entries,
)

SIGNATURES = "META-INF/signatures.xml"
DESCRIPTION_BYTES_MAX = 64 * 1024  # a hundred events are 2 kB
_SIGNATURES_START = b'<asic:XAdESSignatures xmlns:asic="http://uri.etsi.org/02918/v1.2.1#">'
_SIGNATURES_END = b"</asic:XAdESSignatures>"
_SIGNING_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True, slots=True)
class PackageToSign:
    """Everything but the seal. `digests` and `signing_time` are what the seal is over."""

    entries: tuple[tuple[str, bytes], ...]
    digests: tuple[tuple[str, bytes], ...]
    signing_time: datetime
    purpose: str | None = None  # of a seal over what is no package of evidences


@dataclass(frozen=True, slots=True)
class OpenedPackage:
    """A package whose every byte was accounted for; what its seals are worth is judged in `verification`."""

    snapshot: SnapshotContents
    names: tuple[str, ...]  # of the evidence entries, in order
    to_sign: PackageToSign
    seal: SealParts


def package_to_sign(snapshot: SnapshotContents, signing_time: datetime) -> PackageToSign:
    if signing_time.utcoffset() is None:
        raise PackageRefused("signing time without a time zone")
    entries = package_entries(snapshot)
    return PackageToSign(
        entries=entries,
        digests=tuple((name, hashlib.sha256(content).digest()) for name, content in entries),
        signing_time=signing_time.astimezone(UTC).replace(microsecond=0),
    )


def package_signed_info(package: PackageToSign, certificate_der: bytes) -> bytes:
    """The bytes that the package seal signs; the bridge composes the same from digests and signing time."""
    properties = xades.package_signed_properties(
        package.digests, package.signing_time, certificate_der, package.purpose
    )
    return xades.package_signed_info(package.digests, properties)


def finish(package: PackageToSign, certificate_der: bytes, signature: bytes, token: bytes | None) -> bytes:
    """The package file. Raises SealInvalid if the seal does not hold: nothing unverifiable is stored."""
    check_signature(package_signed_info(package, certificate_der), signature, certificate_der)
    seal = signatures(package, certificate_der, signature, token)
    return pack([*package.entries, (SIGNATURES, seal)])


def package_imprint_sha256(signature: bytes) -> bytes:
    """What the token over a package seal is asked for."""
    return xades.imprint_sha256(signature)


def open_package(container: bytes) -> OpenedPackage:
    """Read a package strictly; raises ContainerRefused, PackageRefused or SealInvalid.

    Everything is built again from what was read: the container, the description, the manifest and the seal file.
    """
    entries = unpack(container)
    snapshot = _snapshot(entries)
    contents = dict(entries)
    seal = read_signatures(contents[SIGNATURES])
    package = package_to_sign(snapshot, signing_time_of(seal.signing_time))
    if (*package.entries, (SIGNATURES, contents[SIGNATURES])) != tuple(entries):
        raise PackageRefused("the entries are not those that the description calls for")
    if signatures(package, seal.certificate_der, seal.signature, seal.token) != contents[SIGNATURES]:
        raise SealInvalid("the package seal is not over these entries, or not in the form this service writes")
    names = tuple(name for name, _ in entries if EVIDENCE_NAME.fullmatch(name))
    return OpenedPackage(snapshot, names, package, seal)


def _snapshot(entries: Sequence[tuple[str, bytes]]) -> SnapshotContents:
    """Sort the entries by name; `open_package` compares order and content afterwards."""
    contents = dict(entries)
    if DESCRIPTION not in contents or SIGNATURES not in contents:
        raise PackageRefused("no description or no package seal")
    try:
        described = read_description(contents[DESCRIPTION])
        previous = described["previous_sha256"]
        modes = {word: mode for mode, word in MODE_WORDS.items()}
        return SnapshotContents(
            delivery=UUID(str(described["delivery"])),
            number=str(described["number"]),
            mode=modes[str(described["mode"])],
            snapshot=int(str(described["snapshot"])),
            previous_sha256=None if previous is None else bytes.fromhex(str(previous)),
            documents=tuple(content for name, content in entries if EVIDENCE_NAME.fullmatch(name)),
            authorities=tuple(content for name, content in entries if name.endswith(".cer")),
            revocation_lists=tuple(content for name, content in entries if name.endswith(".crl")),
        )
    except (KeyError, ValueError) as error:
        raise PackageRefused("the description cannot be read") from error


def read_description(description: bytes) -> dict[str, object]:
    """The JSON object in a container, which nothing vouches for yet: bounded before it is read; raises ValueError."""
    if len(description) > DESCRIPTION_BYTES_MAX:
        raise ValueError(f"a description has at most {DESCRIPTION_BYTES_MAX} bytes")
    described = bounded_json.read_json(description)
    if not isinstance(described, dict):
        raise ValueError("a description is an object")
    return described


def signatures(package: PackageToSign, certificate_der: bytes, signature: bytes, token: bytes | None) -> bytes:
    properties = xades.package_signed_properties(
        package.digests, package.signing_time, certificate_der, package.purpose
    )
    info = xades.package_signed_info(package.digests, properties)
    element = xades.package_signature_element(info, signature, certificate_der, properties, token)
    return _SIGNATURES_START + element + _SIGNATURES_END


def read_signatures(document: bytes) -> SealParts:
    if not document.startswith(_SIGNATURES_START) or not document.endswith(_SIGNATURES_END):
        raise SealInvalid("not a package seal")
    return read_signature(document[len(_SIGNATURES_START) : -len(_SIGNATURES_END)])


def signing_time_of(text: str) -> datetime:
    if not _SIGNING_TIME.fullmatch(text):
        raise SealInvalid("signing time of the package seal")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise SealInvalid("no such signing time") from error
