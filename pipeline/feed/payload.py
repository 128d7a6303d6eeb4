"""One event as senders read it, the same in the list and in a webhook.

Owns     the row and its JSON: ids, times and states, never a name, an address or content
Rules    the bytes are a function of the row, so that a second try sends the same body
"""

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.feed.types import REFS, SUBJECTS, WEBHOOK_TEST
from pipeline.formats.instants import time_text

BODY_BYTES_MAX = 20_000  # Standard Webhooks: receivers may refuse more


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """A row of qerds.event. client_ref: the sender's own reference of the letter, or of the consent, it is about.

    identifications, persons: of a mismatch, how often somebody else identified for the letter so far, and how many did;
    persons_near: how many of these are the recipient but for one thing.
    """

    sequence: int
    id: UUID
    type: str
    time: datetime
    delivery: UUID | None = None
    subject: UUID | None = None
    number: str | None = None
    client_ref: str | None = None
    state: str | None = None
    evidence: UUID | None = None
    identifications: int | None = None
    persons: int | None = None
    persons_near: int | None = None


def trial(event: UUID, webhook: UUID, time: datetime) -> FeedEvent:
    """What `test` sends: its sequence is 0, it happened nowhere."""
    return FeedEvent(0, event, WEBHOOK_TEST, time, subject=webhook)


def body(event: FeedEvent) -> dict[str, object]:
    """The interface's fields, without those that do not apply."""
    about = event.type.partition(".")[0]
    optional: dict[str, object] = {
        "delivery_id": _text(event.delivery),
        SUBJECTS.get(about, "subject_id"): _text(event.subject),
        "number": event.number,
        REFS.get(about, "client_ref"): event.client_ref,
        "state": event.state,
        "evidence_id": _text(event.evidence),
        "identifications": event.identifications,
        "persons": event.persons,
        "persons_near": event.persons_near,
    }
    return {
        "id": str(event.id),
        "type": event.type,
        "time": time_text(event.time),
        "sequence": event.sequence,
        **{name: value for name, value in optional.items() if value is not None},
    }


def body_bytes(event: FeedEvent) -> bytes:
    """What goes over the wire and is signed."""
    return json.dumps(body(event), ensure_ascii=False, separators=(",", ":")).encode()


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
