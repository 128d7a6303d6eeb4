"""What `notify` reads about consent requests; adapters/postgres/consents.py implements it.

Rules    committed rows, as often as one likes. Raises Transient when the database is away
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pipeline.notices.notice import Letterhead
from pipeline.notices.relaying import GuardedRelay
from pipeline.ports.outside import Randomness


@dataclass(frozen=True, slots=True)
class ConsentQuestion:
    """A request, as its mail may know it. mail: the stored bytes, None before. is_settled: nothing is left to send."""

    request: UUID
    sender_name: str
    email: str
    language: str
    expires_at: datetime
    now: datetime
    mail: bytes | None
    is_settled: bool


class ConsentFacts(Protocol):
    """Requests for `notify`."""

    async def questions(self, requests: Sequence[UUID]) -> Mapping[UUID, ConsentQuestion]: ...


class ConsentPorts(Protocol):
    """What asking may ask of the outside: `notify` has it."""

    @property
    def consents(self) -> ConsentFacts: ...
    @property
    def relay(self) -> GuardedRelay: ...
    @property
    def randomness(self) -> Randomness: ...
    @property
    def letterhead(self) -> Letterhead: ...
