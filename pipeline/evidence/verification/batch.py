"""The checks of a batch's proof of deposit that an evidence or a package does not have; each raises CheckFailed."""

from __future__ import annotations

from pipeline.evidence.form.xades import SealInvalid
from pipeline.evidence.package.batch_proof import OpenedBatchProof, open_batch_proof
from pipeline.evidence.package.container import ContainerRefused
from pipeline.evidence.package.snapshot import PackageRefused
from pipeline.evidence.verification.report import BatchFacts, CheckFailed


def opened_batch_proof(data: bytes) -> OpenedBatchProof:
    """Every byte of the container, every line, the description: as this service would write them."""
    try:
        return open_batch_proof(data)
    except (ContainerRefused, PackageRefused, SealInvalid) as error:
        raise CheckFailed(str(error)) from error


def facts_of(proof: OpenedBatchProof) -> BatchFacts:
    """What a person wants to see of it."""
    return BatchFacts(
        batch=str(proof.head.batch),
        name=proof.head.name,
        mode=proof.head.mode,
        issuer=proof.head.issuer,
        sender=proof.head.sender,
        submitted_at=proof.head.submitted_at,
        parts_sha256=proof.head.parts_sha256.hex(),
        deposited=proof.counts.deposited,
        rejected=proof.counts.rejected,
    )
