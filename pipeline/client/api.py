"""QerdsClient: the sender API over HTTP, typed.

Owns     single letters and consents; the rest of the API is in uploads.py, batches.py, feed.py, downloads.py
         and sandbox.py
Rules    only what may be repeated is repeated: reads, uploads, consents, and a submission under one Idempotency-Key
         an answer is checked before it is believed: digests of uploads and packages
Elsewhere: the wire (wire.py), where credentials come from (credentials.py), what a person types (the verbs)
"""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import anyio

from pipeline.client.answers import Delivery, Evidence, TimedOut
from pipeline.client.batches import BatchCalls
from pipeline.client.downloads import DownloadCalls
from pipeline.client.feed import FeedCalls
from pipeline.client.sandbox import SandboxCalls
from pipeline.client.uploads import UploadCalls
from pipeline.client.wire import json_of

POLL_FIRST_SECONDS = 0.1
POLL_MAX_SECONDS = 2.0
PAGE_LETTERS = 200


class QerdsClient(UploadCalls, BatchCalls, FeedCalls, DownloadCalls, SandboxCalls):
    """One sender's client. Use as an async context manager."""

    async def me(self) -> Mapping[str, Any]:
        """Who this client speaks for."""
        return json_of(await self.call("GET", "/v1/me"))

    async def service_time(self) -> datetime:
        """The service's clock, to the second (the Date header): a consent must not come from its future."""
        return parsedate_to_datetime((await self.call("GET", "/v1/me")).headers["date"])

    async def put_consent(self, ref: str, consent: Mapping[str, str]) -> Mapping[str, Any]:
        """Records a consumer's consent; the same again is fine."""
        return json_of(await self.call("PUT", f"/v1/consents/{quote(ref, safe='')}", json=consent))

    async def request_consent(self, request: Mapping[str, str]) -> Mapping[str, Any]:
        """Has a consumer asked, by mail; the same again is fine. The answer comes as an event."""
        return json_of(await self.call("POST", "/v1/consents/requests", json=request))

    async def consent_request(self, ref: str) -> Mapping[str, Any]:
        """A request, and what became of it."""
        return json_of(await self.call("GET", f"/v1/consents/requests/{quote(ref, safe='')}"))

    async def submit(self, letter: Mapping[str, Any], idempotency_key: str | None = None) -> Delivery:
        """Sends a letter. Repeats it under one key until there is an answer, so that it is sent once."""
        headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(24)}
        return Delivery.of(json_of(await self.call("POST", "/v1/deliveries", headers=headers, json=letter)))

    async def validate(self, letter: Mapping[str, Any]) -> list[Mapping[str, str]]:
        """What is wrong with a letter; nothing is sent."""
        errors: list[Mapping[str, str]] = json_of(await self.call("POST", "/v1/deliveries/validate", json=letter))[
            "errors"
        ]
        return errors

    async def delivery(self, name: str) -> Delivery:
        """By id or number."""
        return Delivery.of(json_of(await self.call("GET", f"/v1/deliveries/{quote(name, safe='')}")))

    async def deliveries(self, **filters: str) -> AsyncIterator[Delivery]:
        """Letters in the order of the list, page by page; filters as in the API: state, changed_after .."""
        query: dict[str, str | int] = {"limit": PAGE_LETTERS, **filters}
        while True:
            page = json_of(await self.call("GET", f"/v1/deliveries?{urlencode(query)}"))
            for letter in page["items"]:
                yield Delivery.of(letter)
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    async def wait_for(self, name: str, enough: Callable[[Delivery], bool], seconds: float) -> Delivery:
        """Polls until `enough`. Raises TimedOut."""
        pause_seconds = POLL_FIRST_SECONDS
        with anyio.move_on_after(seconds):
            while not enough(delivery := await self.delivery(name)):
                await anyio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 1.5, POLL_MAX_SECONDS)
            return delivery
        raise TimedOut(f"{name} did not get there in {seconds:g} s")

    async def evidence(self, name: str) -> list[Evidence]:
        """The stamped proofs, in order."""
        listed = (await self.call("GET", f"/v1/deliveries/{quote(name, safe='')}/evidence")).json()
        return [Evidence(e["id"], e["event"], e["event_time"], e["sha256"]) for e in listed]

    async def evidence_document(self, name: str, evidence_id: str) -> bytes:
        """One proof, sealed and stamped, as XML."""
        path = f"/v1/deliveries/{quote(name, safe='')}/evidence/{quote(evidence_id, safe='')}"
        return (await self.call("GET", path)).content
