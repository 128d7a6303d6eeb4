"""The form of a package but for its seal: names, order and content of every entry (EN 319 162-1, ASiC-E with XAdES).

Owns     description, manifest, names; the evidences go in as they are assembled
Rules    everything follows from the snapshot: who writes a package, who seals it and who reads one make the same bytes
         of the same facts, and compare
Elsewhere: the container, and reading one (pipeline/evidence/package), what a seal is over (xades), the conditions of a
         seal (hsm_bridge/operations/packages.py)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from uuid import UUID

from pipeline.formats import xades
from pipeline.formats.events import CODE_OF_URI, URI

MIMETYPE = b"application/vnd.etsi.asic-e+zip"  # EN 319 162-1 clause 4.4.3
MANIFEST = "META-INF/manifest.xml"
DESCRIPTION = "package.json"
FORMAT = "qerds-package-1"
EVIDENCES_MAX = 100  # of a letter, and so of its snapshots
TRUST_MAX = 10

_MANIFEST_NAMESPACE = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
# What stands in the description, which people open; the evidences carry the machine's token.
MODE_WORDS = {"non_qualified": "demonstration", "qualified": "qualified"}
EVIDENCE_NAME = re.compile(r"evidence/\d{3}-[A-E]\.\d\.xml", re.ASCII)


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


def evidence_name(sequence: int, event: str) -> str:
    return f"evidence/{sequence:03d}-{event}.xml"


def package_entries(snapshot: SnapshotContents) -> tuple[tuple[str, bytes], ...]:
    """All but the seal, in their order. Raises PackageRefused."""
    if not 1 <= len(snapshot.documents) <= EVIDENCES_MAX:
        raise PackageRefused(f"{len(snapshot.documents)} evidences, 1 to {EVIDENCES_MAX} allowed")
    if max(len(snapshot.authorities), len(snapshot.revocation_lists)) > TRUST_MAX:
        raise PackageRefused("too many certificates or revocation lists")
    if snapshot.snapshot < 1 or (snapshot.snapshot == 1) != (snapshot.previous_sha256 is None):
        raise PackageRefused("the first snapshot, and only the first, has no previous one")
    if snapshot.previous_sha256 is not None and len(snapshot.previous_sha256) != 32:
        raise PackageRefused("the digest of the previous snapshot is not SHA-256")
    evidences = [
        (evidence_name(sequence, event_of(document)), document)
        for sequence, document in enumerate(snapshot.documents, start=1)
    ]
    entries = [
        ("mimetype", MIMETYPE),
        (DESCRIPTION, _description(snapshot, [event_of(document) for document in snapshot.documents])),
        *evidences,
        *((f"trust/authority-{n}.cer", der) for n, der in enumerate(snapshot.authorities, start=1)),
        *((f"trust/revoked-{n}.crl", der) for n, der in enumerate(snapshot.revocation_lists, start=1)),
    ]
    return (*entries, (MANIFEST, manifest([name for name, _ in entries])))


def event_of(document: bytes) -> str:
    """The event named inside, found without judging the rest: `verification` reads each evidence strictly."""
    match = re.search(rb"<erds:ERDSEventId>http://uri\.etsi\.org/19522/Event/(\w+)</erds:ERDSEventId>", document)
    code = CODE_OF_URI.get(URI + match.group(1).decode("ascii", "replace")) if match else None
    if code is None:
        raise PackageRefused("an entry is not an evidence of a known event")
    return code


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
