"""What the gateway answers is what its description says: every object, its fields, and which of them are always there.

Owns     one answer of every operation that answers JSON, and of every row that is shown one with everything and one
         with the least
"""

from dataclasses import fields
from datetime import UTC, date, datetime
from hashlib import sha256
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

import httpx
import pytest

from gateway.sender import batch_view, presentation
from gateway.sender.batch_results import STATUSES
from gateway.sender.openapi import description
from gateway.sender.webhooks import SIGNATURES
from pipeline.delivery.states import STATES
from pipeline.evidence.dossier import Reason
from pipeline.evidence.verification import CheckOutcome, Report, Verdict, verify
from pipeline.evidence.verification.rendering import as_dict
from pipeline.evidence.verification.report import BatchFacts
from pipeline.feed.payload import FeedEvent, body
from pipeline.feed.types import SUBJECTS, TYPES
from pipeline.intake.batches import problem
from pipeline.intake.mistakes import Mistake
from pipeline.ports.bridge import PublishedKey
from pipeline.stores.batches import BatchProgress, BatchSeen, ResultSeen
from pipeline.stores.consents import ConsentStanding, RequestSeen
from pipeline.stores.senders import Consent, DeliverySeen, EventSeen, SenderUpload, SnapshotSeen
from tests.fakes import letters
from tests.fakes.pki import Provider, authority
from tests.gateway.sender.api_shapes import Answer, Table, changed, differences
from tests.gateway.sender.conftest import (
    CONSENT,
    PDF,
    PUBLIC_URL,
    SECRET,
    World,
    content_digest,
    upload,
    uploaded_letter,
)

pytestmark = pytest.mark.anyio
Row = TypeVar("Row")
Samples = list[tuple[str, object]]
OBJECT = "00112233445566778899aabbccddeeff"
VALUES: dict[Any, Any] = {
    UUID: UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    str: "text",
    int: 1,
    bool: True,
    bytes: bytes(32),
    datetime: datetime(2026, 3, 2, 9, tzinfo=UTC),
    date: date(2026, 3, 2),
}
# A list of words in the description, and all that the code has of them.
WORDS = {
    ("Delivery", "state"): STATES,
    ("ConsentRequest", "state"): {standing.value for standing in ConsentStanding},
    ("Event", "type"): TYPES,
    ("BatchResult", "status"): set(STATUSES),
    ("Webhook", "signature"): set(SIGNATURES),
    ("VerifyReport", "verdict"): {verdict.value for verdict in Verdict},
    ("VerifyStep", "outcome"): {outcome.value for outcome in CheckOutcome},
}


def row(kind: type[Row], *, is_full: bool, **given: Any) -> Row:
    """A row with a value in every field, or with None wherever it may be; and with what is given."""
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: given[name] if name in given else _value(hints[name], is_full) for name in names})


def _value(hint: Any, is_full: bool) -> Any:
    if get_origin(hint) is UnionType:
        [kind] = [one for one in get_args(hint) if one is not type(None)]
        return _value(kind, is_full) if is_full else None
    if get_origin(hint) is tuple:
        return (_value(get_args(hint)[0], is_full),)
    return VALUES.get(hint, {})


# ------------------------------------------------------------------ rows that are shown
def of_letters(world: World) -> Samples:
    """A letter with all its times, a rejected one with its reason, one that was just submitted."""
    config = world.parts.config
    events = tuple(row(EventSeen, is_full=True, event=event) for event in ("A.1", "C.1", "C.3", "D.1", "E.1"))
    snapshots = (row(SnapshotSeen, is_full=True),)
    received = row(DeliverySeen, is_full=True, state="received", events=events, snapshots=snapshots)
    submitted = row(DeliverySeen, is_full=False, state="submitted", events=(), snapshots=())
    return [
        ("Delivery", presentation.delivery(config, received, Reason("code", "text"))),
        ("Delivery", presentation.delivery(config, submitted)),
        ("Evidence", presentation.evidence(events[0], config)),
    ]


def of_uploads() -> Samples:
    """In one body, in parts, and with parts to come."""
    return [
        ("Upload", presentation.upload(row(SenderUpload, is_full=True), (2,))),
        ("Upload", presentation.upload(row(SenderUpload, is_full=False))),
    ]


def of_consents() -> Samples:
    """Given and withdrawn; asked for, and answered."""
    words = {"withdrawn_by": "sender", "language": "fr"}
    found: Samples = []
    for is_full in (True, False):
        given = words if is_full else {"language": "fr", "is_over": False}
        consent = {"withdrawn_by": "sender"} if is_full else {}
        found.append(("Consent", presentation.consent(row(Consent, is_full=is_full, **consent))))
        found.append(("ConsentRequest", presentation.consent_request(row(RequestSeen, is_full=is_full, **given))))
    return found


def of_batches() -> Samples:
    """Open and completed, counted and not; a line of every kind."""
    wrong = problem([Mistake("field_invalid", "/subject", "is required: a text")])
    lines = [
        (row(ResultSeen, is_full=True, problem=None), None),
        (row(ResultSeen, is_full=False, replayed=False, problem=wrong), None),
        (row(ResultSeen, is_full=True, replayed=False, problem=None), Reason("code", "text")),
    ]
    shown = row(BatchSeen, is_full=True, state="completed", format="ndjson")
    opened = row(BatchSeen, is_full=False, state="open", format="csv")
    return [
        ("Batch", batch_view.batch(shown, BatchProgress({"received": 1}, 0))),
        ("Batch", batch_view.batch(opened)),
        *(("BatchResult", batch_view.result(line, reason, "en")) for line, reason in lines),
    ]


def of_events() -> Samples:
    """Of every type, about whatever it may be about; and one about as little as there may be."""
    full = [
        row(FeedEvent, is_full=True, type=kind, **({} if kind.partition(".")[0] in SUBJECTS else {"subject": None}))
        for kind in sorted(TYPES)
    ]
    return [("Event", body(event)) for event in [*full, row(FeedEvent, is_full=False, type="batch.completed")]]


def of_reports() -> Samples:
    """Of a letter's proofs, of a batch's, and of what is no proof."""
    provider = Provider.new()
    _, documents = letters.life(provider, "accepted")
    package = provider.packed(letters.snapshot(provider, documents), letters.PACKED_AT)
    facts = row(BatchFacts, is_full=True, mode="non_qualified")
    batch = row(Report, is_full=True, verdict=Verdict.VALID, steps=(), facts=facts)
    reports = [verify(package, [provider.root.der]), batch, verify(b"no proof", [])]
    return [("VerifyReport", as_dict(report)) for report in reports]


# ------------------------------------------------------------------ answers over HTTP
class Recorded(list[Answer]):
    """Every answer that its clients got."""

    async def hear(self, response: httpx.Response) -> None:
        """As httpx has it: after the head, before the body."""
        content_type = response.headers.get("content-type", "").partition(";")[0]
        request = response.request
        self.append(
            Answer(request.method, request.url.path, response.status_code, content_type, await response.aread())
        )

    def heard(self, client: httpx.AsyncClient) -> httpx.AsyncClient:
        """This client, listened to."""
        client.event_hooks["response"] = [self.hear]
        return client


async def ask_service(world: World, anonymous: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    """Tokens, the account, the service, the clock; a verification, and problems with all that they may carry."""
    form = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": SECRET}
    await anonymous.post("/oauth2/token", data=form)
    await anonymous.post("/oauth2/token", data={**form, "client_secret": "wrong"})
    await anonymous.post("/oauth2/token", data={**form, "grant_type": "password"})
    await anonymous.get("/.well-known/oauth-authorization-server")
    await client.get("/v1/me")
    await client.get("/v1/status")
    await anonymous.get("/v1/openapi.json")
    await client.post("/v1/sandbox/clock", json={"advance": "PT1H"})
    world.parts.keys.anchor = authority().der
    await anonymous.post("/v1/verify", files={"proof": b"no proof"})


async def ask_letters(client: httpx.AsyncClient) -> None:
    """An upload each way, a letter, the same again, one that is wrong and one that is in its way."""
    await upload(client)
    file = {"sha256": sha256(PDF).hexdigest(), "bytes": len(PDF), "file_name": "x", "content_type": "application/pdf"}
    at = (await client.post("/v1/uploads", json=file)).headers["location"]
    await client.get(at)
    await client.put(f"{at}/parts/1", content=PDF, headers={"Content-Digest": content_digest(PDF)})
    await client.post(f"{at}/complete")
    letter = await uploaded_letter(client, client_ref="one")
    at = (await client.post("/v1/deliveries", json=letter)).headers["location"]
    await client.post("/v1/deliveries", json=letter)
    await client.post("/v1/deliveries", json={**letter, "subject": "another"})
    await client.post("/v1/deliveries/validate", json={})
    await client.get("/v1/deliveries")
    await client.get(at)
    await client.get(f"{at}/evidence")


async def ask_consents(client: httpx.AsyncClient) -> None:
    """One recorded, one asked for."""
    await client.put("/v1/consents/one", json=CONSENT)
    await client.get("/v1/consents/one")
    await client.post("/v1/consents/one/withdraw")
    who = {name: CONSENT[name] for name in ("email", "given_names", "birth_name")}
    await client.post("/v1/consents/requests", json={**who, "ref": "two"})
    await client.get("/v1/consents/requests/two")


async def ask_batches(client: httpx.AsyncClient) -> None:
    """A batch with a wrong line; judged, closed too early, cancelled; an export of it and one by time."""
    opened = await client.post("/v1/batches", json={"name": "March", "format": "ndjson"})
    at = opened.headers["location"]
    for content in (b"{}\n{", b"{}\n"):
        headers = {"Content-Type": "application/x-ndjson", "Content-Digest": content_digest(content)}
        await client.put(f"{at}/items", params={"part": 1}, content=content, headers=headers)
    await client.post(f"{at}/validate")
    await client.post(f"{at}/cancel")
    await client.get(f"{at}/results")
    closing = {"parts": 1, "lines": 1, "sha256_of_parts": "00" * 32}
    await client.post(f"{at}/submit", json=closing)
    await client.get("/v1/batches")
    await client.get(at)
    await client.post("/v1/exports", json={"batch_id": opened.json()["id"]})


async def ask_exports(world: World, client: httpx.AsyncClient) -> None:
    """One by time, with a part."""
    order = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    at = (await client.post("/v1/exports", json=order)).headers["location"]
    world.psql(
        "INSERT INTO qerds.export_step (export, step, cursor, is_last, deliveries, object, bytes, sha256) VALUES "
        f"('{at.rpartition('/')[2]}', 1, 'x', true, 3, '{OBJECT}', 1, '\\x{bytes(32).hex()}')"
    )
    await client.get(at)


async def ask_webhooks(world: World, client: httpx.AsyncClient) -> None:
    """One with a secret and one that has been through everything; an attempt, the keys, an event."""
    await client.post("/v1/webhooks", json={"url": "https://sender.example/", "signature": "v1"})
    at = (await client.post("/v1/webhooks", json={"url": "https://sender.example/"})).headers["location"]
    hook = at.rpartition("/")[2]
    world.psql(
        "UPDATE qerds.webhook SET enabled = false, disabled_reason = 'exhausted', paused_until = now(), "
        f"last_success_at = now() WHERE id = '{hook}';"
        "INSERT INTO qerds.webhook_attempt (webhook, event, type, attempt, outcome, status, milliseconds) VALUES "
        f"('{hook}', gen_random_uuid(), 'webhook.test', 1, 'refused', 500, 7);"
        "SELECT qerds.sequence_events(0, 1000)"
    )
    spki, now = bytes.fromhex(f"302a300506032b6570032100{1:064x}"), datetime.now(UTC)
    world.parts.keys.webhook_keys.append(PublishedKey("webhook-1", "webhook", spki, None, now, now))
    await client.get("/v1/webhooks")
    await client.get(at)
    await client.get(f"{at}/attempts")
    await client.post(f"{at}/test")
    await client.post(f"{at}/replay", json={"after": (await client.get("/v1/events")).json()["next_cursor"]})
    await client.patch(at, json={"types": []})
    await client.post(f"{at}/enable")
    await client.get("/.well-known/webhook-keys.json")


async def asked(world: World) -> Recorded:
    """Answers of every operation that answers JSON."""
    heard = Recorded()
    anonymous, client = heard.heard(world.anonymous()), heard.heard(await world.sender())
    await ask_service(world, anonymous, client)
    await ask_letters(client)
    await ask_consents(client)
    await ask_batches(client)
    await ask_exports(world, client)
    await ask_webhooks(world, client)
    return heard


def shown(world: World) -> Samples:
    """Rows as the gateway shows them."""
    rows = [of_letters(world), of_uploads(), of_consents(), of_batches(), of_events(), of_reports()]
    return [sample for samples in rows for sample in samples]


# ------------------------------------------------------------------ the comparison
SCHEMAS = "components schemas"
PLANTED: list[tuple[str, Any, str]] = [  # where, what stands there (None: nothing), what is found
    (f"{SCHEMAS} Delivery properties changed_at", None, "Delivery: changed_at is answered and not described"),
    (f"{SCHEMAS} Delivery properties colour", {}, "Delivery: colour is described and never answered"),
    (f"{SCHEMAS} Delivery required", ["id", "reason"], "Delivery: reason is required and not always answered"),
    (f"{SCHEMAS} Delivery required", [], "Delivery: id is always answered and not required"),
    (f"{SCHEMAS} Delivery properties number type", "integer", "Delivery/number: 'text' is not of type integer"),
    (f"{SCHEMAS} Delivery properties reason", {"type": "object"}, "Delivery/reason: what is in it is not described"),
    (f"{SCHEMAS} Webhook properties disabled_reason enum", [], "Webhook/disabled_reason: 'exhausted' is none of []"),
    (f"{SCHEMAS} Problem properties line", None, "Problem: line is answered and not described"),
    (f"{SCHEMAS} Status properties more", {"type": "object", "properties": {}}, "Status/more: no answer has it"),
    ("paths /v1/me", None, "GET /v1/me: is not described"),
    ("paths /v1/deliveries post responses 202", None, "submit: 202 application/json is not described"),
    ("paths /v1/me get responses 200 content", {"text/plain": {}}, "me: 200 application/json is not described"),
]


async def test_answers_are_as_described(world: World) -> None:
    """Every field that is answered is described, and the other way round; what is required is always there. A
    difference, wherever it is planted, is found and named."""
    answers, samples, api = await asked(world), shown(world), description(PUBLIC_URL, is_sandbox=True)
    assert differences(api, answers, samples) == []
    for path, value, named in PLANTED:
        assert named in differences(changed(api, path, value), answers, samples)


def unlike_words(api: Table) -> list[str]:
    """Properties that are described with other words than the code has."""
    schemas = api["components"]["schemas"]
    return [name for (of, name), words in WORDS.items() if set(schemas[of]["properties"][name]["enum"]) != words]


def test_lists_of_words_are_the_code_s() -> None:
    """States, types, verdicts: all that there are, and no other."""
    api = description(PUBLIC_URL, is_sandbox=True)
    assert unlike_words(api) == []
    assert unlike_words(changed(api, f"{SCHEMAS} Event properties type enum", ["batch.completed"])) == ["type"]
