"""Facts about the mail of a consent request; one row each, as in pipeline/delivery/facts.py."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ConsentMail:
    """The question, as bytes to be sent and sent again. Unique per request; the first one wins."""

    request: UUID
    message_id: str
    link_sha256: bytes
    text_sha256: bytes
    mail: bytes
    prepared_at: datetime


@dataclass(frozen=True, slots=True)
class ConsentMailResult:
    """What became of it. Unique per request; the first one wins.

    outcome: relayed, refused (for ever), or late (the request had expired before the mail could leave).
    """

    request: UUID
    outcome: str
    code: int
    detail: str
