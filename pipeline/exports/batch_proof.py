"""Make a batch's proof of deposit: one object, written as its lines are read, sealed before its end is written.

Owns     the order: lines, description, seal, time-stamp, end; the object is visible only when all of it is there
Rules    made once, when every line is deposited or rejected; a line in between is a Retry, never a gap
Crash    before the commit leaves an object that no row names; the next try writes another one under another name
Elsewhere: the bytes (pipeline/evidence/package/batch_proof.py), sealing them (pipeline/retention/packages.py)
"""

from collections.abc import AsyncIterator, Sequence

from pipeline.actors.contract import Bury, Done, Outcome, Retry
from pipeline.evidence.package.batch_proof import LINES_PER_ENTRY, BatchHead, BatchProofWriter, ProvenLine
from pipeline.exports.facts import BatchProof
from pipeline.exports.ports import ExportPorts
from pipeline.ports.bridge import wire
from pipeline.ports.mailbox import Message
from pipeline.retention.packages import Unsealed, not_sealed, sealed
from pipeline.retention.storing import store

WAIT_SECONDS = 5.0  # until a batch that is not settled is looked at again; nobody asks before it is completed


class _NotNow(Exception):
    """A line whose evidence is not stamped: the batch is not settled after all."""


class _SealDenied(Exception):
    """The bridge does not seal this."""

    def __init__(self, denied: wire.Denied) -> None:
        super().__init__(denied.code)
        self.denied = denied


async def prove(message: Message, ports: ExportPorts) -> Outcome[BatchProof | None]:
    """The proof of the batch that the message names."""
    standing = await ports.exports.batch_standing(message.subject)
    if standing is None:
        return Bury(message, "no such batch")
    if standing.is_proven:
        return Done(message, None)
    if standing.head is None:
        return _wait(message)
    writer = BatchProofWriter()
    try:
        stored = await store(_pieces(standing.head, writer, ports), ports.objects, ports.randomness)
    except _NotNow:
        return _wait(message)
    except _SealDenied as denied:
        return not_sealed(message, denied.denied)
    fact = BatchProof(message.subject, stored.object, stored.object_bytes, stored.sha256, writer.line_count)
    return Done(message, fact)


def _wait(message: Message) -> Retry:
    return Retry(message, "not every line is deposited or rejected yet", WAIT_SECONDS, counted=False)


async def _pieces(head: BatchHead, writer: BatchProofWriter, ports: ExportPorts) -> AsyncIterator[bytes]:
    yield writer.start()
    while lines := await ports.exports.batch_lines(head.batch, writer.line_count, LINES_PER_ENTRY):
        _check(lines)
        yield writer.lines(lines)
    anchor, revoked = await ports.keys.trust_anchor(), await ports.keys.document("crl")
    yield writer.describe(head, (anchor,), () if revoked is None else (revoked,))
    package = writer.to_sign(await ports.facts.legal_now())
    item = wire.SealList(package.digests, package.signing_time)
    [end] = await sealed([Unsealed(f"batch {head.batch}", item, package, writer.finish)], ports.bridge, ports.keys)
    if isinstance(end, wire.Denied):
        raise _SealDenied(end)
    yield end


def _check(lines: Sequence[ProvenLine]) -> None:
    if any(line.evidence is None and line.reason is None for line in lines):
        raise _NotNow
