"""`webhook` with an endpoint, a bridge and other processes that do as the test says: what each message comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from pipeline.actors.contract import Done, Outcome, Retry
from pipeline.delivery.routes import PING, PUSH
from pipeline.errors import Transient
from pipeline.feed.attempts import Answer, Webhook
from pipeline.feed.facts import WebhookAttempt, WebhookProgress, WebhookRetry
from pipeline.feed.flights import LOOK_SECONDS, FlightResult
from pipeline.feed.payload import FeedEvent
from pipeline.feed.ports import Flight, Post
from pipeline.feed.posts import KEY_HEADER
from pipeline.ports.bridge import wire
from pipeline.ports.mailbox import Message
from pipeline.stages import webhook

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HOOK = UUID(int=7)


def hook(**other: object) -> Webhook:
    events = tuple(FeedEvent(n, uuid4(), "delivery.deposited", NOW) for n in (1, 2))
    plain = Webhook(HOOK, "https://a.example/", "v1a", None, True, 1, 0, 0, False, None, None, 0, events, 2, False)
    return replace(plain, **other)  # type: ignore[arg-type]


def message(kind: str = PUSH, number: int = 1, about: UUID = HOOK) -> Message:
    return Message(number, 2, kind, about, None, 0, 0, 0, NOW)


@dataclass
class World:
    """All ports at once. answers: what the endpoint says, in order; when they are spent it says nothing."""

    hooks: dict[UUID, Webhook] = field(default_factory=lambda: {HOOK: hook()})
    answers: list[Answer] = field(default_factory=list)
    others: set[UUID] = field(default_factory=set)  # claimed by another process
    denied: bool = False
    failure: Exception | None = None  # of the bridge
    full: bool = False
    held: set[UUID] = field(default_factory=set)
    flights: dict[UUID, Flight] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)

    async def webhooks(self, ids: Sequence[UUID]) -> Mapping[UUID, Webhook]:
        return {i: self.hooks[i] for i in ids if i in self.hooks}

    async def claim(self, ids: Sequence[UUID]) -> frozenset[UUID]:
        mine = frozenset(ids) - self.others
        self.held |= mine
        return mine

    async def release(self, ids: Sequence[UUID]) -> None:
        assert set(ids) <= self.held
        self.held -= set(ids)

    async def ask(self, items: Sequence[wire.Item[Any, Any]]) -> Sequence[Any]:
        if self.failure is not None:
            raise self.failure
        signed = wire.WebhookSigned("webhook-1", bytes(64))
        return [wire.Denied("key_unknown") if self.denied else signed for _ in items]

    def start(self, flight: Flight, posts: Sequence[Post]) -> bool:
        if self.full:
            return False
        self.flights[flight.webhook.id] = flight
        self.posts += posts
        return True

    def flight(self, about: UUID) -> Flight | None:
        return self.flights.get(about)

    def land(self, about: UUID) -> None:
        del self.flights[about]

    async def settle(self, webhooks: Sequence[UUID], seconds: float) -> None:
        for about in webhooks:
            if about in self.flights and self.answers:
                flight = self.flights[about]
                flight.answers, flight.is_over = self.answers[: len(flight.job.events)], True

    def now(self) -> datetime:
        return NOW

    async def perform(self, *batch: Message) -> list[Outcome[FlightResult]]:
        return await webhook.perform(batch, webhook.Ports(self, self, self, self))


async def test_what_is_delivered_moves_the_cursor_and_is_logged() -> None:
    """Signed by the bridge, under the event's id; the claim is given back."""
    world = World(answers=[Answer("delivered", 200), Answer("delivered", 200)])
    [outcome] = await world.perform(message())
    assert isinstance(outcome, Done)
    progress, *attempts = outcome.fact.facts
    assert isinstance(progress, WebhookProgress)
    assert (progress.read_through, progress.succeeded, progress.under_way, outcome.fact.has_more) == (
        2,
        True,
        False,
        False,
    )
    assert [a.outcome for a in attempts if isinstance(a, WebhookAttempt)] == ["delivered"] * 2
    assert [p.headers["webhook-id"] for p in world.posts] == [str(e.id) for e in world.hooks[HOOK].fresh]
    assert {p.headers[KEY_HEADER] for p in world.posts} == {"webhook-1"}
    assert (world.held, world.flights) == (set(), {})


async def test_a_message_without_an_answer_comes_back_and_nothing_is_sent_twice() -> None:
    """It spends no attempt; the claim is kept meanwhile; the answer is taken when it is there."""
    world = World()
    for number in (1, 2):
        [outcome] = await world.perform(message(number=number))
        assert isinstance(outcome, Retry) and not outcome.counted
        assert (len(world.posts), world.held) == (2, {HOOK})
    flight = world.flights[HOOK]
    flight.answers, flight.is_over = [Answer("timeout", None, 15_000)], True
    [outcome] = await world.perform(message(number=3))
    assert isinstance(outcome, Done)
    retry = next(f for f in outcome.fact.facts if isinstance(f, WebhookRetry))
    assert (retry.sequence, retry.tries, retry.seconds) == (1, 1, 5.0)
    assert (world.held, len(world.posts)) == (set(), 2)


async def test_a_flight_that_moves_comes_back_at_once_and_one_that_hangs_later() -> None:
    """Many answers may take longer than a turn waits; an endpoint that says nothing must not be asked all the time."""
    world = World()
    [outcome] = await world.perform(message())
    assert isinstance(outcome, Retry) and outcome.after_seconds == LOOK_SECONDS
    world.flights[HOOK].answers = [Answer("delivered", 200)]
    [outcome] = await world.perform(message(number=2))
    assert isinstance(outcome, Retry) and outcome.after_seconds == 0.0
    [outcome] = await world.perform(message(number=3))
    assert isinstance(outcome, Retry) and outcome.after_seconds == LOOK_SECONDS


async def test_an_endpoint_that_another_process_speaks_to_is_left_alone() -> None:
    """The message waits for its turn."""
    world = World(others={HOOK})
    [outcome] = await world.perform(message())
    assert isinstance(outcome, Retry) and not outcome.counted
    assert world.posts == []


async def test_a_refusal_of_the_bridge_is_counted_and_others_go_on() -> None:
    """A webhook with a secret needs no bridge."""
    other = UUID(int=8)
    world = World(denied=True, answers=[Answer("delivered", 200)] * 2)
    world.hooks[other] = hook(id=other, signature="v1", secret=bytes(32))
    refused, done = await world.perform(message(), message(number=2, about=other))
    assert isinstance(refused, Retry) and refused.counted
    assert isinstance(done, Done)
    assert all(p.headers["webhook-signature"].startswith("v1,") for p in world.posts)
    assert world.held == set()


async def test_a_full_courier_is_tried_again() -> None:
    """Nothing is held meanwhile."""
    world = World(full=True)
    [outcome] = await world.perform(message())
    assert isinstance(outcome, Retry) and not outcome.counted
    assert world.held == set()


async def test_a_webhook_that_is_gone_or_idle_ends_its_message() -> None:
    """No row for what is deleted; under_way ends for what has nothing to send."""
    world = World(hooks={})
    [gone] = await world.perform(message())
    assert isinstance(gone, Done) and gone.fact == FlightResult()
    world = World(hooks={HOOK: hook(enabled=False)})
    [off] = await world.perform(message())
    assert isinstance(off, Done)
    assert [f.under_way for f in off.fact.facts if isinstance(f, WebhookProgress)] == [False]


async def test_a_test_under_way_is_not_forgotten_because_there_is_nothing_to_push() -> None:
    """A disabled webhook is tried: its push ends at once, and the answer to the trial is waited for and logged."""
    world = World(hooks={HOOK: hook(enabled=False)})
    ping, push = await world.perform(message(PING), message(PUSH, 2))
    assert isinstance(ping, Retry) and isinstance(push, Done)
    assert (world.held, list(world.flights)) == ({HOOK}, [HOOK])
    flight = world.flights[HOOK]
    flight.answers, flight.is_over = [Answer("delivered", 200)], True
    [ping] = await world.perform(message(PING))
    assert isinstance(ping, Done) and [type(f) for f in ping.fact.facts] == [WebhookAttempt]
    assert (world.held, len(world.posts)) == (set(), 1)


async def test_a_test_and_a_push_to_one_endpoint_do_not_meet() -> None:
    """The second one waits until the first is over; a test moves no cursor."""
    world = World(answers=[Answer("refused", 500)])
    ping, push = await world.perform(message(PING), message(PUSH, 2))
    assert isinstance(ping, Done) and [type(f) for f in ping.fact.facts] == [WebhookAttempt]
    assert isinstance(push, Retry) and not push.counted
    assert (len(world.posts), world.held) == (1, set())


@pytest.mark.parametrize("failure", [Transient("the bridge is away"), TimeoutError()], ids=["away", "late"])
async def test_a_claim_is_given_back_whatever_keeps_its_flight_from_beginning(failure: Exception) -> None:
    """Claims add up: one too many would keep every other process from the endpoint for as long as this one lives."""
    world = World(failure=failure)
    with pytest.raises(type(failure)):
        await world.perform(message())
    assert (world.held, world.flights) == (set(), {})


async def test_a_trial_is_the_same_one_as_often_as_it_is_sent() -> None:
    """No commit came, and the message came back: the same id, the same body."""
    posts = []
    for _ in range(2):
        world = World(answers=[Answer("delivered", 200)])
        await world.perform(message(PING))
        posts.append((world.posts[0].headers["webhook-id"], world.posts[0].body))
    assert posts[0] == posts[1]
    other = World(answers=[Answer("delivered", 200)])
    await other.perform(message(PING, 2))
    assert other.posts[0].headers["webhook-id"] != posts[0][0]


async def test_two_trials_at_once_are_two() -> None:
    """One flight has one result: the second message waits, and has a request and a line of its own."""
    world = World(answers=[Answer("delivered", 200)])
    first, second = await world.perform(message(PING), message(PING, 2))
    assert isinstance(first, Done) and isinstance(second, Retry) and not second.counted
    [again] = await world.perform(second.message)
    assert isinstance(again, Done)
    assert len({post.headers["webhook-id"] for post in world.posts}) == 2
    assert (world.held, world.flights) == (set(), {})
