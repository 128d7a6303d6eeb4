"""Tell a sender's endpoint what happened, as it asked for.

A *flight* is a webhook's requests under way, one after the other; it outlives a perform, because the *courier* of this
process posts in the background. A *claim* keeps all other processes from the same endpoint meanwhile: an advisory lock
of this session, which ends with it. An open *circuit* sends nothing new to an endpoint that fails.

Receives  push: a webhook with something to send      ping: a webhook that its sender wants to see tried
          (the subject of a message is the webhook's id)
Outside   signatures of the bridge; requests to the endpoint, at least once each: an answer that is lost is asked again
Commits   the webhook's cursor and circuit, events that wait for their next try, a line of the delivery log for each
          request; of a ping the line alone; of a webhook with nothing to send, that it is idle
Emits     push to itself, while there is more
Fails     Retry, not counted, so that no endpoint makes a dead letter: no answer yet (the flight goes on); the endpoint
          is spoken to by another process, or for the other kind; the courier has no room for another flight
          Retry, counted: the bridge does not sign; bridge or database away
          An endpoint's failure is no failure here: it is a fact, and the schedule of pipeline/feed/attempts.py says
          when it is tried again
Source    Standard Webhooks
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.actors.contract import Done, Emission, Message, Outcome, Retry, Stage, Tx, Work
from pipeline.delivery.routes import PING, PUSH
from pipeline.feed.facts import WebhookProgress
from pipeline.feed.flights import LOOK_SECONDS, FlightResult, land, result_of, start, wait
from pipeline.feed.ports import Courier, Flight, WebhookFacts
from pipeline.feed.posts import WebhookBridge
from pipeline.ports.outside import Clock

SETTLE_SECONDS = 0.25  # the longest that one perform waits, however many endpoints hang
PERFORM_SECONDS = 20.0  # reads, one call of the bridge, one wait: a flight takes longer, and goes on


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    webhooks: WebhookFacts
    bridge: WebhookBridge
    courier: Courier
    clock: Clock


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[FlightResult]]:
    """Start a flight for each webhook that has none, wait a moment for those that move, take what is over.

    `start` answers the messages that get no flight: deleted, nothing to send, not signed, no room. It leaves out those
    whose flight began and those whose endpoint another process has claimed; these, and flights of before, are judged.

    What is over is forgotten and its claim given back before the commit, which has its transaction and nothing else.
    Before it is committed the cursor is the old one: whoever gets another message about this webhook meanwhile, or
    this one again, sends the same once more, under the same ids.
    """
    outcomes = await start([m for m in batch if ports.courier.flight(m.subject) is None], ports)
    flights = await wait([m.subject for m in batch], ports, SETTLE_SECONDS)
    over: list[Flight] = []
    for m in batch:
        if m.id not in outcomes:  # a flight of this process, or another's claim
            outcomes[m.id] = outcome = judge(m, flights.get(m.subject))
            if isinstance(outcome, Done):
                over.append(flights.pop(m.subject))  # one result of one flight: a second message starts anew
    await land(over, ports)
    return [outcomes[m.id] for m in batch]


def judge(message: Message, flight: Flight | None) -> Outcome[FlightResult]:
    """What a message's flight has come to; there is none for it while another process, or the other kind of message,
    speaks to the endpoint."""
    if flight is None or flight.kind != message.kind:
        return Retry(message, "the endpoint is spoken to", LOOK_SECONDS, counted=False)
    if not flight.is_over:
        return Retry(message, "no answer yet", 0.0 if flight.is_moving else LOOK_SECONDS, counted=False)
    return Done(message, result_of(flight))


async def commit(tx: Tx, done: Sequence[Done[FlightResult]]) -> list[Emission]:
    """After a crash before this is committed the same requests are sent again, under the same ids.

    Lock order: a webhook's own row, then what belongs to it; as where its sender changes it (replay_webhook in
    sql/webhooks.sql). Writing progress locks that row, so it is sorted first: a ping has a line and no progress, and
    in front of the batch its line would be written before any webhook's row is locked.
    """
    facts = [fact for d in done for fact in d.fact.facts]
    await tx.add(sorted(facts, key=lambda fact: not isinstance(fact, WebhookProgress)))  # that row is locked first
    return [Emission(PUSH, d.message.subject) for d in done if d.fact.has_more]


STAGE = Stage("webhook", Work(frozenset({PUSH, PING}), perform, commit), perform_seconds=PERFORM_SECONDS)
