"""What follows from what a webhook's endpoint answered: pure.

Owns     the schedule of tries, the circuit of an endpoint, when a webhook is disabled
Rules    an event that fails is set aside and tried again, ten times over 75 h 35 min; those after it go on. After three
         failures in a row the circuit is open: nothing new is sent, and the tries of what was set aside are its probes.
         So an endpoint that is down costs ten tries an event for at most a few events, and loses none
Elsewhere: the rows of an outcome (facts.py), how they are written (pipeline/adapters/postgres/sql/webhooks.sql:
         add_webhook_progress, add_webhook_retry), waking by the same limits (wake_webhooks in sql/feed.sql)
Source   Standard Webhooks: schedule, 2xx only, redirects not followed, 410 disables, Retry-After
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.feed.payload import FeedEvent

# Seconds from one try to the next: ten tries over 75 h 35 min (and 5 s).
SCHEDULE_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
TRIES_MAX = len(SCHEDULE_SECONDS) + 1
CIRCUIT_FAILURES = 3  # in a row; sql/measures.sql has the same number (ops_webhook_lag)
SET_ASIDE_MAX = 100  # events waiting for another try; as many again wait at the cursor
EVENTS_AT_ONCE = 50  # to one endpoint in one turn
RETRY_AFTER_SECONDS_MAX = 86_400  # an endpoint may put us off for a day
GONE_STATUS = 410

GONE, EXHAUSTED = "gone", "exhausted"  # why we disabled a webhook; sql/webhooks.sql writes by_sender


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. outcome: delivered, or the failure in a word; status: of HTTP, when there was one."""

    outcome: str
    status: int | None = None
    milliseconds: int = 0
    retry_after_seconds: float | None = None

    @property
    def is_delivered(self) -> bool:
        return self.outcome == "delivered"


def answer_of_status(status: int, milliseconds: int, retry_after_seconds: float | None) -> Answer:
    """2xx is delivered. Everything else is not: a redirect may lead to anybody."""
    if 200 <= status <= 299:
        return Answer("delivered", status, milliseconds)
    outcome = "redirect" if 300 <= status <= 399 else "gone" if status == GONE_STATUS else "refused"
    return Answer(outcome, status, milliseconds, retry_after_seconds)


@dataclass(frozen=True, slots=True)
class Due:
    """An event that was set aside and whose next try has come."""

    event: FeedEvent
    tries: int
    first_at: datetime


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook with what there is to do for it. scanned_through: where reading on for `fresh` has come to."""

    id: UUID
    url: str
    signature: str
    secret: bytes | None
    enabled: bool
    generation: int
    read_through: int
    failures: int
    paused: bool
    last_success_at: datetime | None
    due: Due | None
    set_aside: int
    fresh: tuple[FeedEvent, ...]
    scanned_through: int
    has_more: bool  # beyond scanned_through


@dataclass(frozen=True, slots=True)
class Job:
    """Events to be posted to one endpoint, one after the other, until one fails."""

    events: tuple[FeedEvent, ...]
    due: Due | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """One request and its answer. next_try_seconds: None when it was delivered or is given up."""

    event: FeedEvent
    attempt: int
    answer: Answer
    next_try_seconds: float | None


@dataclass(frozen=True, slots=True)
class JobProgress:
    """What becomes of a webhook after a job."""

    tried: tuple[Tried, ...]
    settled: tuple[int, ...]  # sequences no longer set aside
    read_through: int
    failures: int
    pause_seconds: float | None
    disabled_reason: str | None
    succeeded: bool
    has_more: bool


def next_job(webhook: Webhook) -> Job | None:
    """What to send now: a try that is due before anything new; None when nothing may be sent."""
    if not webhook.enabled or webhook.paused:
        return None
    if webhook.due is not None:
        return Job((webhook.due.event,), webhook.due)
    if webhook.failures >= CIRCUIT_FAILURES or webhook.set_aside >= SET_ASIDE_MAX or not webhook.fresh:
        return None
    return Job(webhook.fresh[:EVENTS_AT_ONCE])


def idle(webhook: Webhook) -> JobProgress:
    """Nothing was sent. Events that its filter does not want are passed all the same."""
    blocked = webhook.failures >= CIRCUIT_FAILURES or webhook.set_aside >= SET_ASIDE_MAX
    is_active = webhook.enabled and not webhook.paused and not blocked and not webhook.fresh
    through = webhook.scanned_through if is_active else webhook.read_through
    return JobProgress((), (), through, webhook.failures, None, None, False, is_active and webhook.has_more)


def progress_after(webhook: Webhook, job: Job, answers: Sequence[Answer]) -> JobProgress:
    """What the answers mean; there are as many as were asked, at least one, and only the last may be a failure."""
    last = answers[-1]
    delivered = sum(1 for answer in answers if answer.is_delivered)
    failures = 0 if last.is_delivered else 1 if delivered else webhook.failures + 1
    attempt = 1 if job.due is None else job.due.tries + 1
    reason, pause, again = None, None, None
    if last.outcome == "gone":
        reason = GONE  # the event keeps its place: it is sent again when the webhook is enabled
    elif not last.is_delivered:
        again, pause = _again(attempt, last)
        reason = _exhausted(webhook, job) if again is None else None
        failures = 0 if again is None and reason is None else failures
    tried = tuple(
        Tried(event, attempt, answer, None if answer.is_delivered else again)
        for event, answer in zip(job.events, answers, strict=False)
    )
    is_settled = job.due is not None and again is None and reason is None  # enabling sends again what disabled
    settled = (job.events[0].sequence,) if is_settled else ()
    through, has_more = _through(webhook, job, len(answers) - (reason == GONE))
    goes_on = reason is None and pause is None and failures < CIRCUIT_FAILURES and has_more
    return JobProgress(tried, settled, through, failures, pause, reason, delivered > 0, goes_on)


def _again(tries: int, answer: Answer) -> tuple[float | None, float | None]:
    """Seconds to the next try, and for how long the endpoint wants to be left alone."""
    seconds = answer.retry_after_seconds
    pause = None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
    if tries >= TRIES_MAX:
        return None, pause
    return max(float(SCHEDULE_SECONDS[tries - 1]), pause or 0.0), pause


def _exhausted(webhook: Webhook, job: Job) -> str | None:
    """A tenth failure disables an endpoint that took nothing since the first; else it is this event's own fault."""
    took = webhook.last_success_at
    return EXHAUSTED if job.due is not None and (took is None or took < job.due.first_at) else None


def _through(webhook: Webhook, job: Job, passed: int) -> tuple[int, bool]:
    """The new cursor, and whether there is more behind it. A failed event is passed as well: it is set aside."""
    if job.due is not None or passed == 0:
        return webhook.read_through, True
    if passed == len(webhook.fresh):
        return webhook.scanned_through, webhook.has_more
    return job.events[passed - 1].sequence, True
