"""Give letters to an installation, and see when their proofs are stamped.

Owns     the ways in: one by one with a document each or one for all, and as one batch; waiting for the end
Rules    the database is asked, not the API: an instant is that of the token's row, by the database's clock
"""

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import asyncpg

from bench.installation import Installation
from bench.wire import Sender, digest_header, letter, sender

AT_ONCE = 8  # requests of the sender under way
POLL_SECONDS = 0.25
CLOCKS_SECONDS = 60.0  # legal and real clock are one here; the bound only keeps the question cheap
PART_LINES = 10_000
INLINE_BYTES_MAX = 40 * 1024  # of a document inside a line: with base64 the line stays within 64 KiB
STAMPED = """
SELECT extract(epoch FROM t.stamped_at)::float8 AS at, d.client_ref AS ref
FROM qerds.delivery d
JOIN qerds.evidence e ON e.delivery = d.id
JOIN qerds.evidence_token t ON t.evidence = e.evidence
WHERE d.client_ref >= $1 AND d.client_ref < $1 || 'z' AND e.event = $2
"""
REACHED = """
SELECT count(*) FROM qerds.delivery d
WHERE d.submitted_at >= to_timestamp($1) AND d.client_ref >= $2 AND d.client_ref < $2 || 'z' AND d.stamped_through >= $3
"""
THROUGH = {"A.1": 1, "C.1": 2}  # evidences in the stamped prefix once the event has joined it


class Unfinished(Exception):
    """Letters did not get there in time; the text says how far they came."""


@dataclass(frozen=True, slots=True)
class Feeder:
    """A sender and a look into the database. `tag` starts every reference of one measurement."""

    installation: Installation
    sender: Sender
    database: "asyncpg.Connection[asyncpg.Record]"

    async def one_by_one(self, tag: str, count: int, content_bytes: int) -> None:
        """Submitted singly, some at once, with one document for all."""
        limit = anyio.CapacityLimiter(AT_ONCE)
        document = await self.sender.upload(text(tag, 0, content_bytes), "letter.txt")

        async def send(number: int) -> None:
            async with limit:
                await self.submit(f"{tag}-{number}", document)

        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(send, number)

    async def uploads(self, tag: str, numbers: Sequence[int], content_bytes: int) -> list[dict[str, str]]:
        """A document of its own for each number, some at once; in order."""
        limit = anyio.CapacityLimiter(AT_ONCE)
        documents: dict[int, dict[str, str]] = {}

        async def upload(number: int) -> None:
            async with limit:
                documents[number] = await self.sender.upload(text(tag, number, content_bytes), f"{number}.txt")

        async with anyio.create_task_group() as tasks:
            for number in numbers:
                tasks.start_soon(upload, number)
        return [documents[number] for number in numbers]

    async def submit(self, reference: str, document: dict[str, str]) -> None:
        """One letter."""
        key = {"Idempotency-Key": hashlib.sha256(reference.encode()).hexdigest()[:32]}
        await self.sender.json("POST", "/v1/deliveries", letter(reference, document), key)

    async def stamped(self, tag: str, event: str) -> dict[str, float]:
        """When each letter's evidence of this event was stamped, by reference."""
        return {row["ref"]: row["at"] for row in await self.database.fetch(STAMPED, tag + "-", event)}

    async def reached(self, tag: str, event: str, since: float) -> int:
        """How many letters sent since then have it stamped."""
        count: int = await self.database.fetchval(REACHED, since - CLOCKS_SECONDS, tag + "-", THROUGH[event])
        return count

    async def wait(self, tag: str, event: str, count: int, since: float, seconds: float) -> dict[str, float]:
        """Until all have this event stamped. Raises Unfinished."""
        end = time.monotonic() + seconds
        reached = 0
        while time.monotonic() < end:
            reached = await self.reached(tag, event, since)
            if reached >= count:
                return await self.stamped(tag, event)
            await anyio.sleep(POLL_SECONDS)
        raise Unfinished(f"{reached} of {count} letters had {event} stamped after {seconds:.0f} s")


@asynccontextmanager
async def feeder(installation: Installation, at_once: int = AT_ONCE) -> AsyncIterator[Feeder]:
    """Logged in and connected."""
    database = await installation.connect()
    try:
        async with sender(installation.client, at_once) as it:
            yield Feeder(installation, it, database)
    finally:
        await database.close()


def text(tag: str, number: int, size_bytes: int) -> bytes:
    """A text document of this size, of its own."""
    line = f"letter {tag} {number}, distinct\n".encode()
    return (line * (size_bytes // len(line) + 1))[:size_bytes]


@dataclass(frozen=True, slots=True)
class BatchParts:
    """Lines cut into parts."""

    parts: Sequence[bytes]
    lines: int


def items(tag: str, documents: Sequence[dict[str, str]], first: int = 0) -> BatchParts:
    """A line for each document, numbered from `first`."""
    count = len(documents)
    letters = (letter(f"{tag}-{number}", document) for number, document in enumerate(documents, start=first))
    lines = [json.dumps(body, separators=(",", ":")).encode() for body in letters]
    parts = [b"\n".join(lines[at : at + PART_LINES]) + b"\n" for at in range(0, count, PART_LINES)]
    return BatchParts(parts, count)


def inline(content: bytes) -> dict[str, str]:
    """A document inside its line."""
    encoded = base64.b64encode(content).decode()
    return {"inline_base64": encoded, "file_name": "letter.txt", "sha256": hashlib.sha256(content).hexdigest()}


async def open_batch(it: Sender, name: str) -> str:
    """Its id."""
    answer = await it.json("POST", "/v1/batches", {"name": name, "format": "ndjson"})
    return str(answer["id"])


async def put_items(it: Sender, batch: str, content: BatchParts, first_number: int = 1) -> list[bytes]:
    """Every part, one after the other, as a sender does; their digests."""
    for number, part in enumerate(content.parts, start=first_number):
        headers = {"Content-Type": "application/x-ndjson", "Content-Digest": digest_header(part)}
        await it.call("PUT", f"/v1/batches/{batch}/items?part={number}", headers, part)
    return [hashlib.sha256(part).digest() for part in content.parts]


async def submit_batch(it: Sender, batch: str, digests: Sequence[bytes], lines: int) -> None:
    """From here on its lines become letters. `digests`: SHA-256 of every part, in order."""
    of_parts = hashlib.sha256(b"".join(digests)).hexdigest()
    body = {"parts": len(digests), "lines": lines, "sha256_of_parts": of_parts}
    await it.json("POST", f"/v1/batches/{batch}/submit", body)
