"""The checks on a container, on each evidence and on certificates; those between evidences are in `chain`.

Each takes the case, adds what it found, and gives the values of its sentence. It raises CheckFailed when something does
not hold, NotChecked when it could not be done; none returns a verdict. Numbers, sources and sentences are the table's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from pipeline.evidence.certificates import (
    CertificateRefused,
    RevocationList,
    check_issued,
    check_not_revoked,
    check_seal_certificate,
    load_crl,
)
from pipeline.evidence.dossier import Part
from pipeline.evidence.form.reading import NotOurForm, read
from pipeline.evidence.form.xades import SealInvalid, SealParts, check_signature, take_apart, verified_seal
from pipeline.evidence.package.batch_proof import open_batch_proof
from pipeline.evidence.package.container import ContainerRefused
from pipeline.evidence.package.snapshot import SIGNATURES, open_package, package_signed_info
from pipeline.evidence.time_stamp import CheckedTimeStamp, checked_time_stamp
from pipeline.evidence.verification.case import Case, ReadEvidence, Values, time_value
from pipeline.evidence.verification.report import CheckFailed, ContentDigests, NotChecked
from pipeline.formats.events import EVENTS
from pipeline.formats.package_form import PackageRefused
from pipeline.formats.tst import RESOLUTION, TokenInvalid


def container(case: Case) -> Values:
    """Check 1 (EN 319 162-1 clause 4.4): every byte of the zip, every entry rebuilt."""
    try:
        package = open_package(case.data)
    except (ContainerRefused, PackageRefused, SealInvalid) as error:
        raise CheckFailed(str(error)) from error
    case.snapshot, case.to_sign, case.own_seal = package.snapshot, package.to_sign, package.seal
    case.documents = list(zip(package.names, package.snapshot.documents, strict=True))
    case.authorities = package.snapshot.authorities
    case.revocation_lists = [*package.snapshot.revocation_lists, *case.revocation_lists]
    return {"entries": len(package.to_sign.entries) + 1, "snapshot": package.snapshot.snapshot}


def batch_form(case: Case) -> Values:
    """Check 13 (EN 319 162-1 clause 4.4): every byte of the zip, every line and its number, as we would write them."""
    try:
        proof = open_batch_proof(case.data)
    except (ContainerRefused, PackageRefused, SealInvalid) as error:
        raise CheckFailed(str(error)) from error
    case.proof, case.to_sign, case.own_seal = proof, proof.to_sign, proof.seal
    case.authorities = proof.authorities
    case.revocation_lists = [*proof.revocation_lists, *case.revocation_lists]
    return {"lines": proof.counts.deposited + proof.counts.rejected, "entries": proof.entries}


def package_seal(case: Case) -> Values:
    """Check 2 (EN 319 162-1 clause 4.4.3.2, EN 319 132-1): the seal over every entry."""
    certificate_der = case.own_seal.certificate_der
    info = package_signed_info(case.to_sign, certificate_der)
    try:
        check_signature(info, case.own_seal.signature, certificate_der)
        check_seal_certificate(certificate_der)
    except (SealInvalid, CertificateRefused) as error:
        raise CheckFailed(str(error), SIGNATURES) from error
    return {}


def package_time(case: Case) -> Values:
    """Check 3 (EN 319 132-1 level B-T, RFC 3161): the time-stamp of the seal over every entry."""
    stamp = _time_stamp(case.own_seal, case.to_sign.signing_time, case.at, SIGNATURES)
    case.add_signers(SIGNATURES, case.own_seal, stamp)
    return {"time": time_value(stamp.gen_time)}


def form(case: Case) -> Values:
    """Check 4 (EN 319 522-3): each evidence taken apart, read, and compared with what this service would write."""
    case.evidences = [_read_evidence(document, subject) for subject, document in case.documents]
    return {"count": len(case.evidences)}


def _read_evidence(document: bytes, subject: str) -> ReadEvidence:
    try:
        sealed = take_apart(document)
        content = read(sealed.canonical)
    except (SealInvalid, NotOurForm) as error:
        raise CheckFailed(str(error), subject) from error
    if EVENTS[content.event].by_recipient and content.identification is None:
        raise CheckFailed("an act of the recipient without an identified person", subject)
    return ReadEvidence(subject, content, sealed.canonical, hashlib.sha256(sealed.canonical).digest(), sealed.seal)


def seals(case: Case) -> Values:
    """Check 5 (EN 319 132-1): the provider's seal, by the certificate that the evidence itself names."""
    for evidence in case.evidences:
        certificate_der = evidence.seal.certificate_der
        try:
            verified_seal(evidence.canonical, certificate_der, evidence.seal.signature)
            check_seal_certificate(certificate_der)
        except (SealInvalid, CertificateRefused) as error:
            raise CheckFailed(str(error), evidence.subject) from error
    return {"count": len(case.evidences)}


def times(case: Case) -> Values:
    """Check 6 (EN 319 132-1 level B-T, RFC 3161): each seal's time-stamp, not older than its event; this not before the
    submission."""
    case.stamps = [_time_stamp(e.seal, e.content.event_time, case.at, e.subject) for e in case.evidences]
    for evidence, stamp in zip(case.evidences, case.stamps, strict=True):
        if evidence.content.event_time < evidence.content.submitted_at:
            raise CheckFailed("it happened before the letter was submitted", evidence.subject)
        case.add_signers(evidence.subject, evidence.seal, stamp)
    return {"count": len(case.evidences)}


def _time_stamp(parts: SealParts, event_time: datetime, at: datetime | None, subject: str) -> CheckedTimeStamp:
    """A token is demanded: without it nothing proves when the seal existed."""
    if parts.token is None:
        raise CheckFailed("there is no time-stamp", subject)
    try:
        stamp = checked_time_stamp(parts.token, parts.signature, event_time)
    except TokenInvalid as error:
        raise CheckFailed(str(error), subject) from error
    if at is not None and stamp.gen_time - at > max(stamp.accuracy, RESOLUTION):
        raise CheckFailed("the time-stamp is later than the time given for the verification", subject)
    return stamp


def content(case: Case) -> Values:
    """Check 10 (EN 319 522-3, UserContentInfo): every given document is one of the letter's, by every known digest."""
    if not case.contents:
        raise NotChecked
    parts = case.evidences[0].content.parts
    for document in case.contents:
        if not any(_same(part, document) for part in parts):
            raise CheckFailed("this document is not part of the letter", document.name)
    return {"given": len(case.contents), "parts": len(parts)}


def _same(part: Part, document: ContentDigests) -> bool:
    return part.sha256 == document.sha256 and (
        None in (document.sha3_256, part.sha3_256) or document.sha3_256 == part.sha3_256
    )


def batch_content(_: Case) -> Values:
    """Check 14 (no source): a batch's proof of deposit names no documents, so none can be foreign to it."""
    raise NotChecked


def trust(case: Case) -> Values:
    """Check 11 (RFC 5280 section 6.1): each certificate, at its time, under an anchor that was given.

    Copies of authorities inside a package must be those anchors, so that nobody is led to trust another.
    """
    if not case.anchors:
        raise NotChecked
    vouching: dict[bytes, bytes] = {}
    for signer in case.signers:
        try:
            vouching[signer.certificate_der] = check_issued(signer.certificate_der, case.anchors, signer.moment)
        except CertificateRefused as error:
            raise CheckFailed(str(error), signer.subject) from error
    if not set(case.authorities) <= set(vouching.values()):
        raise CheckFailed("the package carries a certificate that vouches for nothing in it", "trust/")
    case.vouching = vouching
    return {}


def revocation(case: Case) -> Values:
    """Check 12 (RFC 5280 section 5, RFC 3161 section 4): nobody was revoked at the time, by lists that count."""
    if not case.anchors:
        raise NotChecked
    usable = _usable(case.revocation_lists, case.anchors)
    for signer in case.signers:
        anchor = case.vouching[signer.certificate_der]
        try:
            check_not_revoked(signer.certificate_der, anchor, usable, signer.moment, time_stamping=signer.time_stamping)
        except CertificateRefused as error:
            raise CheckFailed(str(error), signer.subject) from error
    if not set(case.vouching.values()) <= {revocation_list.anchor_der for revocation_list in usable}:
        raise NotChecked
    return {"time": time_value(max(revocation_list.crl.last_update_utc for revocation_list in usable))}


def _usable(lists: Sequence[bytes], anchors: Sequence[bytes]) -> list[RevocationList]:
    try:
        return [
            revocation_list
            for revocation_list in (load_crl(der, anchors) for der in lists)
            if revocation_list is not None
        ]
    except CertificateRefused as error:
        raise CheckFailed(str(error), "trust/") from error
