"""The part of `archive` that serves senders in bulk: which message is which work, and what its commit writes.

Owns     one piece of work at a time: it is long, and the packages that wait in the same batch should not wait for two
Elsewhere: the packages of single deliveries (pipeline/stages/archive.py)
"""

from collections.abc import Sequence

from pipeline.actors.contract import Done, Outcome, Retry
from pipeline.delivery.routes import BATCH_PROOF, EXPORT, Emission
from pipeline.exports import batch_proof, export
from pipeline.exports.facts import BatchProof, ExportStep
from pipeline.exports.ports import ExportPorts
from pipeline.ports.mailbox import Message, Tx

KINDS = frozenset({BATCH_PROOF, EXPORT})
WORK = {BATCH_PROOF: batch_proof.prove, EXPORT: export.step}


async def perform(messages: Sequence[Message], ports: ExportPorts) -> list[Outcome]:
    """The first of them; the others go back to the mailbox, behind what came in meanwhile."""
    outcomes: list[Outcome] = [Retry(m, "one at a time", 0.0, counted=False) for m in messages[1:]]
    if messages:
        outcomes.append(await WORK[messages[0].kind](messages[0], ports))
    return outcomes


async def commit(tx: Tx, done: Sequence[Done]) -> list[Emission]:
    """The proof or the step, and what it sets going."""
    facts = [d.fact for d in done if isinstance(d.fact, BatchProof | ExportStep)]
    await tx.add(facts)
    return [emission for d in done for emission in export.follows(d.fact)]
