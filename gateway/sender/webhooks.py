"""/v1/webhooks: addresses of a sender that are told of events, and what became of telling them.

Owns     reading what a webhook is to be, showing it, the keys that sign
Rules    an address is judged here by its text; before each connection it is judged again by what its name leads to
         a v1 secret is shown once, in the answer that made it; nobody can read it back, not even this gateway
Elsewhere: sending (pipeline/stages/webhook.py), the schedule of tries (pipeline/feed/attempts.py)
Source   Standard Webhooks
"""

from base64 import b64encode
from collections.abc import Mapping
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import read_body
from gateway.limits import LIST_DEFAULT
from gateway.problems import Problem, field_problem, problem_of
from gateway.sender.events import cursor_of, read_types, sequence_of
from gateway.sender.json_body import declared_json_object
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from pipeline.feed.endpoint import EndpointRefused, read_url
from pipeline.feed.signature import KEY_PREFIX, SECRET_BYTES, secret_text
from pipeline.formats.instants import optional_time_text, time_text
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import Fields, identifier
from pipeline.ports.bridge import PublishedKey
from pipeline.stores.feed import AttemptSeen, NewWebhook, WebhookChange, WebhookSeen

SCOPE = "webhooks:write"
SIGNATURES = ("v1a", "v1")
KEYS_SECONDS = 300  # a published key may be cached so long


class Webhooks:
    """/v1/webhooks."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._store = ports.events
        self._oauth = oauth

    async def create(self, request: Request) -> Response:
        """POST: 201; a v1 secret is in this answer and in no other."""
        sender = (await self._oauth.authorise(request, SCOPE)).sender
        mistakes: list[Mistake] = []
        fields = Fields(declared_json_object(request, await read_body(request)), mistakes)
        url = self._url(fields, required=True)
        types = _types(fields)
        signature = fields.choice("signature", SIGNATURES, default="v1a")
        fields.end()
        if mistakes or url is None or signature is None:
            raise problem_of(mistakes)
        secret = self._ports.ids.random_bytes(SECRET_BYTES) if signature == "v1" else None
        made = NewWebhook(self._ports.ids.uuid7(), sender, url, types or (), signature, secret)
        if not await self._store.add_webhook(made):
            raise Problem("too_many_webhooks")
        shown = _shown(await self._one(sender, made.id))
        if secret is not None:
            shown["secret"] = secret_text(secret)
        return JSONResponse(shown, 201, {"Location": f"/v1/webhooks/{made.id}"})

    async def index(self, request: Request) -> Response:
        """GET: all of them."""
        sender = (await self._oauth.authorise(request, SCOPE)).sender
        return JSONResponse({"items": [_shown(w) for w in await self._store.webhooks(sender)], "next_cursor": None})

    async def show(self, request: Request) -> Response:
        """GET one."""
        _, webhook = await self._named(request)
        return JSONResponse(_shown(webhook))

    async def change(self, request: Request) -> Response:
        """PATCH: url, types, enabled: false."""
        sender, webhook = await self._named(request)
        mistakes: list[Mistake] = []
        fields = Fields(declared_json_object(request, await read_body(request)), mistakes)
        url, types = self._url(fields, required=False), _types(fields)
        enabled = fields.value("enabled", bool, "false; to enable, POST enable", required=False)
        if enabled:
            fields.mistake("enabled", "can only be set to false; to enable, POST enable")
        fields.end()
        if mistakes:
            raise problem_of(mistakes)
        await self._store.change_webhook(sender, webhook.id, WebhookChange(url, types, is_off=enabled is False))
        return JSONResponse(_shown(await self._one(sender, webhook.id)))

    async def delete(self, request: Request) -> Response:
        """DELETE: with its secret and its log; a request under way may still arrive."""
        sender, webhook = await self._named(request)
        await self._store.delete_webhook(sender, webhook.id)
        return Response(status_code=204)

    async def test(self, request: Request) -> Response:
        """POST test: 202, a webhook.test is on its way; GET attempts says what came of it."""
        sender, webhook = await self._named(request)
        if not await self._store.test_webhook(sender, webhook.id):
            raise Problem("rate_limited", "the last test was a moment ago", headers={"Retry-After": "5"})
        return JSONResponse(_shown(webhook), 202)

    async def enable(self, request: Request) -> Response:
        """POST enable: it goes on where it stopped."""
        sender, webhook = await self._named(request)
        await self._store.enable_webhook(sender, webhook.id)
        return JSONResponse(_shown(await self._one(sender, webhook.id)))

    async def replay(self, request: Request) -> Response:
        """POST replay {after}: everything after this cursor again, under the same ids."""
        sender, webhook = await self._named(request)
        mistakes: list[Mistake] = []
        fields = Fields(declared_json_object(request, await read_body(request)), mistakes)
        after = fields.parsed("after", sequence_of, "a next_cursor of /v1/events")
        if after is not None and after > await self._store.head():
            fields.mistake("after", "is a place that no event has yet")
        fields.end()
        if mistakes or after is None:
            raise problem_of(mistakes)
        await self._store.replay_webhook(sender, webhook.id, after)
        return JSONResponse(_shown(await self._one(sender, webhook.id)), 202)

    async def attempts(self, request: Request) -> Response:
        """GET attempts: the newest first, 30 days."""
        _, webhook = await self._named(request)
        before = request.query_params.get("cursor")
        if before is not None and not (before.isascii() and before.isdigit() and len(before) <= 18):
            raise field_problem("field_invalid", "cursor", "must be a next_cursor of this list")
        rows = await self._store.attempts(webhook.id, None if before is None else int(before), LIST_DEFAULT)
        following = str(rows[-1].id) if len(rows) == LIST_DEFAULT else None
        return JSONResponse({"items": [_attempt(row) for row in rows], "next_cursor": following})

    async def keys(self, request: Request) -> Response:
        """GET /.well-known/webhook-keys.json."""
        keys = [_key(key) for key in await self._ports.keys.every("webhook")]
        statement = (await self._ports.keys.statement()).decode("ascii")
        return JSONResponse(
            {"keys": keys, "statement": statement}, headers={"Cache-Control": f"public, max-age={KEYS_SECONDS}"}
        )

    async def _named(self, request: Request) -> tuple[UUID, WebhookSeen]:
        sender = (await self._oauth.authorise(request, SCOPE)).sender
        try:
            webhook = identifier(request.path_params["webhook"])
        except ValueError as error:
            raise Problem("not_found") from error
        return sender, await self._one(sender, webhook)

    async def _one(self, sender: UUID, webhook: UUID) -> WebhookSeen:
        webhooks = await self._store.webhooks(sender, webhook)
        if not webhooks:
            raise Problem("not_found")
        return webhooks[0]

    def _url(self, fields: Fields, required: bool) -> str | None:
        url = fields.value("url", str, "an https address", required)
        if url is not None:
            try:
                read_url(url, self._ports.config.webhooks.loopback_http)
            except EndpointRefused as refused:
                fields.mistake("url", str(refused))
        return url


def _types(fields: Fields) -> tuple[str, ...] | None:
    """None when they are not named."""
    names = fields.value("types", list, "a list of types of events", required=False)
    if names is None:
        return None
    if not all(isinstance(name, str) for name in names):
        fields.mistake("types", "must be a list of types of events")
        return None
    return read_types(names, fields.pointer("types"), fields.mistakes)


def _shown(w: WebhookSeen) -> dict[str, object]:
    optional = {
        "disabled_reason": w.disabled_reason,
        "paused_until": optional_time_text(w.paused_until),
        "last_success_at": optional_time_text(w.last_success_at),
    }
    return {
        "id": str(w.id),
        "url": w.url,
        "types": list(w.types),
        "signature": w.signature,
        "enabled": w.enabled,
        "failures_in_a_row": w.failures,
        "cursor": cursor_of(w.read_through),
        "created_at": time_text(w.created_at),
        **{name: value for name, value in optional.items() if value is not None},
    }


def _attempt(a: AttemptSeen) -> Mapping[str, object]:
    return {
        "event_id": str(a.event),
        "type": a.type,
        "attempt": a.attempt,
        "at": time_text(a.at),
        "outcome": a.outcome,
        "http_status": a.status,
        "milliseconds": a.milliseconds,
        "next_try_at": optional_time_text(a.next_try_at),
    }


def _key(key: PublishedKey) -> Mapping[str, object]:
    public = load_der_public_key(key.spki)
    if not isinstance(public, Ed25519PublicKey):
        raise TypeError(f"{key.key_id} is no ed25519 key")
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "key_id": key.key_id,
        "algorithm": "ed25519",
        "public_key": KEY_PREFIX + b64encode(raw).decode(),
        "not_before": time_text(key.not_before),
        "not_after": time_text(key.until),
    }
