"""Tell a sender's endpoint what happened, as it asked for.

Receives  push: a webhook with something to send      ping: a webhook that its sender wants to see tried
          (the subject of a message is the webhook's id)
Outside   signatures of the bridge; requests to the endpoint, at least once each: an answer that is lost is asked again
Commits   the webhook's cursor and circuit, what is set aside, a line of the delivery log for each request
Emits     push to itself, while there is more
Fails     Retry: no answer yet (the flight goes on in the background), bridge or database away. An endpoint's failure is
          no failure here: it is a fact, and the schedule of pipeline/feed/attempts.py says when it is tried again
Source    Standard Webhooks
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.actors.contract import Done, Emission, Message, Outcome, Retry, Stage, Tx, Work
from pipeline.delivery.routes import PING, PUSH
from pipeline.feed import signature
from pipeline.feed.attempts import Job, Tried, Webhook, after, idle, next_job
from pipeline.feed.facts import Fact, WebhookProgress, attempt_of, facts_of
from pipeline.feed.payload import body_bytes, trial
from pipeline.feed.ports import Courier, Flight, Post, WebhookFacts
from pipeline.ports.bridge import Bridge, wire
from pipeline.ports.outside import Clock, Ids

SETTLE_SECONDS = 0.25  # all that an endpoint that hangs can hold up the others, once a try
LOOK_SECONDS = 1.0  # until a flight that does not move is looked at again; one that moves is waited for
KEY_HEADER = "qerds-webhook-key"
FIXED_HEADERS = {"content-type": "application/json; charset=utf-8", "user-agent": "qerds-webhook"}


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    webhooks: WebhookFacts
    bridge: Bridge[Literal["webhook"]]
    courier: Courier
    clock: Clock
    ids: Ids


@dataclass(frozen=True, slots=True)
class Known:
    """A message, its webhook, and what is to be sent."""

    message: Message
    webhook: Webhook
    job: Job


@dataclass(frozen=True, slots=True)
class Result:
    """What commit writes, and whether there is more to send."""

    facts: tuple[Fact, ...] = ()
    has_more: bool = False


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[Result]]:
    """Start a flight for each webhook that has none, wait a moment, take what is over."""
    outcomes: dict[int, Outcome[Result]] = {}
    new = [m for m in batch if ports.courier.flight(m.subject) is None]
    webhooks = await ports.webhooks.webhooks([m.subject for m in new]) if new else {}
    known = [k for m in new if (k := _known(m, webhooks.get(m.subject), ports, outcomes)) is not None]
    await _start(known, ports, outcomes)
    flights = {m.subject: flight for m in batch if (flight := ports.courier.flight(m.subject)) is not None}
    await ports.courier.settle([webhook for webhook, flight in flights.items() if flight.is_moving], SETTLE_SECONDS)
    for flight in flights.values():
        flight.look()
    for m in batch:
        if m.id not in outcomes:
            outcomes[m.id] = outcome_of(m, ports.courier.flight(m.subject))
    done = [o.message.subject for o in outcomes.values() if isinstance(o, Done)]
    # Over: a push with nothing to send is done while the flight of a trial to the same endpoint is still under way.
    over = [w for w in dict.fromkeys(done) if (flown := ports.courier.flight(w)) is not None and flown.is_over]
    for webhook in over:
        ports.courier.land(webhook)
    await ports.webhooks.release(over)
    return [outcomes[m.id] for m in batch]


def _known(
    message: Message, webhook: Webhook | None, ports: Ports, outcomes: dict[int, Outcome[Result]]
) -> Known | None:
    """What there is to send; when there is nothing, that is the outcome."""
    if webhook is None:
        outcomes[message.id] = Done(message, Result())  # deleted
        return None
    if message.kind == PING:
        return Known(message, webhook, Job((trial(ports.ids.uuid7(), webhook.id, ports.clock.now()),)))
    job = next_job(webhook)
    if job is None:
        progress = idle(webhook)
        outcomes[message.id] = Done(message, Result(tuple(facts_of(webhook, progress)), progress.has_more))
        return None
    return Known(message, webhook, job)


async def _start(known: Sequence[Known], ports: Ports, outcomes: dict[int, Outcome[Result]]) -> None:
    """Sign and send what no other process is sending."""
    claimed = await ports.webhooks.claim([k.message.subject for k in known]) if known else frozenset()
    mine = [k for k in known if k.message.subject in claimed]
    posts = await _signed(mine, ports)
    for k in mine:
        flight = Flight(k.message.kind, k.webhook, k.job)
        ready = posts.get(k.message.id)
        if ready is None:
            outcomes[k.message.id] = Retry(k.message, "the bridge does not sign")
        elif ports.courier.flight(k.message.subject) is None and not ports.courier.start(flight, ready):
            outcomes[k.message.id] = Retry(k.message, "no room", LOOK_SECONDS, counted=False)
    flying = {k.message.subject for k in mine if ports.courier.flight(k.message.subject) is not None}
    await ports.webhooks.release([k.message.subject for k in mine if k.message.subject not in flying])


async def _signed(known: Sequence[Known], ports: Ports) -> Mapping[int, list[Post]]:
    """The requests of each message; without those that the bridge refused to sign."""
    timestamp = int(ports.clock.now().timestamp())
    items = [(k, wire.SignWebhook(e.id, timestamp, body_bytes(e))) for k in known for e in k.job.events]
    asked = [item for k, item in items if k.webhook.secret is None]
    answers = iter(await ports.bridge.ask(asked))
    posts: dict[int, list[Post]] = {k.message.id: [] for k in known}
    for k, item in items:
        made = _post(item, k.webhook.secret, next(answers) if k.webhook.secret is None else None)
        if made is None:
            posts.pop(k.message.id, None)
        elif k.message.id in posts:
            posts[k.message.id].append(made)
    return posts


def _post(item: wire.SignWebhook, secret: bytes | None, answer: wire.WebhookSigned | wire.Denied | None) -> Post | None:
    extra = {}
    if isinstance(answer, wire.WebhookSigned):
        signed, extra = signature.v1a(answer.signature), {KEY_HEADER: answer.key_id}
    elif secret is not None:
        signed = signature.sign_v1(secret, item.id, item.timestamp, item.body)
    else:
        return None
    return Post({**FIXED_HEADERS, **signature.headers(item.id, item.timestamp, signed), **extra}, item.body)


def outcome_of(message: Message, flight: Flight | None) -> Outcome[Result]:
    """What a flight has come to. A flight of the other kind, or of another process, is waited for."""
    if flight is None or flight.kind != message.kind or not flight.is_over:
        is_moving = flight is not None and flight.kind == message.kind and flight.is_moving
        return Retry(message, "no answer yet", 0.0 if is_moving else LOOK_SECONDS, counted=False)
    if message.kind == PING:
        tried = Tried(flight.job.events[0], 1, flight.answers[0], None)
        return Done(message, Result((attempt_of(message.subject, tried),)))
    progress = after(flight.webhook, flight.job, flight.answers)
    return Done(message, Result(tuple(facts_of(flight.webhook, progress)), progress.has_more))


async def commit(tx: Tx, done: Sequence[Done[Result]]) -> list[Emission]:
    """A crash before it sends the same events again, under the same ids."""
    told = [(d.message, d.fact) for d in done]
    facts = [fact for _, result in told for fact in result.facts]
    await tx.add(sorted(facts, key=lambda fact: not isinstance(fact, WebhookProgress)))  # that row is locked first
    return [Emission(PUSH, message.subject) for message, result in told if result.has_more]


STAGE = Stage("webhook", Work(frozenset({PUSH, PING}), perform, commit), perform_seconds=20.0)
