"""A package: one delivery's evidences in an ASiC-E container (ETSI EN 319 162-1, XAdES), as numbered snapshots.

Owns names, order and content of every entry, and the package seal over all of them. Building takes two steps, because
the bridge seals: `package_to_sign` gives digests for `seal_package`, `finish` puts seal and token in. A snapshot is a
superset of the one before and names its digest. The certificates and revocation lists in `trust/` are copies for
information: a verifier is given its anchors, it never takes them from here. The content is never inside: a sender
keeps its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from pipeline.evidence.form.xades import SealInvalid, SealParts, check_signature, read_signature
from pipeline.evidence.package.container import pack, unpack
from pipeline.formats import bounded_json, xades
from pipeline.formats.events import CODE_OF_URI, URI

MIMETYPE = b"application/vnd.etsi.asic-e+zip"  # EN 319 162-1 clause 4.4.3
SIGNATURES = "META-INF/signatures.xml"
MANIFEST = "META-INF/manifest.xml"
DESCRIPTION = "package.json"
FORMAT = "qerds-package-1"
DESCRIPTION_BYTES_MAX = 64 * 1024  # a hundred events are 2 kB
EVIDENCES_MAX = 100
TRUST_MAX = 10

_MANIFEST_NAMESPACE = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
_SIGNATURES_START = b'<asic:XAdESSignatures xmlns:asic="http://uri.etsi.org/02918/v1.2.1#">'
_SIGNATURES_END = b"</asic:XAdESSignatures>"
# What stands in the description, which people open; the evidences carry the machine's token.
MODE_WORDS = {"non_qualified": "demonstration", "qualified": "qualified"}
_EVIDENCE_NAME = re.compile(r"evidence/\d{3}-[A-E]\.\d\.xml", re.ASCII)
_SIGNING_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class PackageRefused(ValueError):
    """Not a package of ours, or content that must not be packed."""


@dataclass(frozen=True, slots=True)
class SnapshotContents:
    """What one snapshot holds. `documents` are assembled evidences (B-T), contiguous from sequence 1."""

    delivery: UUID
    number: str
    mode: str
    snapshot: int  # 1, 2, 3 for this delivery
    previous_sha256: bytes | None  # of the whole file of snapshot - 1
    documents: tuple[bytes, ...]
    authorities: tuple[bytes, ...] = ()  # DER certificates
    revocation_lists: tuple[bytes, ...] = ()  # DER


@dataclass(frozen=True, slots=True)
class PackageToSign:
    """Everything but the seal. `digests` and `signing_time` are what `seal_package` takes."""

    entries: tuple[tuple[str, bytes], ...]
    digests: tuple[tuple[str, bytes], ...]
    signing_time: datetime


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
    entries = _entries(snapshot)
    return PackageToSign(
        entries=entries,
        digests=tuple((name, hashlib.sha256(content).digest()) for name, content in entries),
        signing_time=signing_time.astimezone(UTC).replace(microsecond=0),
    )


def package_signed_info(package: PackageToSign, certificate_der: bytes) -> bytes:
    """The bytes that the package seal signs; the bridge composes the same from digests and signing time."""
    properties = xades.package_signed_properties(package.digests, package.signing_time, certificate_der)
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
    names = tuple(name for name, _ in entries if _EVIDENCE_NAME.fullmatch(name))
    return OpenedPackage(snapshot, names, package, seal)


def evidence_name(sequence: int, event: str) -> str:
    return f"evidence/{sequence:03d}-{event}.xml"


def _entries(snapshot: SnapshotContents) -> tuple[tuple[str, bytes], ...]:
    if not 1 <= len(snapshot.documents) <= EVIDENCES_MAX:
        raise PackageRefused(f"{len(snapshot.documents)} evidences, 1 to {EVIDENCES_MAX} allowed")
    if max(len(snapshot.authorities), len(snapshot.revocation_lists)) > TRUST_MAX:
        raise PackageRefused("too many certificates or revocation lists")
    if snapshot.snapshot < 1 or (snapshot.snapshot == 1) != (snapshot.previous_sha256 is None):
        raise PackageRefused("the first snapshot, and only the first, has no previous one")
    if snapshot.previous_sha256 is not None and len(snapshot.previous_sha256) != 32:
        raise PackageRefused("the digest of the previous snapshot is not SHA-256")
    evidences = [
        (evidence_name(sequence, _event(document)), document)
        for sequence, document in enumerate(snapshot.documents, start=1)
    ]
    entries = [
        ("mimetype", MIMETYPE),
        (DESCRIPTION, _description(snapshot, [_event(document) for document in snapshot.documents])),
        *evidences,
        *((f"trust/authority-{n}.cer", der) for n, der in enumerate(snapshot.authorities, start=1)),
        *((f"trust/revoked-{n}.crl", der) for n, der in enumerate(snapshot.revocation_lists, start=1)),
    ]
    return (*entries, (MANIFEST, manifest([name for name, _ in entries])))


def _event(document: bytes) -> str:
    """The event named inside, found without judging the rest: `verification` reads each evidence strictly."""
    match = re.search(rb"<erds:ERDSEventId>http://uri\.etsi\.org/19522/Event/(\w+)</erds:ERDSEventId>", document)
    code = CODE_OF_URI.get(URI + match.group(1).decode("ascii", "replace")) if match else None
    if code is None:
        raise PackageRefused("an entry is not an evidence of a known event")
    return code


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
            documents=tuple(content for name, content in entries if _EVIDENCE_NAME.fullmatch(name)),
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


def _description(snapshot: SnapshotContents, events: list[str]) -> bytes:
    described = {
        "format": FORMAT,
        "number": snapshot.number,
        "delivery": str(snapshot.delivery),
        "mode": MODE_WORDS[snapshot.mode],
        "snapshot": snapshot.snapshot,
        "previous_sha256": None if snapshot.previous_sha256 is None else snapshot.previous_sha256.hex(),
        "sequence_through": len(snapshot.documents),
        "events": events,
    }
    return json.dumps(described, indent=2, ensure_ascii=True).encode() + b"\n"


def manifest(names: list[str]) -> bytes:
    """OpenDocument manifest, which EN 319 162-1 clause 4.4.3.2 asks for beside XAdES."""

    def line(path: str, media_type: str) -> str:
        return (
            f'<manifest:file-entry manifest:full-path="{path}" manifest:media-type="{media_type}">'
            "</manifest:file-entry>"
        )

    lines = [line("/", MIMETYPE.decode()), *(line(n, xades.entry_mime_type(n)) for n in names if n != "mimetype")]
    return (
        f'<manifest:manifest xmlns:manifest="{_MANIFEST_NAMESPACE}" manifest:version="1.2">'
        + "".join(lines)
        + "</manifest:manifest>"
    ).encode()


def signatures(package: PackageToSign, certificate_der: bytes, signature: bytes, token: bytes | None) -> bytes:
    properties = xades.package_signed_properties(package.digests, package.signing_time, certificate_der)
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
