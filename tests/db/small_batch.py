"""A batch that is half drawn: by the gateway's own store and the real `ingest`, over a real database."""

import hashlib
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

from pipeline.adapters.postgres.batches import PostgresBatchStore
from pipeline.adapters.postgres.database import Database
from pipeline.formats.configuration import DatabaseSettings
from pipeline.stores.batches import BatchSeen, Closing, NewBatch, NewPart
from tests.drawing import ingest_process

FOR_EVER = datetime(2200, 1, 1, tzinfo=UTC)


def line(ref: str, upload: UUID, content: bytes = b"", **changes: object) -> bytes:
    """A professional's letter."""
    table = {
        "client_ref": ref,
        "recipient": {"kind": "professional", "email": "p@example.org", "given_names": "P", "birth_name": "M"},
        "subject": "s",
        "documents": [
            {"upload_id": str(upload), "file_name": "a.pdf", "sha256": hashlib.sha256(content).hexdigest()},
        ],
        **changes,
    }
    return json.dumps(table).encode()


async def submit(gateway: Database, sender: UUID, parts: list[list[bytes]]) -> UUID:
    """Opened, filled and submitted."""
    store, batch = PostgresBatchStore(gateway), uuid4()
    await store.open(NewBatch(batch, sender, "small", "ndjson", {}, {}, FOR_EVER))
    digests = []
    for number, lines in enumerate(parts, start=1):
        body = b"\n".join(lines)
        digests.append(hashlib.sha256(body).digest())
        intake = uuid4()
        await store.begin_intake(intake, batch)
        await store.add_lines(intake, list(enumerate(lines, start=1)))
        await store.add_part(sender, NewPart(batch, number, intake, digests[-1], len(body), len(lines)), None)
    closing = Closing(len(parts), sum(len(lines) for lines in parts), hashlib.sha256(b"".join(digests)).digest())
    assert isinstance(await store.submit(sender, batch, closing), BatchSeen)
    return batch


async def half_drawn(gateway: Database, config: DatabaseSettings, sender: UUID, upload: UUID) -> UUID:
    """Its first part is drawn: a letter, the same letter again, a line that is none. Its second part waits."""
    good = line("batch-1", upload)
    batch = await submit(
        gateway, sender, [[good, good, line("batch-2", upload, subject="")], [line("batch-3", upload)]]
    )
    async with ingest_process(config) as process:
        await process.turn()
    return batch
