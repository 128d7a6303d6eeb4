"""Webhooks end to end: real database, real loop, real sequencer, endpoints that answer as they like."""

import os
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pipeline.actors import loop
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.feed import PostgresEventStore
from pipeline.adapters.postgres.link import Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.adapters.postgres.webhook_facts import PostgresWebhookFacts
from pipeline.adapters.webhook_http import HttpCourier
from pipeline.errors import LeaseLost
from pipeline.feed import sequencer as service
from pipeline.feed.signature import signed_message
from pipeline.formats.configuration import DatabaseSettings
from pipeline.process.recorder import Recorder
from pipeline.stages import webhook
from pipeline.stores.feed import NewWebhook, WebhookChange, WebhookSeen
from tests.db.events_world import EventsWorld, recorder
from tests.endpoints import Endpoint, Received, Say, endpoint
from tests.fakes.bridge import FakeBridge
from tests.servers import PostgresServer
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


class HookWorld(EventsWorld):
    """With a bridge, and a hand on the schedule."""

    async def make_due(self) -> None:
        """What is set aside, as soon as it is: its next try comes now and not in seconds."""

        async def moved() -> bool:
            return self.psql("UPDATE qerds.webhook_retry SET due_at = '-infinity' RETURNING 1") != ""

        await until(moved, 10)

    def bridge(self) -> FakeBridge:
        return FakeBridge(
            legal_now=lambda: datetime.now(UTC), random=os.urandom, valid_from=datetime.now(UTC) - timedelta(days=1)
        )


@pytest.fixture
def world(postgres: PostgresServer, database: DatabaseSettings) -> HookWorld:
    return HookWorld(postgres, database)


@asynccontextmanager
async def store_of(world: EventsWorld) -> AsyncIterator[PostgresEventStore]:
    database = Database(world.config.dsn("qerds_gateway"))
    yield PostgresEventStore(database)
    await database.close()


@asynccontextmanager
async def process(world: EventsWorld, bridge: FakeBridge, lines: list[str], post_seconds: float) -> AsyncIterator[None]:
    """One `webhook` process."""
    where, log = world.config.dsn("qerds_webhook"), Recorder("webhook", lines.append)
    link, draining, randomness = Link(where, LeaseLost), anyio.Event(), SystemRandomness()
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as flights:
        courier = HttpCourier(flights, SystemClock(), loopback_http=True, post_seconds=post_seconds)
        ports = webhook.Ports(PostgresWebhookFacts(link), bridge.bridge("webhook"), courier, SystemClock())
        mailbox = PostgresMailbox(where, link, "webhook", "test", randomness, log)
        tasks.start_soon(loop.run, webhook.STAGE, mailbox, ports, draining, randomness, log)
        yield
        flights.cancel_scope.cancel()
        draining.set()


@asynccontextmanager
async def running(
    world: HookWorld, bridge: FakeBridge | None = None, processes: int = 1, post_seconds: float = 5.0
) -> AsyncIterator[PostgresEventStore]:
    """Sequencer and webhook processes; fails when one of them met what it did not expect."""
    draining, lines = anyio.Event(), list[str]()
    bridge = bridge or world.bridge()
    async with store_of(world) as store, anyio.create_task_group() as tasks:
        tasks.start_soon(service.run, world.log(), draining, SystemRandomness(), recorder())
        async with process(world, bridge, lines, post_seconds):
            if processes == 2:
                async with process(world, bridge, lines, post_seconds):
                    yield store
            else:
                yield store
        draining.set()
    assert [line for line in lines if "error" in line] == []


async def add(
    store: PostgresEventStore, sender: UUID, url: str, types: tuple[str, ...] = (), secret: bytes | None = None
) -> UUID:
    hook = NewWebhook(uuid4(), sender, url, types, "v1" if secret else "v1a", secret)
    assert await store.add_webhook(hook)
    return hook.id


async def seen(store: PostgresEventStore, sender: UUID, hook: UUID) -> WebhookSeen:
    [found] = await store.webhooks(sender, hook)
    return found


async def arrives(server: Endpoint, count: int, seconds: float = 40) -> None:
    async def there() -> bool:
        return len(server.received) >= count

    await until(there, seconds)


async def becomes(holds: Callable[[WebhookSeen], bool], store: PostgresEventStore, sender: UUID, hook: UUID) -> None:
    async def it_holds() -> bool:
        return holds(await seen(store, sender, hook))

    await until(it_holds, 40)


async def test_each_event_arrives_once_in_order_and_verifies(world: HookWorld) -> None:
    """ed25519 over id.timestamp.body by the published key; nothing from before the webhook, nothing of others."""
    sender, other, bridge = world.add_sender(), world.add_sender(), world.bridge()
    letters = world.add_letters(sender, 45)
    world.move(letters, "deposited")
    await world.sequence()
    async with endpoint() as server, running(world, bridge) as store:
        hook = await add(store, sender, server.url)
        world.move(letters, "notified")
        world.move(world.add_letters(other, 3), "deposited")
        await arrives(server, 45)
        await becomes(lambda w: w.last_success_at is not None, store, sender, hook)
        assert [r.json["sequence"] for r in server.received] == list(range(46, 91))
        assert {r.json["type"] for r in server.received} == {"delivery.notified"}
        attempts = await store.attempts(hook, None, 100)
        assert {(a.outcome, a.attempt, a.status) for a in attempts} == {("delivered", 1, 204)}
    [key] = [k for k in bridge.published() if k.use == "webhook"]
    public = load_der_public_key(key.spki)
    assert isinstance(public, Ed25519PublicKey)
    for r in server.received:
        version, signature = r.headers["webhook-signature"].split(",")
        assert (version, r.headers["qerds-webhook-key"]) == ("v1a", key.key_id)
        message = signed_message(UUID(r.headers["webhook-id"]), int(r.headers["webhook-timestamp"]), r.body)
        public.verify(b64decode(signature), message)
        assert r.headers["webhook-id"] == r.json["id"]


async def test_a_filter_takes_what_it_wants_and_a_secret_signs_v1(world: HookWorld) -> None:
    """Standard Webhooks' symmetric form, over the same message."""
    import hashlib
    import hmac

    sender, secret = world.add_sender(), bytes(range(32))
    letters = world.add_letters(sender, 3)
    async with endpoint() as server, running(world) as store:
        hook = await add(store, sender, server.url, ("delivery.notified",), secret)
        world.move(letters, "deposited")
        world.move(letters, "notified")
        await arrives(server, 3)
        await becomes(lambda w: w.read_through == 6, store, sender, hook)
    assert {r.json["type"] for r in server.received} == {"delivery.notified"}
    for r in server.received:
        message = signed_message(UUID(r.headers["webhook-id"]), int(r.headers["webhook-timestamp"]), r.body)
        mac = hmac.digest(secret, message, hashlib.sha256)
        assert b64decode(r.headers["webhook-signature"].removeprefix("v1,")) == mac


async def test_an_endpoint_that_hangs_blocks_no_other(world: HookWorld) -> None:
    """While one never answers, another one of the same process gets everything, long before the deadline."""
    sender = world.add_sender()
    letters = world.add_letters(sender, 60)
    async with (
        endpoint(lambda _: Say(hang=True)) as slow,
        endpoint() as quick,
        running(world, post_seconds=30) as store,
    ):
        for _ in range(5):
            await add(store, sender, slow.url)
        await add(store, sender, quick.url)
        world.move(letters, "deposited")
        with anyio.fail_after(15):
            await arrives(quick, 60)
        assert len({r.json["id"] for r in quick.received}) == 60
        assert slow.connections == 5  # one request to each


async def test_one_event_that_is_refused_does_not_hold_up_the_others(world: HookWorld) -> None:
    """It is set aside for 5 s and comes again under the same id; the others go on meanwhile."""
    sender = world.add_sender()
    letters = world.add_letters(sender, 10)
    refused: list[Received] = []

    def poison(r: Received) -> Say:
        if r.json["sequence"] == 3 and len(refused) < 1:
            refused.append(r)
            return Say(500)
        return Say(200)

    async with endpoint(poison) as server, running(world) as store:
        hook = await add(store, sender, server.url)
        world.move(letters, "deposited")
        await becomes(lambda w: w.read_through == 10, store, sender, hook)
        assert len(server.received) == 10
        assert (
            world.psql("SELECT sequence, round(extract(epoch FROM due_at - first_at)) FROM qerds.webhook_retry")
            == "3|5"
        )
        await world.make_due()
        await arrives(server, 11)
        order = [int(str(r.json["sequence"])) for r in server.received]
        assert (order[:4], sorted(order)) == ([1, 2, 3, 4], [1, 2, 3, 3, *range(4, 11)])
        first, second = [r for r in server.received if r.json["sequence"] == 3]
        assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])

        async def logged() -> bool:
            return len(await store.attempts(hook, None, 100)) == 11

        await until(logged, 40)
        attempts = await store.attempts(hook, None, 100)
        third = [(a.attempt, a.outcome, a.status) for a in attempts if str(a.event) == server.received[2].json["id"]]
        assert third == [(2, "delivered", 200), (1, "refused", 500)]
    assert world.psql("SELECT count(*) FROM qerds.webhook_retry") == "0"


async def test_an_endpoint_that_is_down_opens_its_circuit_and_loses_nothing(world: HookWorld) -> None:
    """Three failures, then silence but for the tries that are due; when it is back everything arrives."""
    sender = world.add_sender()
    letters, down = world.add_letters(sender, 30), True
    async with endpoint(lambda _: Say(503 if down else 200)) as server, running(world) as store:
        hook = await add(store, sender, server.url)
        world.move(letters, "deposited")
        await becomes(lambda w: w.failures == 3, store, sender, hook)
        assert len(server.received) == 3
        down = False
        await world.make_due()
        await arrives(server, 3 + 30)
        await becomes(lambda w: w.failures == 0 and w.read_through == 30, store, sender, hook)
    assert {r.json["sequence"] for r in server.received[3:]} == set(range(1, 31))


async def test_410_disables_and_enabling_goes_on(world: HookWorld) -> None:
    """The sender reads webhook.disabled in its list; nothing was lost when it enables the webhook again."""
    sender = world.add_sender()
    letters, gone = world.add_letters(sender, 3), True
    async with endpoint(lambda _: Say(410 if gone else 200)) as server, running(world) as store:
        hook = await add(store, sender, server.url, ("delivery.deposited",))
        world.move(letters, "deposited")
        await becomes(lambda w: not w.enabled, store, sender, hook)
        assert (await seen(store, sender, hook)).disabled_reason == "gone"
        gone = False

        async def told() -> bool:
            return [e.subject for e in await world.events(sender) if e.type == "webhook.disabled"] == [hook]

        await until(told, 10)
        assert len(server.received) == 1
        await store.enable_webhook(sender, hook)
        await arrives(server, 4)
    assert [r.json["sequence"] for r in server.received] == [1, 1, 2, 3]


async def test_replay_sends_again_under_the_same_ids(world: HookWorld) -> None:
    """Receivers that kept the ids take nothing twice."""
    sender = world.add_sender()
    letters = world.add_letters(sender, 6)
    async with endpoint() as server, running(world) as store:
        hook = await add(store, sender, server.url)
        world.move(letters, "deposited")
        await arrives(server, 6)
        await store.replay_webhook(sender, hook, 4)
        await arrives(server, 8)
        assert [r.json["sequence"] for r in server.received] == [1, 2, 3, 4, 5, 6, 5, 6]
        assert server.received[4].headers["webhook-id"] == server.received[6].headers["webhook-id"]


async def test_a_test_is_sent_at_once_and_not_more_than_every_few_seconds(world: HookWorld) -> None:
    """Also to a webhook that is disabled: to see whether it may be enabled. It is in the log, not in the list."""
    sender = world.add_sender()
    async with endpoint() as server, running(world) as store:
        hook = await add(store, sender, server.url)
        await store.change_webhook(sender, hook, WebhookChange(is_off=True))
        assert await store.test_webhook(sender, hook)
        assert not await store.test_webhook(sender, hook)
        await arrives(server, 1)

        async def logged() -> bool:
            return [a.type for a in await store.attempts(hook, None, 10)] == ["webhook.test"]

        await until(logged, 10)
        assert server.received[0].json["type"] == "webhook.test"
        assert await world.events(sender) == []


async def test_a_webhook_that_is_deleted_under_way_leaves_nothing(world: HookWorld) -> None:
    """Its answer comes too late for a row: no error, no message, no log."""
    sender = world.add_sender()
    letters = world.add_letters(sender, 2)
    async with endpoint(lambda _: Say(hang=True)) as server, running(world, post_seconds=1.0) as store:
        hook = await add(store, sender, server.url)
        world.move(letters, "deposited")
        await arrives(server, 1)
        await store.delete_webhook(sender, hook)

        async def nothing() -> bool:
            return world.psql("SELECT count(*) FROM outbox.message WHERE stage = 'webhook'") == "0"

        await until(nothing, 15)
    assert world.psql("SELECT count(*) FROM qerds.webhook_attempt") == "0"


async def test_two_processes_speak_to_one_endpoint_one_at_a_time(world: HookWorld) -> None:
    """Whichever takes the message: never two requests at once, and each event once."""
    sender = world.add_sender()
    letters = world.add_letters(sender, 100)
    async with endpoint() as server, running(world, processes=2) as store:
        hook = await add(store, sender, server.url)
        world.move_singly(letters, "deposited")
        await arrives(server, 100)
        await becomes(lambda w: w.read_through == 100, store, sender, hook)
    assert [r.json["sequence"] for r in server.received] == list(range(1, 101))


async def test_a_bridge_that_is_away_delays_and_loses_nothing(world: HookWorld) -> None:
    """No signature, no request; when it is back all arrive."""
    sender, bridge = world.add_sender(), world.bridge()
    letters, bridge.away = world.add_letters(sender, 4), True
    async with endpoint() as server, running(world, bridge) as store:
        await add(store, sender, server.url)
        world.move(letters, "deposited")

        async def tried() -> bool:
            return world.psql("SELECT count(*) FROM outbox.timer WHERE stage = 'webhook' AND attempts > 0") == "1"

        await until(tried, 10)
        assert server.received == []
        bridge.away = False
        await arrives(server, 4)
