"""A submitted batch in the in-memory database: its sender, one content for all lines, and its lines."""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pipeline.content.envelope import CONTENT_FORMAT, Encryptor, associated_data, seal_key
from pipeline.content.names import object_name
from pipeline.evidence.dossier import SenderParty
from pipeline.formats.context import intake_info
from pipeline.ports.bridge import PublishedKey
from pipeline.ports.rows import Segment
from pipeline.stores.batches import SUBMITTED, StoredLine
from pipeline.stores.senders import Consent, SenderUpload
from tests.memory.batches import BatchRow
from tests.memory.database import MemoryDatabase

CONTENT = b"Dear Sir or Madam, this is the letter of many."
FOR_EVER = datetime(2200, 1, 1, tzinfo=UTC)


def line(ref: str | None, upload: UUID, **changes: Any) -> dict[str, Any]:
    """A professional's letter. ref None: without a client_ref."""
    found: dict[str, Any] = {
        "client_ref": ref,
        "recipient": {
            "kind": "professional",
            "email": "jean@example.net",
            "given_names": "Jean",
            "birth_name": "Martin",
        },
        "subject": "Notice to many",
        "documents": [
            {"upload_id": str(upload), "file_name": "letter.txt", "sha256": hashlib.sha256(CONTENT).hexdigest()}
        ],
    }
    return {**found, **changes}


def plant_sender(database: MemoryDatabase, sender: UUID, since: datetime) -> None:
    """Somebody who sends."""
    database.bulk.senders[sender] = SenderParty("Mairie", "mairie@example.org", "substantial", "contract", since)


def plant_upload(
    database: MemoryDatabase, sender: UUID, intake: PublishedKey, random_bytes: Callable[[int], bytes]
) -> tuple[UUID, str, bytes]:
    """One content, encrypted as the gateway does: its upload, and the object to be put into the store."""
    upload, key = UUID(bytes=random_bytes(16)), random_bytes(32)
    name = object_name(random_bytes(16))
    cipher = Encryptor(key, associated_data(name), random_bytes(32), random_bytes(7))
    stored = cipher.update(CONTENT) + cipher.finish()
    sealed = seal_key(intake.spki, intake_info(sender, upload, 1, name, CONTENT_FORMAT, len(CONTENT)), key)
    now = database.clock.now()
    segment = Segment(1, 1, sender, upload, name, CONTENT_FORMAT, len(CONTENT), intake.key_id, sealed, now)
    sha256, sha3_256 = hashlib.sha256(CONTENT).digest(), hashlib.sha3_256(CONTENT).digest()
    described = SenderUpload(upload, sender, "letter.txt", "text/plain", len(CONTENT), sha256, sha3_256, FOR_EVER)
    database.bulk.uploads[upload] = (described, (segment,))
    return upload, name, stored


def plant_consent(database: MemoryDatabase, sender: UUID, ref: str, email: str) -> None:
    """A consumer's consent."""
    now = database.clock.now()
    database.bulk.consents[sender, ref] = Consent(sender, ref, email, "Jeanne", "Martin", now, "form", bytes(32))


def plant_batch(database: MemoryDatabase, batch: UUID, sender: UUID, parts: Sequence[Sequence[dict[str, Any]]]) -> None:
    """As submit leaves it, without its message."""
    stored = tuple(
        StoredLine(part, number, json.dumps(one).encode())
        for part, lines in enumerate(parts, start=1)
        for number, one in enumerate(lines, start=1)
    )
    database.bulk.batches[batch] = BatchRow(batch, sender, {}, SUBMITTED, len(stored), stored)
