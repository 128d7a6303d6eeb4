"""Events and webhooks over HTTP, typed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from pipeline.client.wire import CALL_SECONDS, Wire, json_of

WAIT_SECONDS_MAX = 30  # what /v1/events waits for at most


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, the cursor that led to them (None: the beginning), and the one after them."""

    after: str | None
    items: tuple[Mapping[str, Any], ...]
    next_cursor: str


class FeedCalls(Wire):
    """/v1/events and /v1/webhooks."""

    async def events(
        self,
        after: str | None = None,
        *,
        types: Sequence[str] = (),
        delivery_id: str | None = None,
        wait_seconds: int = 0,
    ) -> Mapping[str, Any]:
        """A page {items, next_cursor, has_more}, after a cursor; waits for the first one when there is none."""
        query: dict[str, str] = {}
        query |= {"after": after} if after else {}
        query |= {"types": ",".join(types)} if types else {}
        query |= {"delivery_id": delivery_id} if delivery_id else {}
        query |= {"wait": str(wait_seconds)} if wait_seconds else {}
        path = "/v1/events" + (f"?{urlencode(query)}" if query else "")
        return json_of(await self.call("GET", path, timeout_seconds=CALL_SECONDS + wait_seconds))

    async def event_pages(
        self, after: str | None = None, *, types: Sequence[str] = (), for_ever: bool = True
    ) -> AsyncIterator[EventPage]:
        """Pages with events, in order, from a cursor on; then those to come, or the end (a page that may be empty)."""
        cursor = after
        while True:
            page = await self.events(cursor, types=types, wait_seconds=WAIT_SECONDS_MAX if for_ever else 0)
            is_last = not page["has_more"] and not for_ever
            if page["items"] or is_last:
                yield EventPage(cursor, tuple(page["items"]), page["next_cursor"])
            cursor = page["next_cursor"]
            if is_last:
                return

    async def create_webhook(self, url: str, *, types: Sequence[str] = (), signature: str = "v1a") -> Mapping[str, Any]:
        """An endpoint of ours that is told of events. With v1 the answer holds its secret, once."""
        body = {"url": url, "signature": signature, **({"types": list(types)} if types else {})}
        return json_of(await self.call("POST", "/v1/webhooks", json=body))

    async def webhooks(self) -> list[Mapping[str, Any]]:
        """All of them."""
        webhooks: list[Mapping[str, Any]] = json_of(await self.call("GET", "/v1/webhooks"))["items"]
        return webhooks

    async def test_webhook(self, webhook: str) -> Mapping[str, Any]:
        """Sends it a test event."""
        return json_of(await self.call("POST", f"/v1/webhooks/{quote(webhook, safe='')}/test"))

    async def replay_webhook(self, webhook: str, after: str) -> Mapping[str, Any]:
        """Sends it again what came after a cursor."""
        return json_of(await self.call("POST", f"/v1/webhooks/{quote(webhook, safe='')}/replay", json={"after": after}))
