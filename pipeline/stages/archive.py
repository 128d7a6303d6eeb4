"""Preserve: write numbered package snapshots into the object store.

Receives  preserve: a delivery whose stamped prefix grew, or whose package somebody asked for
          batch_proof, export: what a sender takes home in bulk (pipeline/exports)
Outside   package seal and token at the bridge, one object written; repeatable, each try under a new name
Commits   Snapshot, BatchProof, ExportStep   Emits  preserve and export, of an export that is not at its end
Fails     Retry: bridge, store or database away. Bury: bridge denies the package. Invariant: its seal does not verify
Source    EN 319 162-1 (ASiC-E); docs/invariants.md, "State is derived": snapshots are supersets, chained by digest
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Stage, Tx, Work, beside
from pipeline.content.names import NAME_RANDOM_BYTES, object_name
from pipeline.delivery import facts
from pipeline.delivery.routes import PRESERVE
from pipeline.errors import Invariant, Transient
from pipeline.evidence.form.xades import SealInvalid, assemble
from pipeline.evidence.package.snapshot import PackageToSign, Snapshot, finish, package_imprint_sha256, package_to_sign
from pipeline.exports import perform as exports
from pipeline.exports.ports import ExportFacts
from pipeline.ports.bridge import Bridge, Keys, wire
from pipeline.ports.outside import Objects, Randomness
from pipeline.ports.rows import Facts, Proofs

BATCH_MAX = 50  # packages of some 60 KiB, held at once
PERFORM_SECONDS = 300.0  # the proof of a million lines is written in one go; a minute on two quiet cores


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    facts: Facts
    bridge: Bridge[Literal["archive"]]
    objects: Objects
    keys: Keys
    randomness: Randomness
    exports: ExportFacts


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[facts.Snapshot | None]]:
    """Pack what is new, have it sealed and stamped, store it. None: nothing is new."""
    proofs = await ports.facts.proofs([m.subject for m in batch])
    outcomes: list[Outcome[facts.Snapshot | None]] = []
    due: list[tuple[Message, Proofs]] = []
    for m in batch:
        known = proofs.get(m.subject)
        if known is None:
            outcomes.append(Bury(m, "no such delivery"))
        elif known.stamped_through <= known.snapshot_through or any(p.delivery == m.subject for _, p in due):
            outcomes.append(Done(m, None))  # preserved already, or by a neighbour in this batch
        else:
            due.append((m, known))
    if not due:
        return outcomes
    trust = (await ports.keys.trust_anchor(), await ports.keys.document("crl"))
    packages = [package_to_sign(snapshot_of(p, *trust), p.legal_time) for _, p in due]
    seals = await ports.bridge.ask([wire.SealPackage(p.digests, p.signing_time) for p in packages])
    for (m, known), package, seal in zip(due, packages, seals, strict=True):
        outcomes.append(await _store(m, known, package, seal, ports))
    return outcomes


def snapshot_of(proofs: Proofs, authority: bytes, revocations: bytes | None) -> Snapshot:
    """Every evidence of the stamped prefix, complete, with the CA and its revocation list for information."""
    return Snapshot(
        delivery=proofs.delivery,
        number=proofs.number,
        mode=proofs.mode,
        snapshot=proofs.snapshots + 1,
        previous_sha256=proofs.snapshot_sha256,
        documents=tuple(assemble(e.canonical, e.certificate, e.signature, e.token) for e in proofs.evidences),
        authorities=(authority,),
        revocation_lists=() if revocations is None else (revocations,),
    )


async def _store(
    message: Message, proofs: Proofs, package: PackageToSign, seal: wire.Sealed | wire.Denied, ports: Ports
) -> Outcome[facts.Snapshot | None]:
    if isinstance(seal, wire.Denied):
        return Bury(message, f"package seal denied: {seal.code}")
    certificate = cast(bytes, (await ports.keys.by_id(seal.key_id)).certificate)
    [stamped] = await ports.bridge.ask([wire.TimeStamp(package_imprint_sha256(seal.signature), package.signing_time)])
    if isinstance(stamped, wire.Denied):
        raise Transient(f"the package seal was not stamped: {stamped.code}")
    try:
        container = finish(package, certificate, seal.signature, stamped.token)
    except SealInvalid as error:
        raise Invariant(f"the package seal of delivery {proofs.delivery} does not verify") from error
    name = object_name(ports.randomness.random_bytes(NAME_RANDOM_BYTES))
    await ports.objects.put(name, _once(container))
    fact = facts.Snapshot(
        delivery=proofs.delivery,
        snapshot=proofs.snapshots + 1,
        object=name,
        package_bytes=len(container),
        sha256=hashlib.sha256(container).digest(),
        previous_sha256=proofs.snapshot_sha256,
        sequence_through=proofs.stamped_through,
    )
    return Done(message, fact)


async def _once(container: bytes) -> AsyncIterator[bytes]:
    yield container


async def commit(tx: Tx, done: Sequence[Done[facts.Snapshot | None]]) -> list[Emission]:
    """A crash before it leaves an object that no row names; another process writing the same number first is an
    exception here, and the message is judged again, alone."""
    await tx.add([d.fact for d in done if d.fact is not None])
    return []


WORK = beside(Work(frozenset({PRESERVE}), perform, commit), exports.WORK)  # packages first: somebody may wait for one
STAGE = Stage("archive", WORK, batch_max=BATCH_MAX, perform_seconds=PERFORM_SECONDS)
