"""pipeline.stores.consents.ConsentStore for the gateway; pipeline.notices.consent_ports.ConsentFacts for `notify`.

Owns     the mapping from rows to the dataclasses of the ports, and the one transaction of a request
Elsewhere: how often may be asked (pipeline/stores/consents.py); the queries are in sql/consents.sql
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.link import Link
from pipeline.delivery.routes import ASK_CONSENT, BULK, Emission
from pipeline.notices.consent_ports import ConsentQuestion
from pipeline.stores.consents import (
    ASKED_DAYS,
    METHOD,
    REQUEST_OPEN_DAYS,
    Asked,
    Earlier,
    Known,
    New,
    NewRequest,
    RefTaken,
    RequestSeen,
    objection,
)


class PostgresConsentStore:
    """Rows of consent requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, new: NewRequest) -> Asked:
        """Both locks, then the questions, then the rows: nobody asks the same in between."""
        n = new
        async with self._database.transaction() as tx:
            await tx.fetch("lock_consent_ref", n.sender, n.ref)
            if rows := await tx.fetch("consent_request", None, n.sender, n.ref):
                return Known(RequestSeen(**rows[0]))
            if await tx.fetch("sender_consent", n.sender, n.ref):
                return RefTaken()
            await tx.fetch("lock_consent_address", n.sender, n.email)
            earlier = [Earlier(**row) for row in await tx.fetch("consent_requests_to", n.sender, n.email, ASKED_DAYS)]
            if (no := objection(earlier)) is not None:
                return no
            person = (n.email, n.given_names, n.birth_name, n.language)
            await tx.fetch("add_consent_request", n.id, n.sender, n.ref, *person, REQUEST_OPEN_DAYS)
            [stored] = await tx.fetch("consent_request", n.id, None, None)
            await tx.emit([Emission(ASK_CONSENT, n.id, lane=BULK)])
        return New(RequestSeen(**stored))

    async def request_of(self, sender: UUID, ref: str) -> RequestSeen | None:
        """A sender's own."""
        row = await self._database.fetch_one("consent_request", None, sender, ref)
        return None if row is None else RequestSeen(**row)

    async def linked(self, link_sha256: bytes) -> UUID | None:
        """Where a link points to."""
        row = await self._database.fetch_one("consent_linked", link_sha256)
        return None if row is None else row["request"]

    async def request(self, request: UUID) -> RequestSeen | None:
        """By id."""
        row = await self._database.fetch_one("consent_request", request, None, None)
        return None if row is None else RequestSeen(**row)

    async def answer(self, request: UUID, answer: str, language: str, text: str) -> None:
        """The first one stays."""
        await self._database.fetch("answer_consent_request", request, answer, language, text, METHOD)

    async def withdraw(self, request: UUID) -> None:
        """The first one stays."""
        await self._database.fetch("withdraw_requested_consent", request)


class PostgresConsentFacts:
    """Reads as the role of its link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def questions(self, requests: Sequence[UUID]) -> Mapping[UUID, ConsentQuestion]:
        """With the mail, where there is one."""
        rows = await self._link.call("read_consent_questions", list(requests))
        return {row["request"]: ConsentQuestion(**row) for row in rows}
