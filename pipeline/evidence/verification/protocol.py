"""Verify a package, a batch's proof of deposit or a single evidence, offline: the checks of `table`, in their order.

Owns the order's end and the verdict. The command line, the web page and the API all call `verify`. The first check that
fails ends the verification, because later ones would judge unproven data. No network, no clock, no trust but in the
anchors that the caller gives.

Not checked: the provider's standing on a trusted list (a matter of the anchors), and that a later evidence exists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from pipeline.evidence.package.batch_proof import is_batch_proof
from pipeline.evidence.package.snapshot import SIGNATURES
from pipeline.evidence.time_stamp import LAG_SECONDS_MAX
from pipeline.evidence.verification.case import Case
from pipeline.evidence.verification.report import (
    BatchFacts,
    CheckFailed,
    CheckOutcome,
    ContentDigests,
    LetterFacts,
    NotChecked,
    ProvenEvent,
    Report,
    Step,
    Verdict,
)
from pipeline.evidence.verification.table import ORDERS, Check
from pipeline.formats.events import EVENTS
from pipeline.formats.package_form import MIMETYPE

_EVIDENCE_START = b"<erds:Evidence "


def verify(
    data: bytes,
    anchors: Sequence[bytes] = (),
    contents: Sequence[ContentDigests] = (),
    at: datetime | None = None,
    *,
    revocation_lists: Sequence[bytes] = (),
    lag_seconds_max: int = LAG_SECONDS_MAX,
) -> Report:
    """Judge `data`. `anchors` and `revocation_lists` are DER; anchors come from the person who verifies.
    lag_seconds_max: what was proved later than so long after it happened is told as late; it is no less valid.

    Raises only for programming errors: whatever the bytes are, the answer is a Report.
    """
    kind, sha256 = _kind(data), hashlib.sha256(data).hexdigest()
    if kind == "unknown":
        return Report(kind, sha256, Verdict.NOT_A_PROOF, (), None)
    case = Case(data, anchors, contents, at, list(revocation_lists))
    case.documents = [("", data)]  # an evidence alone; a package's are found by its first check
    steps = _steps(kind, case)
    if steps[-1].outcome is CheckOutcome.FAILED:  # nobody should read what did not hold
        return Report(kind, sha256, Verdict.INVALID, steps, None)
    facts = _batch_facts(case) if kind == "batch" else _facts(case, kind, lag_seconds_max)
    return Report(kind, sha256, Verdict.VALID if anchors else Verdict.INDETERMINATE, steps, facts)


def _kind(data: bytes) -> str:
    """A first look, so that a damaged proof is called damaged and a holiday picture is not."""
    if data[:2] == b"PK" and (MIMETYPE in data[:128] or SIGNATURES.encode() in data):
        return "batch" if is_batch_proof(data) else "package"
    if MIMETYPE in data[:128] and SIGNATURES.encode() in data:
        return "package"
    return "evidence" if _EVIDENCE_START in data[:256] else "unknown"


def _steps(kind: str, case: Case) -> tuple[Step, ...]:
    """Up to the first that fails. Numbered by their place among those that were done."""
    steps: list[Step] = []
    for check in ORDERS[kind]:
        if check.name == "batch_content" and not case.contents:
            continue
        steps.append(_step(len(steps) + 1, check, case))
        if steps[-1].outcome is CheckOutcome.FAILED:
            break
    return tuple(steps)


def _step(number: int, check: Check, case: Case) -> Step:
    try:
        values = check.run(case)
    except CheckFailed as failed:
        return Step(number, check.name, CheckOutcome.FAILED, failed.subject, failed.detail)
    except NotChecked:
        return Step(number, check.name, CheckOutcome.NOT_CHECKED)
    texts = tuple((name, str(value)) for name, value in values.items())
    return Step(number, check.name, CheckOutcome.PASSED, values=texts)


def _facts(case: Case, kind: str, lag_seconds_max: int) -> LetterFacts:
    first = case.evidences[0].content
    recipient = first.recipient
    return LetterFacts(
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
            for e, s in zip(case.evidences, case.stamps, strict=True)
        ),
        snapshot=case.snapshot.snapshot if kind == "package" else None,
        lag_seconds_max=lag_seconds_max,
    )


def _batch_facts(case: Case) -> BatchFacts:
    head, counts = case.proof.head, case.proof.counts
    return BatchFacts(
        batch=str(head.batch),
        name=head.name,
        mode=head.mode,
        issuer=head.issuer,
        sender=head.sender,
        submitted_at=head.submitted_at,
        parts_sha256=head.parts_sha256.hex(),
        deposited=counts.deposited,
        rejected=counts.rejected,
    )
