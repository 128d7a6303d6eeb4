"""pipeline.stores.feed.EventStore over PostgreSQL, as the role qerds_gateway.

Owns     the mapping from rows to the dataclasses of the port
Elsewhere: what is valid, what is shown; the queries are in sql/feed.sql and sql/webhooks.sql
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pipeline.adapters.postgres.database import Database
from pipeline.delivery.routes import INTERACTIVE, PING, Emission
from pipeline.feed.payload import FeedEvent
from pipeline.stores.feed import AttemptSeen, EventQuestion, EventsSeen, NewWebhook, WebhookChange, WebhookSeen

WEBHOOKS_MAX = 20  # of one sender
TEST_SECONDS = 5.0  # between two tests of one webhook
LOOKED_AT_MAX = 10_000  # events behind one question, wanted or not


class PostgresEventStore:
    """Events and webhooks of senders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def head(self) -> int:
        """The last place that was given."""
        row = await self._database.fetch_one("event_head")
        return 0 if row is None else int(row["sequence"])

    async def events(self, question: EventQuestion) -> EventsSeen:
        """One statement; a page that was cut goes on after its last event, any other after what was looked at."""
        q = question
        arguments = (q.sender, q.after, list(q.types), q.limit + 1, LOOKED_AT_MAX)
        if q.delivery is None:
            rows = await self._database.fetch("sender_list_of_events", *arguments)
        else:
            rows = await self._database.fetch("sender_events_of_delivery", *arguments, q.delivery)
        events = [FeedEvent(**_event_fields(row)) for row in rows if row["id"] is not None]
        if len(events) > q.limit:
            return EventsSeen(tuple(events[: q.limit]), events[q.limit - 1].sequence, has_more=True)
        looked = rows[-1]
        return EventsSeen(tuple(events), looked["looked_through"] or q.after, looked["looked_at"] >= LOOKED_AT_MAX)

    async def add_webhook(self, webhook: NewWebhook) -> bool:
        """The webhook and, apart, its secret."""
        w = webhook
        async with self._database.transaction() as tx:
            added = await tx.fetch("add_webhook", w.id, w.sender, w.url, list(w.types), w.signature, WEBHOOKS_MAX)
            if added and w.secret is not None:
                await tx.fetch("add_webhook_secret", w.id, w.secret)
        return bool(added)

    async def webhooks(self, sender: UUID, webhook: UUID | None = None) -> Sequence[WebhookSeen]:
        """In order of creation: ids are in order of time."""
        rows = await self._database.fetch("sender_webhooks", sender, webhook)
        return [WebhookSeen(**{**row, "types": tuple(row["types"])}) for row in rows]

    async def change_webhook(self, sender: UUID, webhook: UUID, change: WebhookChange) -> None:
        """Another generation."""
        types = None if change.types is None else list(change.types)
        await self._database.fetch("change_webhook", sender, webhook, change.url, types, change.is_off)

    async def enable_webhook(self, sender: UUID, webhook: UUID) -> None:
        """Another generation."""
        await self._database.fetch("enable_webhook", sender, webhook)

    async def replay_webhook(self, sender: UUID, webhook: UUID, after: int) -> None:
        """Another generation."""
        await self._database.fetch("replay_webhook", sender, webhook, after)

    async def test_webhook(self, sender: UUID, webhook: UUID) -> bool:
        """Emits PING."""
        async with self._database.transaction() as tx:
            may = await tx.fetch("test_webhook", sender, webhook, TEST_SECONDS)
            if may:
                await tx.emit([Emission(PING, webhook, lane=INTERACTIVE)])
        return bool(may)

    async def delete_webhook(self, sender: UUID, webhook: UUID) -> None:
        """Its message finds nothing and ends."""
        await self._database.fetch("delete_webhook", sender, webhook)

    async def attempts(self, webhook: UUID, before: int | None, limit: int) -> Sequence[AttemptSeen]:
        """The newest first."""
        return [AttemptSeen(**r) for r in await self._database.fetch("webhook_attempts", webhook, before, limit)]


def _event_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("looked_")}
