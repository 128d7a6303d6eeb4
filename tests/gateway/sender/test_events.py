"""GET /v1/events and /v1/webhooks over the whole gateway: what is shown, what is refused, what waits."""

from base64 import b64decode
from datetime import UTC, datetime
from uuid import UUID, uuid4

import anyio
import httpx
import pytest

from gateway.sender.events import WAITERS_OF_SENDER_MAX, cursor_of, sequence_of
from pipeline.ports.bridge import PublishedKey
from tests.gateway.sender.conftest import World

pytestmark = pytest.mark.anyio


def note(world: World, sender: UUID, count: int = 1, type_: str = "batch.completed") -> None:
    """Facts of a sender, in their places."""
    world.psql(
        f"INSERT INTO qerds.event_unsequenced (type, sender, subject, state) SELECT '{type_}', '{sender}', "
        f"gen_random_uuid(), 'completed' FROM generate_series(1, {count}); SELECT qerds.sequence_events(0, 1000)"
    )


async def two_senders(world: World) -> tuple[UUID, httpx.AsyncClient, UUID, httpx.AsyncClient]:
    one, other = world.add_sender("reader"), world.add_sender("stranger")
    return one, await world.sender("reader"), other, await world.sender("stranger")


async def test_a_sender_reads_its_own_events_in_order_by_the_cursor(world: World) -> None:
    """Page by page, nothing twice, nothing of others; the last cursor goes on later."""
    sender, client, other, _ = await two_senders(world)
    note(world, sender, 5)
    note(world, other, 3)
    note(world, sender, 2, "webhook.disabled")
    found: list[int] = []
    after: dict[str, str] = {}
    while True:
        answer = (await client.get("/v1/events", params={"limit": 3, **after})).json()
        found += [item["sequence"] for item in answer["items"]]
        after = {"after": answer["next_cursor"]}
        if not answer["has_more"]:
            break
    assert found == [1, 2, 3, 4, 5, 9, 10]
    assert set((await client.get("/v1/events")).json()["items"][0]) == {
        *("id", "type", "time", "sequence", "batch_id", "state")
    }
    assert (await client.get("/v1/events", params=after)).json()["items"] == []
    note(world, sender)
    assert [e["sequence"] for e in (await client.get("/v1/events", params=after)).json()["items"]] == [11]
    only = (await client.get("/v1/events", params={"types": "webhook.disabled"})).json()
    assert [item["sequence"] for item in only["items"]] == [9, 10]


async def test_a_wait_ends_with_the_first_event(world: World) -> None:
    """Long before its 30 s; another sender's event does not end it."""
    sender, client, other, _ = await two_senders(world)
    got: list[httpx.Response] = []

    async def ask() -> None:
        got.append(await client.get("/v1/events", params={"wait": 30}, timeout=40))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.to_thread.run_sync(note, world, other)
            await anyio.to_thread.run_sync(note, world, sender)
    assert [item["sequence"] for item in got[0].json()["items"]] == [2]


async def test_a_wait_without_events_ends_with_an_empty_page(world: World) -> None:
    """Its cursor has moved on over what was looked at."""
    sender, client, _, _ = await two_senders(world)
    note(world, sender)
    answer = await client.get("/v1/events", params={"wait": 1, "types": "webhook.disabled"}, timeout=40)
    assert answer.json() == {"items": [], "next_cursor": cursor_of(1), "has_more": False}


async def test_only_so_many_wait_at_once(world: World) -> None:
    """One more is refused and told when to come again; those that do not wait are served."""
    _, client, _, other_client = await two_senders(world)
    statuses: list[int] = []

    async def ask(wait: int) -> None:
        answer = await client.get("/v1/events", params={"wait": wait}, timeout=40)
        statuses.append(answer.status_code)

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            for _ in range(WAITERS_OF_SENDER_MAX + 1):
                tasks.start_soon(ask, 2)
            assert (await client.get("/v1/events")).status_code == 200
            assert (await other_client.get("/v1/events", params={"wait": 1}, timeout=40)).status_code == 200
    assert sorted(statuses) == [200] * WAITERS_OF_SENDER_MAX + [429]


@pytest.mark.parametrize(
    "query",
    [
        {"after": "nonsense"},
        {"after": "x" * 41},
        {"after": "é"},
        {"types": "delivery.lost"},
        {"delivery_id": "1"},
        {"wait": "31"},
        {"wait": "-1"},
        {"limit": "0"},
        {"limit": "1001"},
        {"since": "1"},
    ],
)
async def test_a_question_that_cannot_be_is_refused_by_name(world: World, query: dict[str, str]) -> None:
    """Each names its parameter."""
    _, client, _, _ = await two_senders(world)
    answer = await client.get("/v1/events", params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == next(iter(query))


def test_a_cursor_is_read_back() -> None:
    """And nothing else is a cursor."""
    assert [sequence_of(cursor_of(n)) for n in (0, 1, 10**15)] == [0, 1, 10**15]


HOOK = {"url": "https://sender.example/hook"}


async def test_a_webhook_is_made_shown_changed_and_deleted(world: World) -> None:
    """A sender's own; another one's is not there."""
    sender, client, _, stranger = await two_senders(world)
    note(world, sender, 7)
    made = await client.post("/v1/webhooks", json={**HOOK, "types": ["delivery.accepted"]})
    assert made.status_code == 201
    at = made.headers["location"]
    shown = (await client.get(at)).json()
    assert shown == made.json()
    assert "secret" not in shown
    assert (shown["signature"], shown["enabled"], shown["cursor"]) == ("v1a", True, cursor_of(7))
    changed = (await client.patch(at, json={"url": "https://sender.example/new", "types": []})).json()
    assert (changed["url"], changed["types"], changed["enabled"]) == ("https://sender.example/new", [], True)
    off = (await client.patch(at, json={"enabled": False})).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "by_sender")
    assert (await client.post(f"{at}/enable")).json()["enabled"] is True
    assert [w["id"] for w in (await client.get("/v1/webhooks")).json()["items"]] == [shown["id"]]
    assert (await stranger.get("/v1/webhooks")).json()["items"] == []
    for method, path in (("GET", at), ("PATCH", at), ("DELETE", at), ("POST", f"{at}/enable"), ("POST", f"{at}/test")):
        assert (await stranger.request(method, path, json={})).status_code == 404
    assert (await client.delete(at)).status_code == 204
    assert (await client.get(at)).status_code == 404
    assert (await client.get("/v1/webhooks/17")).status_code == 404


async def test_a_secret_is_shown_once(world: World) -> None:
    """Made here, 32 random bytes, in the form that Standard Webhooks' libraries take."""
    _, client, _, _ = await two_senders(world)
    made = (await client.post("/v1/webhooks", json={**HOOK, "signature": "v1"})).json()
    secret = b64decode(made["secret"].removeprefix("whsec_"))
    stored = world.psql("SELECT encode(secret, 'hex') FROM qerds.webhook_secret").strip()
    assert (len(secret), secret.hex()) == (32, stored)
    assert "secret" not in (await client.get(f"/v1/webhooks/{made['id']}")).json()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "http://sender.example/"}, "/url"),
        ({"url": "https://10.0.0.1/"}, "/url"),
        ({"url": "https://[::1]/"}, "/url"),
        ({"url": "https://localhost/"}, "/url"),
        ({"url": "https://169.254.169.254/latest"}, "/url"),
        ({"url": 5}, "/url"),
        ({**HOOK, "types": ["delivery.lost"]}, "/types"),
        ({**HOOK, "types": "delivery.accepted"}, "/types"),
        ({**HOOK, "types": [1]}, "/types"),
        ({**HOOK, "signature": "v2"}, "/signature"),
        ({**HOOK, "secret": "mine"}, "/secret"),
    ],
)
async def test_a_webhook_that_cannot_be_is_refused_by_name(world: World, body: dict[str, object], pointer: str) -> None:
    """An address inside is refused when it is written down."""
    _, client, _, _ = await two_senders(world)
    answer = await client.post("/v1/webhooks", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert world.count("qerds.webhook") == 0


async def test_twenty_webhooks_are_enough(world: World) -> None:
    """The next one is refused."""
    _, client, _, other = await two_senders(world)
    for _ in range(20):
        assert (await client.post("/v1/webhooks", json=HOOK)).status_code == 201
    refused = await client.post("/v1/webhooks", json=HOOK)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_webhooks")
    assert (await other.post("/v1/webhooks", json=HOOK)).status_code == 201


async def test_a_replay_goes_to_a_place_that_there_is(world: World) -> None:
    """Back to a cursor of the list of events; what was set aside behind it comes again anyway."""
    sender, client, _, _ = await two_senders(world)
    note(world, sender, 9)
    at = (await client.post("/v1/webhooks", json=HOOK)).headers["location"]
    hook = UUID(at.rsplit("/", 1)[1])
    for sequence in (2, 7):
        world.psql(
            "INSERT INTO qerds.webhook_retry (webhook, sequence, tries, due_at) "
            f"VALUES ('{hook}', {sequence}, 1, now())"
        )
    answer = await client.post(f"{at}/replay", json={"after": cursor_of(4)})
    assert (answer.status_code, answer.json()["cursor"]) == (202, cursor_of(4))
    assert world.psql("SELECT sequence FROM qerds.webhook_retry").strip() == "2"
    for wrong in ({"after": cursor_of(10)}, {"after": "4"}, {}):
        assert (await client.post(f"{at}/replay", json=wrong)).status_code == 422


async def test_a_test_is_asked_for_now_and_then(world: World) -> None:
    """It becomes a message to `webhook`; the second one in a row waits."""
    _, client, _, _ = await two_senders(world)
    at = (await client.post("/v1/webhooks", json=HOOK)).headers["location"]
    assert (await client.post(f"{at}/test")).status_code == 202
    again = await client.post(f"{at}/test")
    assert (again.status_code, again.headers["retry-after"]) == (429, "5")
    assert world.psql("SELECT kind, subject FROM outbox.webhook").strip() == f"ping|{at.rsplit('/', 1)[1]}"


async def test_the_log_of_attempts_is_read_newest_first(world: World) -> None:
    """A hundred to a page."""
    _, client, _, _ = await two_senders(world)
    at = (await client.post("/v1/webhooks", json=HOOK)).headers["location"]
    world.psql(
        "INSERT INTO qerds.webhook_attempt (webhook, event, type, attempt, outcome, status, milliseconds) "
        f"SELECT '{at.rsplit('/', 1)[1]}', '{uuid4()}', 'webhook.test', n, 'refused', 500, 7 "
        "FROM generate_series(1, 130) n"
    )
    first = (await client.get(f"{at}/attempts")).json()
    assert [a["attempt"] for a in first["items"]] == list(range(130, 30, -1))
    assert first["items"][0] | {"at": ""} == {
        "event_id": first["items"][0]["event_id"],
        "type": "webhook.test",
        "attempt": 130,
        "at": "",
        "outcome": "refused",
        "http_status": 500,
        "milliseconds": 7,
        "next_try_at": None,
    }
    second = (await client.get(f"{at}/attempts", params={"cursor": first["next_cursor"]})).json()
    assert ([a["attempt"] for a in second["items"]], second["next_cursor"]) == (list(range(30, 0, -1)), None)
    assert (await client.get(f"{at}/attempts", params={"cursor": "x"})).status_code == 422


async def test_the_keys_that_sign_are_public(world: World) -> None:
    """With their validity, newest first, raw keys in the form that libraries take; no token is needed."""
    for year in (2026, 2025):
        spki = bytes.fromhex(f"302a300506032b6570032100{year:064x}")
        lived = (datetime(year, 1, 1, tzinfo=UTC), datetime(year + 2, 1, 1, tzinfo=UTC))
        world.parts.keys.webhook_keys.append(PublishedKey(f"webhook-{year}-1", "webhook", spki, None, *lived))
    answer = await world.anonymous().get("/.well-known/webhook-keys.json")
    keys = answer.json()["keys"]
    assert [key["key_id"] for key in keys] == ["webhook-2026-1", "webhook-2025-1"]
    assert b64decode(keys[0]["public_key"].removeprefix("whpk_")).hex() == f"{2026:064x}"
    assert answer.json()["statement"] == "head.payload.signature"
    assert (keys[0]["not_before"], keys[0]["algorithm"]) == ("2026-01-01T00:00:00.000Z", "ed25519")


async def test_webhooks_need_their_scope(world: World) -> None:
    """No token, no webhook; the list of events is for who may read deliveries."""
    client = world.anonymous()
    for method, path in (("POST", "/v1/webhooks"), ("GET", "/v1/webhooks"), ("GET", "/v1/events")):
        assert (await client.request(method, path)).status_code == 401
