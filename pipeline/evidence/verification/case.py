"""What is judged, what the person who verifies gave, and what the checks have proven so far.

Owns     the values that one check leaves to the next
Rules    a field without a value is filled by the check that is named there; reading it before is a programming error
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.evidence.content import EvidenceContent
from pipeline.evidence.form.xades import SealParts
from pipeline.evidence.package.batch_proof import OpenedBatchProof
from pipeline.evidence.package.snapshot import PackageToSign
from pipeline.evidence.time_stamp import CheckedTimeStamp
from pipeline.evidence.verification.report import ContentDigests
from pipeline.formats.package_form import SnapshotContents

Values = dict[str, object]


@dataclass(frozen=True, slots=True)
class ReadEvidence:
    """One evidence with its parts, as far as its form goes."""

    subject: str  # the entry name, or "" for an evidence alone
    content: EvidenceContent
    canonical: bytes
    canonical_sha256: bytes
    seal: SealParts


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate that was used, and the time at which it must have been good."""

    subject: str
    certificate_der: bytes
    moment: datetime
    time_stamping: bool


@dataclass(slots=True)
class Case:
    """One file under judgement. Certificates and lists are DER; anchors come from the person who verifies."""

    data: bytes
    anchors: Sequence[bytes]
    contents: Sequence[ContentDigests]
    at: datetime | None
    revocation_lists: list[bytes]  # given, and those in the package

    documents: list[tuple[str, bytes]] = field(init=False)  # container: entry names and evidences
    snapshot: SnapshotContents = field(init=False)  # container
    proof: OpenedBatchProof = field(init=False)  # batch_form
    to_sign: PackageToSign = field(init=False)  # container, batch_form
    own_seal: SealParts = field(init=False)  # container, batch_form
    authorities: Sequence[bytes] = ()  # container, batch_form: copies of certificates
    signers: list[Signer] = field(default_factory=list)  # package_time, times
    evidences: list[ReadEvidence] = field(init=False)  # form
    stamps: list[CheckedTimeStamp] = field(init=False)  # times
    vouching: dict[bytes, bytes] = field(init=False)  # trust: leaf -> the anchor that vouches for it

    def add_signers(self, subject: str, seal: SealParts, stamp: CheckedTimeStamp) -> None:
        """A seal and the time-stamping unit over it, both to be judged at the time that the token proves."""
        self.signers.append(Signer(subject, seal.certificate_der, stamp.gen_time, time_stamping=False))
        self.signers.append(Signer(subject, stamp.certificate_der, stamp.gen_time, time_stamping=True))


def time_value(moment: datetime) -> str:
    """As a report says a time."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
