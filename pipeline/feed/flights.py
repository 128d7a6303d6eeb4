"""Start flights to endpoints, and tell what one that is over has come to. What `webhook` performs with.

Owns     what there is to send for a message, who may send it, when it is waited for, what is written about a flight
Rules    one process speaks to an endpoint: a webhook is claimed before its flight begins, and released when none began
Elsewhere: requests (posts.py), the schedule of tries (attempts.py), the flight and its courier (ports.py, and over HTTP
         pipeline/adapters/webhook_http.py)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid5

import anyio

from pipeline.actors.contract import Done, Message, Outcome, Retry
from pipeline.delivery.routes import PING
from pipeline.feed.attempts import Job, JobProgress, Tried, Webhook, idle, next_job, progress_after
from pipeline.feed.facts import Fact, attempt_of, facts_of
from pipeline.feed.payload import trial
from pipeline.feed.ports import Courier, Flight, WebhookFacts
from pipeline.feed.posts import WebhookBridge, signed_posts
from pipeline.ports.outside import Clock

RELEASE_SECONDS_MAX = 2.0  # of a database that does not answer: its session ends, and the claims with it
LOOK_SECONDS = 1.0  # until a flight that does not move, or is another's, is looked at again


class FlightPorts(Protocol):
    """What starting a flight may ask of the outside: `webhook` has it."""

    @property
    def webhooks(self) -> WebhookFacts: ...
    @property
    def bridge(self) -> WebhookBridge: ...
    @property
    def courier(self) -> Courier: ...
    @property
    def clock(self) -> Clock: ...


@dataclass(frozen=True, slots=True)
class FlightResult:
    """What commit writes, and whether there is more to send."""

    facts: tuple[Fact, ...] = ()
    has_more: bool = False


async def start(batch: Sequence[Message], ports: FlightPorts) -> dict[int, Outcome[FlightResult]]:
    """Flights to webhooks that have none. The outcomes, by the id of the message, where none begins, because there is
    nothing to send, or not now. A webhook that another process speaks to gets neither."""
    webhooks = await ports.webhooks.webhooks([m.subject for m in batch]) if batch else {}
    outcomes: dict[int, Outcome[FlightResult]] = {}
    jobs: list[tuple[Message, Flight]] = []
    for m in batch:
        webhook = webhooks.get(m.subject)
        if webhook is None:
            outcomes[m.id] = Done(m, FlightResult())  # deleted
        elif (job := _job(m, webhook)) is None:
            outcomes[m.id] = Done(m, _result(webhook, idle(webhook)))
        else:
            jobs.append((m, Flight(m.kind, webhook, job)))
    return outcomes | (await _begin(jobs, ports) if jobs else {})


def _job(message: Message, webhook: Webhook) -> Job | None:
    if message.kind == PING:
        # As often as it is sent, it is the same one: an endpoint tells it by its id.
        return Job((trial(uuid5(webhook.id, str(message.id)), webhook.id, message.enqueued_at),))
    return next_job(webhook)


async def _begin(jobs: Sequence[tuple[Message, Flight]], ports: FlightPorts) -> dict[int, Outcome[FlightResult]]:
    """Sign and send what no other process is sending."""
    claimed = await ports.webhooks.claim([m.subject for m, _ in jobs])
    claimed_jobs = [(m, flight) for m, flight in jobs if m.subject in claimed]
    try:
        return await _send(claimed_jobs, ports)
    finally:
        # Whatever ended it: claims of a session add up, and one that stays keeps all others from the endpoint.
        grounded = [m.subject for m, _ in claimed_jobs if ports.courier.flight(m.subject) is None]
        with anyio.move_on_after(RELEASE_SECONDS_MAX, shield=True):
            await ports.webhooks.release(grounded)


async def _send(jobs: Sequence[tuple[Message, Flight]], ports: FlightPorts) -> dict[int, Outcome[FlightResult]]:
    ready = await signed_posts([(flight.webhook, flight.job) for _, flight in jobs], ports.bridge, ports.clock.now())
    outcomes: dict[int, Outcome[FlightResult]] = {}
    for (m, flight), posts in zip(jobs, ready, strict=True):
        if posts is None:
            outcomes[m.id] = Retry(m, "the bridge does not sign")
        elif ports.courier.flight(m.subject) is None and not ports.courier.start(flight, posts):
            outcomes[m.id] = Retry(m, "no room", LOOK_SECONDS, counted=False)
    return outcomes


async def wait(webhooks: Sequence[UUID], ports: FlightPorts, seconds: float) -> dict[UUID, Flight]:
    """The flights to these, after a moment in which those that move may end. A flight moves that is new, or has had an
    answer since the last look: one that hangs is not waited for again until it does."""
    flights = {webhook: flight for webhook in webhooks if (flight := ports.courier.flight(webhook)) is not None}
    await ports.courier.settle([webhook for webhook, flight in flights.items() if flight.is_moving], seconds)
    for flight in flights.values():
        flight.look()
    return flights


async def land(flights: Sequence[Flight], ports: FlightPorts) -> None:
    """Forgets flights that are over, and gives their claims back."""
    for flight in flights:
        ports.courier.land(flight.webhook.id)
    await ports.webhooks.release([flight.webhook.id for flight in flights])


def result_of(flight: Flight) -> FlightResult:
    """What a flight that is over has come to. A trial moves no cursor."""
    if flight.kind == PING:
        tried = Tried(flight.job.events[0], 1, flight.answers[0], None)
        return FlightResult((attempt_of(flight.webhook.id, tried),))
    return _result(flight.webhook, progress_after(flight.webhook, flight.job, flight.answers))


def _result(webhook: Webhook, progress: JobProgress) -> FlightResult:
    return FlightResult(tuple(facts_of(webhook, progress)), progress.has_more)
