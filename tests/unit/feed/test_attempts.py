"""What an endpoint's answer leads to: the schedule, the circuit, disabling; all pure."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from pipeline.adapters.postgres.queries import queries
from pipeline.feed.attempts import (
    CIRCUIT_FAILURES,
    EVENTS_AT_ONCE,
    EXHAUSTED,
    GONE,
    SCHEDULE_SECONDS,
    SET_ASIDE_MAX,
    TRIES_MAX,
    Answer,
    Due,
    Job,
    Webhook,
    answer_of_status,
    idle,
    next_job,
    progress_after,
)
from pipeline.feed.payload import FeedEvent

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DELIVERED = Answer("delivered", 200)
REFUSED = Answer("refused", 500)


def event(sequence: int) -> FeedEvent:
    return FeedEvent(sequence, uuid4(), "delivery.deposited", NOW)


def webhook(*fresh: int, **other: object) -> Webhook:
    """Idle, closed circuit, with these events to send."""
    plain = Webhook(
        id=UUID(int=1),
        url="https://sender.example/hook",
        signature="v1a",
        secret=None,
        enabled=True,
        generation=1,
        read_through=10,
        failures=0,
        paused=False,
        last_success_at=None,
        due=None,
        set_aside=0,
        fresh=tuple(event(n) for n in fresh),
        scanned_through=fresh[-1] if fresh else 10,
        has_more=False,
    )
    return replace(plain, **other)  # type: ignore[arg-type]


def due(sequence: int, tries: int) -> Due:
    return Due(event(sequence), tries, NOW - timedelta(days=3))


def test_the_schedule_is_ten_tries_over_75_hours_and_35_minutes() -> None:
    """Standard Webhooks."""
    assert TRIES_MAX == 10
    assert timedelta(seconds=sum(SCHEDULE_SECONDS)) == timedelta(hours=75, minutes=35, seconds=5)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (199, "refused"),
        (301, "redirect"),
        (307, "redirect"),
        (400, "refused"),
        (410, "gone"),
        (429, "refused"),
        (500, "refused"),
    ],
)
def test_only_2xx_is_delivered(status: int, outcome: str) -> None:
    """A redirect is a failure, not an address."""
    assert answer_of_status(status, 5, None).outcome == outcome


def test_what_was_delivered_moves_the_cursor() -> None:
    """All of them: through everything that was looked at. Some: through the last of them."""
    hook = webhook(11, 12, 15, scanned_through=20, has_more=True)
    job = next_job(hook)
    assert job is not None
    whole = progress_after(hook, job, [DELIVERED] * 3)
    assert (whole.read_through, whole.has_more, whole.failures, whole.succeeded) == (20, True, 0, True)
    some = progress_after(hook, job, [DELIVERED])
    assert (some.read_through, some.has_more) == (11, True)


def test_a_failed_event_is_set_aside_and_the_next_ones_go_on() -> None:
    """It is passed by the cursor and comes again in 5 s."""
    hook = webhook(11, 12, 13)
    progress = progress_after(hook, Job(hook.fresh), [DELIVERED, REFUSED])
    assert progress.read_through == 12
    assert [t.next_try_seconds for t in progress.tried] == [None, 5.0]
    assert (progress.failures, progress.has_more, progress.settled) == (1, True, ())


def test_three_failures_in_a_row_open_the_circuit() -> None:
    """Nothing new is sent then; what is due is the probe, and one success closes it."""
    hook = webhook(11, 12, failures=CIRCUIT_FAILURES - 1)
    progress = progress_after(hook, Job(hook.fresh[:1]), [REFUSED])
    assert (progress.failures, progress.has_more) == (CIRCUIT_FAILURES, False)
    opened = replace(hook, failures=CIRCUIT_FAILURES)
    assert next_job(opened) is None
    assert idle(opened).read_through == opened.read_through
    probing = replace(opened, due=due(9, 1))
    job = next_job(probing)
    assert job is not None and job.due is not None
    closed = progress_after(probing, job, [DELIVERED])
    assert (closed.failures, closed.settled, closed.has_more) == (0, (9,), True)
    assert closed.read_through == probing.read_through


@pytest.mark.parametrize("tries", range(1, TRIES_MAX - 1))
def test_each_try_waits_as_the_schedule_says(tries: int) -> None:
    """The second waits 5 s from the first, and so on."""
    hook = webhook(due=due(9, tries))
    job = next_job(hook)
    assert job is not None
    progress = progress_after(hook, job, [REFUSED])
    assert progress.tried[0].attempt == tries + 1
    assert progress.tried[0].next_try_seconds == SCHEDULE_SECONDS[tries]
    assert progress.settled == ()


def test_the_tenth_failure_disables_an_endpoint_that_took_nothing_meanwhile() -> None:
    """The webhook is disabled, and the event stays set aside: enabling sends it again, and a success settles it."""
    hook = webhook(due=due(9, 9), failures=7)
    progress = progress_after(hook, Job((hook.due.event,), hook.due), [REFUSED])  # type: ignore[union-attr]
    assert (progress.disabled_reason, progress.settled, progress.has_more) == (EXHAUSTED, (), False)
    assert progress.tried[0].next_try_seconds is None
    assert progress_after(hook, Job((hook.due.event,), hook.due), [DELIVERED]).settled == (9,)  # type: ignore[union-attr]


def test_the_tenth_failure_of_one_event_harms_no_endpoint_that_takes_others() -> None:
    """The event is at fault, not the endpoint: it is given up, and the circuit closes, as nothing is left to probe."""
    hook = webhook(due=due(9, 9), failures=4, last_success_at=NOW)
    progress = progress_after(hook, Job((hook.due.event,), hook.due), [REFUSED])  # type: ignore[union-attr]
    assert (progress.disabled_reason, progress.settled, progress.failures) == (None, (9,), 0)


def test_410_disables_and_loses_nothing() -> None:
    """A new event stays before the cursor, one that was set aside stays set aside: enabling sends them again."""
    hook = webhook(11, 12)
    first = progress_after(hook, Job(hook.fresh), [DELIVERED, Answer("gone", 410)])
    assert (first.disabled_reason, first.read_through, first.has_more) == (GONE, 11, False)
    assert progress_after(hook, Job(hook.fresh), [Answer("gone", 410)]).read_through == 10
    again = webhook(due=due(9, 2))
    second = progress_after(again, Job((again.due.event,), again.due), [Answer("gone", 410)])  # type: ignore[union-attr]
    assert (second.disabled_reason, second.settled) == (GONE, ())


@pytest.mark.parametrize(("asked", "pause", "waits"), [(2.0, 2.0, 5.0), (600.0, 600.0, 600.0), (1e7, 86_400, 86_400)])
def test_retry_after_is_obeyed_within_a_day(asked: float, pause: float, waits: float) -> None:
    """It pauses the whole endpoint, never shortens the schedule, and cannot park us for a year."""
    hook = webhook(11, 12)
    progress = progress_after(hook, Job(hook.fresh), [Answer("refused", 429, 5, asked)])
    assert (progress.pause_seconds, progress.tried[0].next_try_seconds) == (pause, waits)
    assert progress.has_more is False
    assert next_job(replace(hook, paused=True)) is None


def test_nothing_is_sent_while_disabled_or_while_too_much_is_set_aside() -> None:
    """The events wait at the cursor; nothing is lost and nothing grows."""
    assert next_job(webhook(11, enabled=False)) is None
    assert next_job(webhook(11, set_aside=SET_ASIDE_MAX)) is None
    assert next_job(webhook(11, set_aside=SET_ASIDE_MAX, due=due(9, 1))) is not None


def test_events_that_are_not_wanted_are_passed() -> None:
    """A filter that nothing meets moves the cursor, page by page."""
    progress = idle(webhook(scanned_through=1010, has_more=True))
    assert (progress.read_through, progress.has_more) == (1010, True)


def test_one_turn_sends_a_bounded_number() -> None:
    """One busy endpoint holds its flight for a while only."""
    job = next_job(webhook(*range(11, 111)))
    assert job is not None and len(job.events) == EVENTS_AT_ONCE


def test_a_statement_that_knows_the_circuit_has_its_number() -> None:
    """Where SQL asks whether an endpoint is only probed, it asks for as many failures as the code does."""
    numbers = {name: re.findall(r"\bfailures\s*(?:<|>=)\s*(\d+)", query) for name, query in queries().items()}
    assert {name: found for name, found in numbers.items() if found} == {"ops_webhook_lag": [str(CIRCUIT_FAILURES)]}
