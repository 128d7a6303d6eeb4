"""Make a batch's proof of deposit: one object, written as its lines are read, sealed before its end is written.

Owns     the order: lines, description, seal, time-stamp, end; the object is visible only when all of it is there
Rules    made once, when every line is deposited or rejected; a line in between is a Retry, never a gap
Crash    before the commit leaves an object that no row names; the next try writes another one under another name
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import cast

from pipeline.actors.contract import Bury, Done, Outcome, Retry
from pipeline.content.names import NAME_RANDOM_BYTES, object_name
from pipeline.errors import Invariant, Transient
from pipeline.evidence.form.xades import SealInvalid
from pipeline.evidence.package.batch_proof import LINES_PER_ENTRY, BatchHead, BatchProofWriter, ProvenLine
from pipeline.evidence.package.snapshot import PackageToSign, package_imprint_sha256
from pipeline.exports.digested import digested
from pipeline.exports.facts import BatchProof
from pipeline.exports.ports import ExportPorts
from pipeline.ports.bridge import wire
from pipeline.ports.mailbox import Message

WAIT_SECONDS = 5.0  # until a batch that is not settled is looked at again; nobody asks before it is completed


class _NotNow(Exception):
    """A line whose evidence is not stamped: the batch is not settled after all."""


class _SealDenied(Exception):
    """The bridge will never seal this."""


async def prove(message: Message, ports: ExportPorts) -> Outcome[BatchProof | None]:
    """The proof of the batch that the message names."""
    standing = await ports.exports.batch_standing(message.subject)
    if standing is None:
        return Bury(message, "no such batch")
    if standing.is_proven:
        return Done(message, None)
    if standing.head is None:
        return _wait(message)
    name = object_name(ports.randomness.random_bytes(NAME_RANDOM_BYTES))
    writer, sha256 = BatchProofWriter(), hashlib.sha256()
    try:
        stored_bytes = await ports.objects.put(name, digested(_pieces(standing.head, writer, ports), sha256))
    except _NotNow:
        return _wait(message)
    except _SealDenied as denied:
        return Bury(message, f"package seal denied: {denied}")
    fact = BatchProof(message.subject, name, stored_bytes, sha256.digest(), writer.line_count)
    return Done(message, fact)


def _wait(message: Message) -> Retry:
    return Retry(message, "not every line is deposited or rejected yet", WAIT_SECONDS, counted=False)


async def _pieces(head: BatchHead, writer: BatchProofWriter, ports: ExportPorts) -> AsyncIterator[bytes]:
    yield writer.start()
    while some := await ports.exports.batch_lines(head.batch, writer.line_count, LINES_PER_ENTRY):
        _check(some)
        yield writer.lines(some)
    anchor, revoked = await ports.keys.trust_anchor(), await ports.keys.document("crl")
    yield writer.describe(head, (anchor,), () if revoked is None else (revoked,))
    yield await _sealed(writer, writer.to_sign(await ports.facts.legal_now()), ports)


def _check(some: Sequence[ProvenLine]) -> None:
    if any(line.evidence is None and line.reason is None for line in some):
        raise _NotNow


async def _sealed(writer: BatchProofWriter, package: PackageToSign, ports: ExportPorts) -> bytes:
    [seal] = await ports.bridge.ask([wire.SealPackage(package.digests, package.signing_time)])
    if isinstance(seal, wire.Denied):
        raise _SealDenied(seal.code)
    certificate = cast(bytes, (await ports.keys.by_id(seal.key_id)).certificate)
    [stamped] = await ports.bridge.ask([wire.TimeStamp(package_imprint_sha256(seal.signature), package.signing_time)])
    if isinstance(stamped, wire.Denied):
        raise Transient(f"the seal of a batch's proof was not stamped: {stamped.code}")
    try:
        return writer.finish(package, certificate, seal.signature, stamped.token)
    except SealInvalid as error:
        raise Invariant("the seal of a batch's proof does not verify") from error
