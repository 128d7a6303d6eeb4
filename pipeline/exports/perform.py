"""The part of `archive` that serves senders in bulk: which message is which work, and what its commit writes.

Owns     one piece of work at a time: it is long, and the packages that wait in the same batch should not wait for two
Elsewhere: the packages of single deliveries (pipeline/stages/archive.py)
"""

from collections.abc import Sequence

from pipeline.actors.contract import Done, Emission, Message, Outcome, Retry, Tx, Work
from pipeline.delivery.routes import BATCH_PROOF, EXPORT
from pipeline.exports import batch_proof, export
from pipeline.exports.export import PackagesWanted
from pipeline.exports.facts import BatchProof, ExportStep
from pipeline.exports.ports import ExportFacts, ExportPorts

__all__ = ["EXPORTS", "ExportFacts"]  # what it asks of the outside is named here for the stage

Fact = BatchProof | ExportStep | PackagesWanted | None


async def perform(messages: Sequence[Message], ports: ExportPorts) -> list[Outcome[Fact]]:
    """The first of them; the others go back to the mailbox, behind what came in meanwhile."""
    first, *others = messages
    act = batch_proof.prove if first.kind == BATCH_PROOF else export.step
    return [await act(first, ports), *(Retry(m, "one at a time", 0.0, counted=False) for m in others)]


async def commit(tx: Tx, done: Sequence[Done[Fact]]) -> list[Emission]:
    """The proof or the step, and what it sets going."""
    facts = [d.fact for d in done if isinstance(d.fact, BatchProof | ExportStep)]
    await tx.add(facts)
    return [emission for d in done for emission in export.follows(d.fact)]


EXPORTS = Work(frozenset({BATCH_PROOF, EXPORT}), perform, commit)
