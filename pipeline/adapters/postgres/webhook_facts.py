"""pipeline.feed.ports.WebhookFacts over the work link of `webhook`. Only claim locks, and the session holds that."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pipeline.adapters.postgres.link import Link
from pipeline.feed.attempts import EVENTS_AT_ONCE, Due, Webhook
from pipeline.feed.payload import FeedEvent

LOOKED_AT_MAX = 1000  # events per webhook and turn, wanted or not


class PostgresWebhookFacts:
    """Reads as qerds_webhook."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def webhooks(self, ids: Sequence[UUID]) -> Mapping[UUID, Webhook]:
        """Two statements, however many."""
        fresh: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
        for row in await self._link.call("read_webhook_events", list(ids), EVENTS_AT_ONCE + 1, LOOKED_AT_MAX):
            fresh[row["webhook"]].append(row)
        return {r["id"]: _webhook(r, fresh[r["id"]]) for r in await self._link.call("read_webhooks", list(ids))}

    async def claim(self, ids: Sequence[UUID]) -> frozenset[UUID]:
        """Each at most once: claims of one session add up."""
        return frozenset(r["id"] for r in await self._link.call("claim_webhooks", list(dict.fromkeys(ids))))

    async def release(self, ids: Sequence[UUID]) -> None:
        """Nothing to do is no statement."""
        if ids:
            await self._link.call("release_webhooks", list(dict.fromkeys(ids)))


def event_of(row: Mapping[str, Any]) -> FeedEvent:
    """A row that names the event's id `event`."""
    return FeedEvent(
        sequence=row["sequence"],
        id=row["event"],
        type=row["type"],
        time=row["time"],
        delivery=row["delivery"],
        subject=row["subject"],
        number=row["number"],
        client_ref=row["client_ref"],
        state=row["state"],
        evidence=row["evidence"],
        identifications=row["identifications"],
        persons=row["persons"],
        persons_near=row["persons_near"],
    )


def _webhook(row: Mapping[str, Any], looked: Sequence[Mapping[str, Any]]) -> Webhook:
    is_cut = len(looked) > EVENTS_AT_ONCE
    fresh = tuple(event_of(r) for r in looked[:EVENTS_AT_ONCE] if r["wanted"])
    through = row["read_through"]
    if looked:
        through = looked[EVENTS_AT_ONCE - 1]["sequence"] if is_cut else looked[-1]["looked_through"]
    return Webhook(
        id=row["id"],
        url=row["url"],
        signature=row["signature"],
        secret=row["secret"],
        enabled=row["enabled"],
        generation=row["generation"],
        read_through=row["read_through"],
        failures=row["failures"],
        paused=row["paused"],
        last_success_at=row["last_success_at"],
        due=None if row["tries"] is None else Due(event_of(row), row["tries"], row["first_at"]),
        set_aside=row["set_aside"],
        fresh=fresh,
        scanned_through=max(through, row["read_through"]),
        has_more=is_cut or bool(looked and looked[-1]["looked_at"] >= LOOKED_AT_MAX),
    )
