"""Preserve: write numbered package snapshots into the object store.

Receives  preserve: a delivery whose stamped prefix grew, or whose package somebody asked for
          batch_proof, export: what a sender takes home in bulk (pipeline/exports)
Outside   package seal and token at the bridge, one object written; repeatable, each try under a new name
Commits   Snapshot, BatchProof, ExportStep   Emits  preserve and export, of an export that is not at its end
Fails     Retry: bridge, store or database away; a batch with letters undecided; packages of an export not made yet
          Waits for a clock: the bridge's is behind the signing time, or this behind a proof
          Bury: no such delivery, batch or export; bridge denies the package. Invariant: its seal does not verify
Source    EN 319 162-1 (ASiC-E); docs/invariants.md, "State is derived": snapshots are supersets, chained by digest
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Stage, Tx, Work, beside
from pipeline.delivery.facts import Snapshot
from pipeline.delivery.routes import PRESERVE
from pipeline.exports.perform import EXPORTS, ExportFacts
from pipeline.ports.bridge import Keys, wire
from pipeline.ports.outside import Objects, Randomness
from pipeline.ports.rows import Facts
from pipeline.retention.packages import ArchiveBridge, not_sealed, preserve

BATCH_MAX = 50  # packages of some 60 KiB, held at once
PERFORM_SECONDS = 300.0  # the proof of a million lines is written in one go; a minute on two quiet cores


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    facts: Facts
    bridge: ArchiveBridge
    objects: Objects
    keys: Keys
    randomness: Randomness
    exports: ExportFacts


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[Snapshot | None]]:
    """Pack what is new, have it sealed and stamped, store it; once, however many messages of this batch ask for it."""
    proofs = await ports.facts.proofs([m.subject for m in batch])
    grown = [p for p in proofs.values() if p.stamped_through > p.snapshot_through]
    made = await preserve(grown, ports) if grown else {}
    return [judge(m, made.pop(m.subject, None)) if m.subject in proofs else Bury(m, "no such delivery") for m in batch]


def judge(message: Message, made: Snapshot | wire.Denied | None) -> Outcome[Snapshot | None]:
    """What was stored; None: it was preserved before, or by a neighbour in this batch. Or the bridge's no."""
    return not_sealed(message, made) if isinstance(made, wire.Denied) else Done(message, made)


async def commit(tx: Tx, done: Sequence[Done[Snapshot | None]]) -> list[Emission]:
    """A crash before it leaves an object that no row names; another process writing the same number first is an
    exception here, and the message is judged again, alone."""
    await tx.add([d.fact for d in done if d.fact is not None])
    return []


WORK = beside(Work(frozenset({PRESERVE}), perform, commit), EXPORTS)  # packages first: somebody may wait for one
STAGE = Stage("archive", WORK, batch_max=BATCH_MAX, perform_seconds=PERFORM_SECONDS)
