"""Consent requests in memory, for stages: what a test plants is what `notify` reads, with what its commits wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from pipeline.notices.consent_facts import ConsentMail, ConsentMailResult
from pipeline.notices.consent_ports import ConsentQuestion
from tests.memory.database import MemoryDatabase


class MemoryConsentFacts:
    """pipeline.notices.consent_ports.ConsentFacts over a dictionary and the tables of the simulation."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._planted: dict[UUID, ConsentQuestion] = {}

    def plant(self, request: UUID, language: str = "fr", days: int = 30) -> None:
        """A request as the gateway leaves it."""
        now = self._database.clock.now()
        self._planted[request] = ConsentQuestion(
            request, "Mairie", "jeanne@example.net", language, now + timedelta(days=days), now, None, False
        )

    async def questions(self, requests: Sequence[UUID]) -> Mapping[UUID, ConsentQuestion]:
        """As planted and committed."""
        return {r: self._read(self._planted[r]) for r in requests if r in self._planted}

    def _read(self, planted: ConsentQuestion) -> ConsentQuestion:
        tables, now = self._database.tables, self._now()
        mail = tables.find(ConsentMail, planted.request)
        settled = tables.find(ConsentMailResult, planted.request) is not None
        return replace(planted, now=now, mail=None if mail is None else mail.mail, is_settled=settled)

    def _now(self) -> datetime:
        return self._database.clock.now()
