"""The checks on one evidence and on a package's own seal; each raises CheckFailed, none returns a verdict.

Owns the translation of the library's refusals into CheckFailed. The checks between evidences are in `chain`, the
order of all of them in `protocol`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.evidence.certificates import (
    CertificateRefused,
    RevocationList,
    check_issued,
    check_not_revoked,
    check_seal_certificate,
    load_crl,
)
from pipeline.evidence.content import EvidenceContent
from pipeline.evidence.dossier import Part
from pipeline.evidence.form.reading import NotOurForm, read
from pipeline.evidence.form.xades import SealInvalid, SealParts, check_signature, take_apart, verified_seal
from pipeline.evidence.package.container import ContainerRefused
from pipeline.evidence.package.snapshot import (
    OpenedPackage,
    PackageRefused,
    PackageToSign,
    open_package,
    package_signed_info,
)
from pipeline.evidence.time_stamp import RESOLUTION, TimeStamp, checked_time_stamp
from pipeline.evidence.verification.report import CheckFailed, ContentDigests
from pipeline.formats.events import EVENTS
from pipeline.formats.tst import TokenInvalid


@dataclass(frozen=True, slots=True)
class ReadEvidence:
    """One evidence with its parts, as far as its form goes."""

    subject: str  # the entry name, or "evidence"
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


def opened_package(container: bytes) -> OpenedPackage:
    try:
        return open_package(container)
    except (ContainerRefused, PackageRefused, SealInvalid) as error:
        raise CheckFailed(str(error)) from error


def package_seal(package: PackageToSign, seal: SealParts) -> None:
    """The package seal over every entry (EN 319 162-1 clause 4.4.3.2, EN 319 132-1)."""
    info = package_signed_info(package, seal.certificate_der)
    try:
        check_signature(info, seal.signature, seal.certificate_der)
        check_seal_certificate(seal.certificate_der)
    except (SealInvalid, CertificateRefused) as error:
        raise CheckFailed(str(error), "META-INF/signatures.xml") from error


def read_evidence(document: bytes, subject: str) -> ReadEvidence:
    """Take the document apart and read it; both compare every byte with what this service would write."""
    try:
        sealed = take_apart(document)
        content = read(sealed.canonical)
    except (SealInvalid, NotOurForm) as error:
        raise CheckFailed(str(error), subject) from error
    if EVENTS[content.event].by_recipient and content.identification is None:
        raise CheckFailed("an act of the recipient without an identified person", subject)
    return ReadEvidence(subject, content, sealed.canonical, hashlib.sha256(sealed.canonical).digest(), sealed.seal)


def seal(evidence: ReadEvidence) -> None:
    """The provider's seal over this evidence, by the certificate that the evidence itself names."""
    certificate_der = evidence.seal.certificate_der
    try:
        verified_seal(evidence.canonical, certificate_der, evidence.seal.signature)
        check_seal_certificate(certificate_der)
    except (SealInvalid, CertificateRefused) as error:
        raise CheckFailed(str(error), evidence.subject) from error


def time_stamp(parts: SealParts, event_time: datetime, at: datetime | None, subject: str) -> TimeStamp:
    """A token is demanded: without it nothing proves when the seal existed (EN 319 132-1 level B-T)."""
    if parts.token is None:
        raise CheckFailed("there is no time-stamp", subject)
    try:
        stamp = checked_time_stamp(parts.token, parts.signature, event_time)
    except TokenInvalid as error:
        raise CheckFailed(str(error), subject) from error
    if at is not None and stamp.gen_time - at > max(stamp.accuracy, RESOLUTION):
        raise CheckFailed("the time-stamp is later than the time given for the verification", subject)
    return stamp


def contents(parts: Sequence[Part], given: Sequence[ContentDigests]) -> None:
    """Every given document must be one of the letter's, by every digest that is known."""
    for document in given:
        if not any(_same(part, document) for part in parts):
            raise CheckFailed("this document is not part of the letter", document.name)


def _same(part: Part, document: ContentDigests) -> bool:
    return part.sha256 == document.sha256 and (
        None in (document.sha3_256, part.sha3_256) or document.sha3_256 == part.sha3_256
    )


def trust(signers: Iterable[Signer], anchors: Sequence[bytes], copies: Sequence[bytes]) -> dict[bytes, bytes]:
    """Leaf -> the anchor that vouches for it. Copies of authorities inside a package must be those anchors."""
    vouching: dict[bytes, bytes] = {}
    for signer in signers:
        try:
            vouching[signer.certificate_der] = check_issued(signer.certificate_der, anchors, signer.moment)
        except CertificateRefused as error:
            raise CheckFailed(str(error), signer.subject) from error
    if not set(copies) <= set(vouching.values()):
        raise CheckFailed("the package carries a certificate that vouches for nothing in it", "trust/")
    return vouching


def revocation(
    signers: Iterable[Signer], vouching: dict[bytes, bytes], lists: Sequence[bytes], anchors: Sequence[bytes]
) -> list[RevocationList]:
    """The lists that count; raises when one of them says that a certificate was revoked at its moment."""
    try:
        usable = [known for known in (load_crl(der, anchors) for der in lists) if known is not None]
    except CertificateRefused as error:
        raise CheckFailed(str(error), "trust/") from error
    for signer in signers:
        anchor = vouching[signer.certificate_der]
        try:
            check_not_revoked(signer.certificate_der, anchor, usable, signer.moment, time_stamping=signer.time_stamping)
        except CertificateRefused as error:
            raise CheckFailed(str(error), signer.subject) from error
    return usable
