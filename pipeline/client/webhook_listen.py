"""`qerds webhook listen`: takes events from the feed and posts them to a program on this machine, as a webhook would.

Owns     the form of the posts (Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature), retries, the order
Rules    one after the other; an event is passed on until the program answers 2xx. After a stop some events come again,
         with the same webhook-id. The signature is `v1` with a secret
         made up at the start and told: so a receiver's check can be tried without an address on the internet
Source   Standard Webhooks 1.0, "Symmetric signature"
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import anyio
import httpx

from pipeline.client.api import QerdsClient
from pipeline.client.events import PATIENCE_SECONDS, shown
from pipeline.client.terminal import EXIT_UNREACHABLE, Speaker

SECRET_BYTES = 24
FORWARD_SECONDS = 30.0
TRIES_MAX = 8
PAUSE_FIRST_SECONDS = 0.5


async def run(client: QerdsClient, forward: str, after: str | None, types: Sequence[str], speaker: Speaker) -> int:
    """Until interrupted, or until the program does not answer any more."""
    secret = secrets.token_bytes(SECRET_BYTES)
    speaker.progress(f"signing with whsec_{base64.b64encode(secret).decode()}")
    client.patience_seconds = PATIENCE_SECONDS
    cursor = after or await latest(client)
    async with httpx.AsyncClient(timeout=FORWARD_SECONDS, follow_redirects=False) as http:
        async for page in client.event_pages(cursor, types=types):
            for event in page.items:
                why = await _pass_on(http, forward, event, secret, await client.service_time())
                if why:
                    speaker.complaint(f"{forward} does not take event {event['sequence']}: {why}")
                    again = f" --after {page.after}" if page.after else ""
                    speaker.complaint(f"go on with: ./qerds webhook listen --forward {forward}{again}")
                    return EXIT_UNREACHABLE
                speaker.row(event, shown(event))
    return EXIT_UNREACHABLE


async def latest(client: QerdsClient) -> str | None:
    """The cursor after everything that has happened."""
    cursor: str | None = None
    while True:
        page = await client.events(cursor)
        cursor = page["next_cursor"]
        if not page["has_more"]:
            return cursor


def signed(event: Mapping[str, Any], secret: bytes, at: datetime) -> tuple[bytes, dict[str, str]]:
    """Body and headers."""
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    identifier, moment = str(event["id"]), str(int(at.timestamp()))
    digest = hmac.new(secret, f"{identifier}.{moment}.".encode() + body, hashlib.sha256).digest()
    return body, {
        "Content-Type": "application/json",
        "webhook-id": identifier,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


async def _pass_on(http: httpx.AsyncClient, url: str, event: Mapping[str, Any], secret: bytes, at: datetime) -> str:
    """Empty when it was taken; else why not, in the end."""
    body, headers = signed(event, secret, at)
    pause_seconds, why = PAUSE_FIRST_SECONDS, ""
    for _ in range(TRIES_MAX):
        try:
            answer = await http.post(url, content=body, headers=headers)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
        else:
            if answer.is_success:
                return ""
            why = f"it answers {answer.status_code}"
        await anyio.sleep(pause_seconds)
        pause_seconds *= 2
    return why
