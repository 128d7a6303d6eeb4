"""Verify a package or a single evidence, offline, in a fixed order of numbered steps.

Owns the order and the verdict. The command line, the web page and the API all call `verify`. Each step is one check;
the first that fails ends the verification, because later ones would judge unproven data. No network, no clock, no
trust but in the anchors that the caller gives.

A package, in this order:                       A single evidence:
 (1) container    every byte of the zip           (1) form
     and every entry rebuilt                      (2) seals
 (2) package_seal seal over all entries           (3) times
 (3) package_time its time-stamp                  (4) content
 (4) form         each evidence, byte for byte    (5) trust
 (5) seals        each seal                       (6) revocation
 (6) times        each time-stamp, not older than its event
 (7) sequence     no evidence missing, moved or doubled
 (8) story        an order of events that can happen
 (9) one_delivery same letter, deposit, person
(10) content      documents given by the caller
(11) trust        every certificate, at its time, under a given anchor
(12) revocation   by the lists in the package or given, if an anchor signed them

A batch's proof of deposit: (1) batch_form: every byte of the zip, every line; (2) package_seal (3) package_time
(4) batch_content: never, it names no documents (5) trust (6) revocation.

Not checked: the provider's standing on a trusted list (a matter of the anchors), and that a later evidence exists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from pipeline.evidence.package.batch_proof import is_batch_proof
from pipeline.evidence.package.snapshot import MIMETYPE, SIGNATURES
from pipeline.evidence.time_stamp import TimeStamp
from pipeline.evidence.verification import batch, chain, checks
from pipeline.evidence.verification.checks import ReadEvidence, Signer
from pipeline.evidence.verification.report import (
    BatchFacts,
    CheckFailed,
    ContentDigests,
    Facts,
    Outcome,
    ProvenEvent,
    Report,
    Step,
    Verdict,
)
from pipeline.formats.events import EVENTS

Found = TypeVar("Found")
_EVIDENCE_START = b"<erds:Evidence "


@dataclass(slots=True)
class _Run:
    """The steps taken so far, and what the caller gave."""

    anchors: Sequence[bytes]
    contents: Sequence[ContentDigests]
    at: datetime | None
    steps: list[Step] = field(default_factory=list)
    facts: Facts | BatchFacts | None = None

    def step(self, check: str, action: Callable[[], Found], **values: object) -> Found:
        number = len(self.steps) + 1
        try:
            found = action()
        except CheckFailed as failed:
            self.steps.append(Step(number, check, Outcome.FAILED, failed.subject, failed.detail))
            raise
        self.steps.append(Step(number, check, Outcome.PASSED, values=_texts(values)))
        return found

    def skip(self, check: str) -> None:
        self.steps.append(Step(len(self.steps) + 1, check, Outcome.NOT_CHECKED))

    def add_values(self, **values: object) -> None:
        """What the last step found, known only after it passed."""
        last = self.steps[-1]
        self.steps[-1] = Step(last.number, last.check, last.outcome, values=_texts(values))


def _texts(values: dict[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in values.items())


def verify(
    data: bytes,
    anchors: Sequence[bytes] = (),
    contents: Sequence[ContentDigests] = (),
    at: datetime | None = None,
    *,
    revocation_lists: Sequence[bytes] = (),
) -> Report:
    """Judge `data`. `anchors` and `revocation_lists` are DER; anchors come from the person who verifies.

    Raises only for programming errors: whatever the bytes are, the answer is a Report.
    """
    kind = _kind(data)
    run = _Run(anchors, contents, at)
    verdict = Verdict.NOT_A_PROOF
    if kind != "unknown":
        try:
            _PROTOCOLS[kind](run, data, revocation_lists)
            verdict = Verdict.VALID if anchors else Verdict.INDETERMINATE
        except CheckFailed:
            verdict = Verdict.INVALID
    facts = None if verdict is Verdict.INVALID else run.facts  # nobody should read what did not hold
    return Report(kind, hashlib.sha256(data).hexdigest(), verdict, tuple(run.steps), facts)


def _kind(data: bytes) -> str:
    """A first look, so that a damaged proof is called damaged and a holiday picture is not."""
    if data[:2] == b"PK" and (MIMETYPE in data[:128] or SIGNATURES.encode() in data):
        return "batch" if is_batch_proof(data) else "package"
    if MIMETYPE in data[:128] and SIGNATURES.encode() in data:
        return "package"
    return "evidence" if _EVIDENCE_START in data[:256] else "unknown"


def _package(run: _Run, data: bytes, revocation_lists: Sequence[bytes]) -> None:
    package = run.step("container", lambda: checks.opened_package(data))
    snapshot, signing_time = package.snapshot, package.to_sign.signing_time
    run.add_values(entries=len(package.to_sign.entries) + 1, snapshot=snapshot.snapshot)
    run.step("package_seal", lambda: checks.package_seal(package.to_sign, package.seal))
    own_stamp = run.step("package_time", lambda: checks.time_stamp(package.seal, signing_time, run.at, SIGNATURES))
    run.add_values(time=_time(own_stamp.gen_time))
    evidences = run.step(
        "form",
        lambda: [checks.read_evidence(d, name) for d, name in zip(snapshot.documents, package.names, strict=True)],
        count=len(snapshot.documents),
    )
    stamps = _seals_and_times(run, evidences)
    run.step("sequence", lambda: chain.sequence(evidences), count=len(evidences))
    run.step("story", lambda: chain.story(evidences), events=", ".join(e.content.event for e in evidences))
    run.step("one_delivery", lambda: chain.one_delivery(evidences, stamps, snapshot), number=snapshot.number)
    signers = [
        Signer(SIGNATURES, package.seal.certificate_der, own_stamp.gen_time, time_stamping=False),
        Signer(SIGNATURES, own_stamp.certificate_der, own_stamp.gen_time, time_stamping=True),
        *_signers(evidences, stamps),
    ]
    run.facts = _facts(evidences, stamps, snapshot.snapshot)
    _contents(run, evidences[0])
    _trust(run, signers, snapshot.authorities, [*snapshot.revocation_lists, *revocation_lists])


def _batch(run: _Run, data: bytes, revocation_lists: Sequence[bytes]) -> None:
    proof = run.step("batch_form", lambda: batch.opened_batch_proof(data))
    run.add_values(lines=proof.counts.deposited + proof.counts.rejected, entries=proof.entries)
    run.step("package_seal", lambda: checks.package_seal(proof.to_sign, proof.seal))
    stamp = run.step(
        "package_time", lambda: checks.time_stamp(proof.seal, proof.to_sign.signing_time, run.at, SIGNATURES)
    )
    run.add_values(time=_time(stamp.gen_time))
    run.facts = batch.facts_of(proof)
    if run.contents:
        run.skip("batch_content")
    signers = [
        Signer(SIGNATURES, proof.seal.certificate_der, stamp.gen_time, time_stamping=False),
        Signer(SIGNATURES, stamp.certificate_der, stamp.gen_time, time_stamping=True),
    ]
    _trust(run, signers, proof.authorities, [*proof.revocation_lists, *revocation_lists])


def _evidence(run: _Run, data: bytes, revocation_lists: Sequence[bytes]) -> None:
    evidences = run.step("form", lambda: [checks.read_evidence(data, "")], count=1)
    stamps = _seals_and_times(run, evidences)
    run.facts = _facts(evidences, stamps, None)
    _contents(run, evidences[0])
    _trust(run, _signers(evidences, stamps), (), revocation_lists)


_PROTOCOLS = {"package": _package, "batch": _batch, "evidence": _evidence}


def _seals_and_times(run: _Run, evidences: list[ReadEvidence]) -> list[TimeStamp]:
    def seals() -> None:
        for evidence in evidences:
            checks.seal(evidence)

    run.step("seals", seals, count=len(evidences))
    return run.step(
        "times",
        lambda: [checks.time_stamp(e.seal, e.content.event_time, run.at, e.subject) for e in evidences],
        count=len(evidences),
    )


def _signers(evidences: list[ReadEvidence], stamps: list[TimeStamp]) -> list[Signer]:
    """Each seal and each time-stamping unit, both to be judged at the time that the token proves."""
    signers = []
    for evidence, stamp in zip(evidences, stamps, strict=True):
        signers.append(Signer(evidence.subject, evidence.seal.certificate_der, stamp.gen_time, time_stamping=False))
        signers.append(Signer(evidence.subject, stamp.certificate_der, stamp.gen_time, time_stamping=True))
    return signers


def _contents(run: _Run, evidence: ReadEvidence) -> None:
    parts = evidence.content.parts
    if not run.contents:
        run.skip("content")
        return
    run.step("content", lambda: checks.contents(parts, run.contents), given=len(run.contents), parts=len(parts))


def _trust(run: _Run, signers: list[Signer], copies: Sequence[bytes], lists: Sequence[bytes]) -> None:
    if not run.anchors:
        run.skip("trust")
        run.skip("revocation")
        return
    vouching = run.step("trust", lambda: checks.trust(signers, run.anchors, copies))
    usable = run.step("revocation", lambda: checks.revocation(signers, vouching, lists, run.anchors))
    covered = {known.anchor_der for known in usable}
    if not set(vouching.values()) <= covered:
        run.steps.pop()
        run.skip("revocation")
        return
    run.add_values(time=_time(max(known.crl.last_update_utc for known in usable)))


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _facts(evidences: list[ReadEvidence], stamps: list[TimeStamp], snapshot: int | None) -> Facts:
    first = evidences[0].content
    recipient = first.recipient
    return Facts(
        number=first.number,
        delivery=str(first.delivery),
        mode=first.mode,
        issuer=first.issuer.name,
        sender=first.sender.name,
        recipient=f"{recipient.given_names} {recipient.usage_name or recipient.birth_name}",
        events=tuple(
            ProvenEvent(
                e.content.event, EVENTS[e.content.event].name, e.content.sequence, e.content.event_time, s.gen_time
            )
            for e, s in zip(evidences, stamps, strict=True)
        ),
        snapshot=snapshot,
    )
