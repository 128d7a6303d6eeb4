"""The proof of deposit of a batch: one sealed and time-stamped ASiC-E container that lists what became of every line.

Owns     names, order and content of its entries; writing them one after the other; the strict way back
Rules    per line: its number in the batch, the sender's reference, deposited or rejected, and where there is evidence
         its number, time and SHA-256: the list vouches for each letter's own A.1 or A.2 without repeating it
         a million lines are written and read in the memory of one entry (LINES_PER_ENTRY lines)
Elsewhere: which batch may have one, storing it (pipeline/exports), the verdict (verification/checks.py)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from pipeline.evidence.form.xades import SealInvalid, SealParts, check_signature
from pipeline.evidence.package.container import Packer, entries_of
from pipeline.evidence.package.snapshot import (
    SIGNATURES,
    PackageToSign,
    package_signed_info,
    read_description,
    read_signatures,
    signatures,
    signing_time_of,
)
from pipeline.formats.instants import time_text
from pipeline.formats.package_form import MANIFEST, MIMETYPE, MODE_WORDS, PackageRefused, manifest
from pipeline.formats.xades import LIST_OF_THE_SERVICE

FORMAT = "qerds-batch-proof-1"
DESCRIPTION = "batch.json"
LINES_PER_ENTRY = 20_000  # some 3 MB
LINES_MAX = 1_000_000
BATCH_PROOF_BYTES_MAX = 268_435_456  # a million lines of at most 240 bytes
ENTRIES_MAX = LINES_MAX // LINES_PER_ENTRY + 10
DEPOSITED, REJECTED = "deposited", "rejected"
HEADER = b"line,client_ref,outcome,number,event_time,evidence_sha256,reason\n"

_LINE = re.compile(
    rb"([1-9]\d{0,6}),([A-Za-z0-9._:/-]{0,64}),(deposited|rejected),"
    rb"(?:(\d{14}),(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z),([0-9a-f]{64}),|,,,([a-z][a-z0-9_]{0,63}))\n",
    re.ASCII,
)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_REF = re.compile(r"[A-Za-z0-9._:/-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Evidenced:
    """The A.1 or A.2 of a line's letter."""

    number: str
    event_time: datetime
    sha256: bytes  # of the canonical bytes


@dataclass(frozen=True, slots=True)
class ProvenLine:
    """One line of a batch: deposited, or rejected either by an A.2 or, with `reason`, before it became a letter."""

    line: int
    client_ref: str | None
    outcome: str
    evidence: Evidenced | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class BatchHead:
    """What the proof says of the batch as a whole. parts_sha256: what the sender named when submitting it."""

    batch: UUID
    name: str
    mode: str
    issuer: str
    sender: str
    parts: int
    parts_sha256: bytes
    submitted_at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of the lines are which."""

    deposited: int
    rejected: int


@dataclass(frozen=True, slots=True)
class OpenedBatchProof:
    """A proof whose every byte was accounted for; what its seal is worth is judged in `verification`."""

    head: BatchHead
    counts: Counts
    entries: int
    to_sign: PackageToSign
    seal: SealParts
    authorities: tuple[bytes, ...]
    revocation_lists: tuple[bytes, ...]


@dataclass(slots=True)
class BatchProofWriter:
    """Gives the container's bytes piece by piece: start, lines.., describe, finish."""

    _packer: Packer = field(default_factory=Packer)
    _names: list[str] = field(default_factory=list)
    _digests: list[tuple[str, bytes]] = field(default_factory=list)
    _deposited: int = 0
    _lines: int = 0

    def start(self) -> bytes:
        """The first entry."""
        return self._entry("mimetype", MIMETYPE)

    def lines(self, page: Sequence[ProvenLine]) -> bytes:
        """The next entry of lines: LINES_PER_ENTRY of them, fewer in the last."""
        if not page or len(page) > LINES_PER_ENTRY or self._lines % LINES_PER_ENTRY:
            raise PackageRefused("the lines of a proof come in full entries but for the last")
        rows = []
        for line in page:
            self._lines += 1
            self._deposited += line.outcome == DEPOSITED
            if line.line != self._lines:
                raise PackageRefused(f"line {line.line} where line {self._lines} is due")
            rows.append(_row(line))
        return self._entry(_lines_name(len(self._names)), HEADER + b"".join(rows))

    def describe(self, head: BatchHead, authorities: Sequence[bytes], revocation_lists: Sequence[bytes]) -> bytes:
        """Everything else but the seal."""
        counts = Counts(self._deposited, self._lines - self._deposited)
        pieces = [self._entry(DESCRIPTION, _description(head, counts))]
        for n, der in enumerate(authorities, start=1):
            pieces.append(self._entry(f"trust/authority-{n}.cer", der))
        for n, der in enumerate(revocation_lists, start=1):
            pieces.append(self._entry(f"trust/revoked-{n}.crl", der))
        return b"".join([*pieces, self._entry(MANIFEST, manifest(self._names))])

    @property
    def line_count(self) -> int:
        """How many lines were written."""
        return self._lines

    def to_sign(self, signing_time: datetime) -> PackageToSign:
        """What the bridge is asked to seal; the entries themselves are on their way already."""
        if signing_time.utcoffset() is None:
            raise PackageRefused("signing time without a time zone")
        moment = signing_time.astimezone(UTC).replace(microsecond=0)
        return PackageToSign((), tuple(self._digests), moment, LIST_OF_THE_SERVICE)

    def finish(self, package: PackageToSign, certificate_der: bytes, signature: bytes, token: bytes) -> bytes:
        """The seal and the end. Raises SealInvalid if the seal does not hold: nothing unverifiable is stored."""
        check_signature(package_signed_info(package, certificate_der), signature, certificate_der)
        return self._entry(SIGNATURES, signatures(package, certificate_der, signature, token)) + self._packer.end()

    def _entry(self, name: str, content: bytes) -> bytes:
        self._names.append(name)
        self._digests.append((name, hashlib.sha256(content).digest()))
        return self._packer.entry(name, content)


def is_batch_proof(data: bytes) -> bool:
    """A first look at the second entry's name."""
    return _lines_name(1).encode() in data[:160]


def open_batch_proof(data: bytes) -> OpenedBatchProof:
    """Read a proof strictly; raises ContainerRefused, PackageRefused or SealInvalid.

    Like `open_package` it writes everything again from what was read, and compares; entry by entry.
    """
    small: dict[str, bytes] = {}
    digests: list[tuple[str, bytes]] = []
    lines = deposited = 0
    for name, content in entries_of(data, ENTRIES_MAX):
        if name == SIGNATURES:
            small[name] = content
            continue
        digests.append((name, hashlib.sha256(content).digest()))
        if name.startswith("lines/"):
            count, deposits = _read_lines(content, lines + 1)
            if lines % LINES_PER_ENTRY or name != _lines_name(len(digests) - 1):
                raise PackageRefused("an entry of lines is missing, moved or not full")
            lines, deposited = lines + count, deposited + deposits
        else:
            small[name] = content
    return _opened(small, digests, Counts(deposited, lines - deposited))


def _opened(small: dict[str, bytes], digests: list[tuple[str, bytes]], counts: Counts) -> OpenedBatchProof:
    if not {DESCRIPTION, SIGNATURES, MANIFEST} <= small.keys() or not counts.deposited + counts.rejected:
        raise PackageRefused("no lines, no description, no manifest or no seal")
    head = _head(small[DESCRIPTION])
    seal = read_signatures(small[SIGNATURES])
    # Under the signature, where it is; the first proofs were sealed without it, and are lists all the same.
    purpose = LIST_OF_THE_SERVICE if LIST_OF_THE_SERVICE.encode() in small[SIGNATURES] else None
    package = PackageToSign((), tuple(digests), signing_time_of(seal.signing_time), purpose)
    authorities = tuple(content for name, content in small.items() if name.endswith(".cer"))
    lists = tuple(content for name, content in small.items() if name.endswith(".crl"))
    line_names = [name for name, _ in digests if name.startswith("lines/")]
    names = [
        "mimetype",
        *line_names,
        DESCRIPTION,
        *(f"trust/authority-{n}.cer" for n in range(1, len(authorities) + 1)),
        *(f"trust/revoked-{n}.crl" for n in range(1, len(lists) + 1)),
    ]
    if [name for name, _ in digests] != [*names, MANIFEST] or small["mimetype"] != MIMETYPE:
        raise PackageRefused("the entries are not those of a proof of deposit")
    if small[MANIFEST] != manifest(names) or small[DESCRIPTION] != _description(head, counts):
        raise PackageRefused("the description or the manifest does not fit the lines")
    if signatures(package, seal.certificate_der, seal.signature, seal.token) != small[SIGNATURES]:
        raise SealInvalid("the seal is not over these entries, or not in the form this service writes")
    return OpenedBatchProof(head, counts, len(digests) + 1, package, seal, authorities, lists)


def _lines_name(number: int) -> str:
    return f"lines/{number:03d}.csv"


def _row(line: ProvenLine) -> bytes:
    ref = line.client_ref if line.client_ref is not None and _REF.fullmatch(line.client_ref) else ""
    if line.evidence is None:
        reason = line.reason if line.reason is not None and _CODE.fullmatch(line.reason) else "field_invalid"
        return f"{line.line},{ref},{line.outcome},,,,{reason}\n".encode()
    e = line.evidence
    return f"{line.line},{ref},{line.outcome},{e.number},{time_text(e.event_time)},{e.sha256.hex()},\n".encode()


def _read_lines(content: bytes, first: int) -> tuple[int, int]:
    """(lines, deposited ones) of an entry that begins with line `first`."""
    deposited = 0
    line = first
    for row in _rows(content):
        number, _, outcome, _, moment, _, reason = row.groups()
        if int(number) != line or (outcome == b"deposited" and reason is not None):
            raise PackageRefused(f"line {line} is missing, moved, or deposited without evidence")
        if moment is not None:
            _moment(moment.decode("ascii"))
        deposited += outcome == b"deposited"
        line += 1
    if not 1 <= line - first <= LINES_PER_ENTRY:
        raise PackageRefused("an entry with too many lines, or none")
    return line - first, deposited


def _rows(content: bytes) -> Iterator[re.Match[bytes]]:
    if not content.startswith(HEADER):
        raise PackageRefused("an entry of lines has its own header")
    offset = len(HEADER)
    while offset < len(content):
        row = _LINE.match(content, offset)
        if row is None:
            raise PackageRefused("a line that this service does not write")
        yield row
        offset = row.end()


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise PackageRefused(f"no such time: {text}") from error


def _description(head: BatchHead, counts: Counts) -> bytes:
    described = {
        "format": FORMAT,
        "batch": str(head.batch),
        "name": head.name,
        "mode": MODE_WORDS[head.mode],
        "issuer": head.issuer,
        "sender": head.sender,
        "submitted_at": time_text(head.submitted_at),
        "parts": head.parts,
        "sha256_of_parts": head.parts_sha256.hex(),
        "lines": counts.deposited + counts.rejected,
        "deposited": counts.deposited,
        "rejected": counts.rejected,
    }
    return json.dumps(described, indent=2, ensure_ascii=True).encode() + b"\n"


def _head(description: bytes) -> BatchHead:
    """What `_description` wrote; the caller writes it again and compares."""
    modes = {word: mode for mode, word in MODE_WORDS.items()}
    try:
        described = read_description(description)
        return BatchHead(
            batch=UUID(str(described["batch"])),
            name=str(described["name"]),
            mode=modes[str(described["mode"])],
            issuer=str(described["issuer"]),
            sender=str(described["sender"]),
            parts=int(str(described["parts"])),
            parts_sha256=bytes.fromhex(str(described["sha256_of_parts"])),
            submitted_at=_moment(str(described["submitted_at"])),
        )
    except (KeyError, ValueError) as error:
        raise PackageRefused("the description cannot be read") from error
