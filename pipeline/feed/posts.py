"""The requests of a job, signed: with the receiver's secret, or by the bridge.

Owns     headers and body of a request
Rules    the bridge is asked once for all; a second try sends the same body under the same id, signed anew
Elsewhere: the forms of signatures (signature.py), bodies (payload.py), sending (pipeline/adapters/webhook_http.py)
Source   Standard Webhooks
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

from pipeline.feed import signature
from pipeline.feed.attempts import Job, Webhook
from pipeline.feed.payload import body_bytes
from pipeline.feed.ports import Post
from pipeline.ports.bridge import Bridge, wire

WebhookBridge = Bridge[Literal["webhook"]]  # the bridge as `webhook` sees it
KEY_HEADER = "qerds-webhook-key"
FIXED_HEADERS = {"content-type": "application/json; charset=utf-8", "user-agent": "qerds-webhook"}


async def signed_posts(
    jobs: Sequence[tuple[Webhook, Job]], bridge: WebhookBridge, now: datetime
) -> list[list[Post] | None]:
    """The requests of each job; None where the bridge does not sign one of them. Raises Transient when it is away."""
    timestamp = int(now.timestamp())
    items = [(webhook, [wire.SignWebhook(e.id, timestamp, body_bytes(e)) for e in job.events]) for webhook, job in jobs]
    answers = iter(await bridge.ask([item for webhook, own in items if webhook.secret is None for item in own]))
    return [
        _by_bridge(own, answers) if webhook.secret is None else _by_secret(own, webhook.secret)
        for webhook, own in items
    ]


def _by_secret(items: Sequence[wire.SignWebhook], secret: bytes) -> list[Post]:
    return [_post(i, signature.sign_v1(secret, i.id, i.timestamp, i.body), {}) for i in items]


def _by_bridge(
    items: Sequence[wire.SignWebhook], answers: Iterator[wire.WebhookSigned | wire.Denied]
) -> list[Post] | None:
    """Takes as many answers as there are items."""
    posts = [
        _post(item, signature.v1a(answer.signature), {KEY_HEADER: answer.key_id})
        for item, answer in zip(items, answers, strict=False)
        if isinstance(answer, wire.WebhookSigned)
    ]
    return posts if len(posts) == len(items) else None


def _post(item: wire.SignWebhook, signed_by: str, extra: dict[str, str]) -> Post:
    return Post({**FIXED_HEADERS, **signature.headers(item.id, item.timestamp, signed_by), **extra}, item.body)
