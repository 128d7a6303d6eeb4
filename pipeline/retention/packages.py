"""Make packages: have them sealed and stamped at the bridge, check them, and store those of deliveries.

Owns     the order of the steps; what a delivery's next snapshot holds
Rules    nothing leaves here that does not verify. Everything may be done again: the rows say which try counts
         many packages are two questions to the bridge
Elsewhere: the bytes of a package (pipeline/evidence/package), a batch's proof (pipeline/exports/batch_proof.py)
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from pipeline.actors.contract import Bury, Message, Retry
from pipeline.delivery import facts
from pipeline.errors import Invariant, Transient
from pipeline.evidence.form.xades import SealInvalid, assemble_stored
from pipeline.evidence.package.snapshot import PackageToSign, finish, package_imprint_sha256, package_to_sign
from pipeline.formats.package_form import SnapshotContents
from pipeline.ports.bridge import Bridge, Keys, wire
from pipeline.ports.outside import Objects, Randomness
from pipeline.ports.rows import DeliveryProofs
from pipeline.retention.storing import store

SIGNING_TIME_PAST = "signing_time_past"  # the bridge's code: the clock of the law went on while it was packed
ArchiveBridge = Bridge[Literal["archive"]]  # the bridge as `archive` sees it


class PackagePorts(Protocol):
    """What making a package may ask of the outside: `archive` has it."""

    @property
    def bridge(self) -> ArchiveBridge: ...
    @property
    def objects(self) -> Objects: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def randomness(self) -> Randomness: ...


@dataclass(frozen=True, slots=True)
class Unsealed:
    """A package or a list but for its seal. about: for people, whose it is. item: what the bridge is asked. finish: of
    package, certificate, signature and token makes the bytes that seal it; raises SealInvalid."""

    about: str
    item: wire.SealPackage | wire.SealList
    package: PackageToSign
    finish: Callable[[PackageToSign, bytes, bytes, bytes], bytes]


async def preserve(
    deliveries: Sequence[DeliveryProofs], ports: PackagePorts
) -> dict[UUID, facts.Snapshot | wire.Denied]:
    """The next snapshot of each delivery, stored; or the bridge's no to its seal. Raises as `sealed`."""
    trust = (await ports.keys.trust_anchor(), await ports.keys.document("crl"))
    packages = [
        Unsealed(f"delivery {d.delivery}", item_of(d, trust[1], package), package, finish)
        for d in deliveries
        for package in [package_to_sign(snapshot_of(d, *trust), d.legal_time)]
    ]
    containers = await sealed(packages, ports.bridge, ports.keys)
    return {
        d.delivery: container if isinstance(container, wire.Denied) else await _stored(d, container, ports)
        for d, container in zip(deliveries, containers, strict=True)
    }


async def sealed(packages: Sequence[Unsealed], bridge: ArchiveBridge, keys: Keys) -> list[bytes | wire.Denied]:
    """What `finish` makes of each, or the bridge's no to this one. Raises Transient when the bridge is away or stamps
    one of them not, Invariant when a seal does not verify."""
    seals = await bridge.ask([u.item for u in packages])
    signed = [(u, seal) for u, seal in zip(packages, seals, strict=True) if isinstance(seal, wire.Sealed)]
    stamps = await bridge.ask(
        [wire.TimeStamp(package_imprint_sha256(seal.signature), u.package.signing_time) for u, seal in signed]
    )
    ends = iter([await _finished(u, seal, stamp, keys) for (u, seal), stamp in zip(signed, stamps, strict=True)])
    return [seal if isinstance(seal, wire.Denied) else next(ends) for seal in seals]


def not_sealed(message: Message, denied: wire.Denied) -> Retry | Bury:
    """What the bridge's no means for the one package or list that it is about: a wrong clock is no fault of it."""
    if denied.is_clock:
        return Retry.for_clock(message, "the bridge's clock is behind the signing time, or that behind a proof")
    if denied.code == SIGNING_TIME_PAST:
        return Retry(message, "the clock of the law went on while it was packed")
    return Bury(message, f"package seal denied: {denied.code}")


async def _finished(
    unsealed: Unsealed, seal: wire.Sealed, stamped: wire.Stamped | wire.Denied, keys: Keys
) -> bytes | wire.Denied:
    if isinstance(stamped, wire.Denied) and stamped.is_clock:
        return stamped
    if isinstance(stamped, wire.Denied):
        raise Transient(f"the package seal was not stamped: {stamped.code}")
    certificate = (await keys.by_id(seal.key_id)).certificate
    if certificate is None:
        raise Invariant(f"the key {seal.key_id}, which sealed a package, has no certificate")
    try:
        return unsealed.finish(unsealed.package, certificate, seal.signature, stamped.token)
    except SealInvalid as error:
        raise Invariant(f"the package seal of {unsealed.about} does not verify") from error


def snapshot_of(proofs: DeliveryProofs, authority: bytes, revocations: bytes | None) -> SnapshotContents:
    """Every evidence of the stamped prefix, complete, with the CA and its revocation list for information."""
    return SnapshotContents(
        delivery=proofs.delivery,
        number=proofs.number,
        mode=proofs.mode,
        snapshot=proofs.snapshots + 1,
        previous_sha256=proofs.snapshot_sha256,
        documents=tuple(assemble_stored(e.canonical, e.certificate, e.signature, e.token) for e in proofs.evidences),
        authorities=(authority,),
        revocation_lists=() if revocations is None else (revocations,),
    )


def item_of(proofs: DeliveryProofs, revocations: bytes | None, package: PackageToSign) -> wire.SealPackage:
    """What the bridge needs to make the same package, and to check each proof in it."""
    return wire.SealPackage(
        evidences=tuple(wire.PackagedEvidence(e.canonical, e.signature, e.token) for e in proofs.evidences),
        number=proofs.number,
        snapshot=proofs.snapshots + 1,
        previous_sha256=proofs.snapshot_sha256,
        revocation_list=revocations,
        signing_time=package.signing_time,
    )


async def _stored(proofs: DeliveryProofs, container: bytes, ports: PackagePorts) -> facts.Snapshot:
    stored = await store(_once(container), ports.objects, ports.randomness)
    return facts.Snapshot(
        delivery=proofs.delivery,
        snapshot=proofs.snapshots + 1,
        object=stored.object,
        package_bytes=stored.object_bytes,
        sha256=stored.sha256,
        previous_sha256=proofs.snapshot_sha256,
        sequence_through=proofs.stamped_through,
    )


async def _once(container: bytes) -> AsyncIterator[bytes]:
    yield container
