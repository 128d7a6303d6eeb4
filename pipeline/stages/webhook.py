"""Tell a sender's endpoint what happened, as it asked for.

A *flight* is one webhook's requests under way. The *courier* of this process keeps it over several performs; a message
only looks at it. A *claim* keeps all other processes from the same endpoint meanwhile; an open *circuit* sends nothing
new to an endpoint that fails.

Receives  push: a webhook with something to send      ping: a webhook that its sender wants to see tried
          (the subject of a message is the webhook's id)
Outside   signatures of the bridge; requests to the endpoint, at least once each: an answer that is lost is asked again
Commits   the webhook's cursor and circuit, what is set aside, a line of the delivery log for each request; of a ping
          the line alone
Emits     push to itself, while there is more
Fails     Retry: no answer yet (the flight goes on) or no room for one, never counted, so that no endpoint makes a dead
          letter; the bridge does not sign; bridge or database away. An endpoint's failure is no failure here: it is a
          fact, and the schedule of pipeline/feed/attempts.py says when it is tried again
Source    Standard Webhooks
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.actors.contract import Done, Emission, Message, Outcome, Retry, Stage, Tx, Work
from pipeline.delivery.routes import PING, PUSH
from pipeline.feed.facts import WebhookProgress
from pipeline.feed.flights import LOOK_SECONDS, FlightResult, result_of, start
from pipeline.feed.ports import Courier, Flight, WebhookFacts
from pipeline.feed.posts import WebhookBridge
from pipeline.ports.outside import Clock, Ids

SETTLE_SECONDS = 0.25  # all that an endpoint that hangs can hold up the others, once a try


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    webhooks: WebhookFacts
    bridge: WebhookBridge
    courier: Courier
    clock: Clock
    ids: Ids


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[FlightResult]]:
    """Start a flight for each webhook that has none, wait a moment, take what is over.

    What is over is landed, and its claim released, before the commit: that has the transaction only. Until the commit
    the cursor is the old one, so whoever has another message about this webhook meanwhile, or this one again because
    no commit came, sends the same events once more, under the same ids.
    """
    outcomes = await start([m for m in batch if ports.courier.flight(m.subject) is None], ports)
    flights = {m.subject: flight for m in batch if (flight := ports.courier.flight(m.subject)) is not None}
    await ports.courier.settle([webhook for webhook, flight in flights.items() if flight.is_moving], SETTLE_SECONDS)
    for flight in flights.values():
        flight.look()
    judged = {m.id: judge(m, flights.get(m.subject)) for m in batch if m.id not in outcomes}
    over = list(dict.fromkeys(o.message.subject for o in judged.values() if isinstance(o, Done)))
    for webhook in over:
        ports.courier.land(webhook)
    await ports.webhooks.release(over)
    outcomes |= judged
    return [outcomes[m.id] for m in batch]


def judge(message: Message, flight: Flight | None) -> Outcome[FlightResult]:
    """What a flight has come to. A flight of the other kind, or of another process, is waited for."""
    if flight is None or flight.kind != message.kind or not flight.is_over:
        is_moving = flight is not None and flight.kind == message.kind and flight.is_moving
        return Retry(message, "no answer yet", 0.0 if is_moving else LOOK_SECONDS, counted=False)
    return Done(message, result_of(flight))


async def commit(tx: Tx, done: Sequence[Done[FlightResult]]) -> list[Emission]:
    """A crash before it sends the same events again, under the same ids.

    Lock order: a webhook's own row, then what belongs to it; as where its sender changes it (replay_webhook).
    """
    facts = [fact for d in done for fact in d.fact.facts]
    await tx.add(sorted(facts, key=lambda fact: not isinstance(fact, WebhookProgress)))  # that row is locked first
    return [Emission(PUSH, d.message.subject) for d in done if d.fact.has_more]


STAGE = Stage("webhook", Work(frozenset({PUSH, PING}), perform, commit), perform_seconds=20.0)
