"""What the stage `webhook` writes; each is one statement of sql/webhooks.sql (add_...)."""

from dataclasses import dataclass
from uuid import UUID

from pipeline.feed.attempts import JobProgress, Tried, Webhook


@dataclass(frozen=True, slots=True)
class WebhookProgress:
    """The webhook's own row. What its sender changed meanwhile (another generation) keeps all but under_way."""

    webhook: UUID
    generation: int
    under_way: bool
    read_through: int
    failures: int
    pause_seconds: float | None
    disabled_reason: str | None
    succeeded: bool


@dataclass(frozen=True, slots=True)
class WebhookAttempt:
    """One line of the delivery log."""

    webhook: UUID
    event: UUID
    type: str
    attempt: int
    outcome: str
    status: int | None
    milliseconds: int
    next_try_seconds: float | None


@dataclass(frozen=True, slots=True)
class WebhookRetry:
    """Set aside, or set aside again."""

    webhook: UUID
    generation: int
    sequence: int
    tries: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WebhookSettled:
    """No longer set aside: delivered or given up."""

    webhook: UUID
    sequence: int


Fact = WebhookProgress | WebhookAttempt | WebhookRetry | WebhookSettled


def facts_of(webhook: Webhook, progress: JobProgress) -> list[Fact]:
    """A job's outcome as rows; the webhook's own row first: it is locked before the rest."""
    facts: list[Fact] = [
        WebhookProgress(
            webhook.id,
            webhook.generation,
            progress.has_more,
            progress.read_through,
            progress.failures,
            progress.pause_seconds,
            progress.disabled_reason,
            progress.succeeded,
        )
    ]
    facts += [attempt_of(webhook.id, t) for t in progress.tried]
    facts += [
        WebhookRetry(webhook.id, webhook.generation, t.event.sequence, t.attempt, t.next_try_seconds)
        for t in progress.tried
        if t.next_try_seconds is not None
    ]
    return facts + [WebhookSettled(webhook.id, sequence) for sequence in progress.settled]


def attempt_of(webhook: UUID, t: Tried) -> WebhookAttempt:
    """Its line in the log."""
    a = t.answer
    return WebhookAttempt(
        webhook, t.event.id, t.event.type, t.attempt, a.outcome, a.status, a.milliseconds, t.next_try_seconds
    )
