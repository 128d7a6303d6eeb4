"""The fifteen days and the midnights of Paris."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.deadlines import (
    INTENT_SECONDS,
    PARIS,
    QUIET_SECONDS_BEFORE_MIDNIGHT,
    access_ends_at,
    expires_at,
    expiry_due_at,
    last_day,
    last_day_before,
    paris_date,
    too_late_to_send,
)

BEGAN = datetime(2020, 1, 1, tzinfo=UTC)
DAYS = st.dates(date(2020, 1, 1), date(2090, 1, 1))
INSTANTS = st.integers(0, 70 * 366 * 86400 * 1000).map(lambda ms: BEGAN + timedelta(milliseconds=ms))


@pytest.mark.parametrize(
    ("notice", "closes"),
    [
        (date(2026, 3, 2), datetime(2026, 3, 17, 23, 0, tzinfo=UTC)),  # winter: UTC+1
        (date(2026, 6, 1), datetime(2026, 6, 16, 22, 0, tzinfo=UTC)),  # summer: UTC+2
        (date(2026, 3, 20), datetime(2026, 4, 4, 22, 0, tzinfo=UTC)),  # over 29 March: an hour shorter
        (date(2026, 10, 20), datetime(2026, 11, 4, 23, 0, tzinfo=UTC)),  # over 25 October: an hour longer
        (date(2026, 3, 13), datetime(2026, 3, 28, 23, 0, tzinfo=UTC)),  # ends on the night of the change itself
        (date(2026, 12, 20), datetime(2027, 1, 4, 23, 0, tzinfo=UTC)),
        (date(2028, 2, 20), datetime(2028, 3, 6, 23, 0, tzinfo=UTC)),  # leap year
    ],
)
def test_the_window_closes_at_midnight_after_the_fifteenth_day(notice: date, closes: datetime) -> None:
    """CPCE R.53-3 I: fifteen days from the day after the notice, to the end of the last one, in Paris."""
    assert expires_at(notice) == closes


@given(DAYS)
def test_the_last_day_ends_when_the_window_closes(day: date) -> None:
    """The day printed is the last one inside the window, whatever the season."""
    closes = expires_at(day)
    assert paris_date(closes - timedelta(milliseconds=1)) == last_day(day)
    assert paris_date(closes) == last_day(day) + timedelta(days=1)
    assert (closes.hour, closes.minute) == (0, 0)
    assert last_day_before(closes) == last_day_before(closes.astimezone(UTC)) == last_day(day)


@given(INSTANTS)
def test_the_date_is_that_of_paris(instant: datetime) -> None:
    """An evening in UTC may be tomorrow in Paris; the date never depends on the server's zone."""
    assert paris_date(instant) == paris_date(instant.astimezone(PARIS))
    assert instant.date() <= paris_date(instant) <= instant.date() + timedelta(days=1)


def test_an_evening_in_utc_is_tomorrow_in_paris() -> None:
    """23:30 UTC in winter is half past midnight in Paris."""
    assert paris_date(datetime(2026, 1, 10, 23, 30, tzinfo=UTC)) == date(2026, 1, 11)
    assert paris_date(datetime(2026, 7, 10, 22, 30, tzinfo=UTC)) == date(2026, 7, 11)


@given(INSTANTS)
def test_nothing_is_sent_in_the_last_two_minutes_of_a_day(instant: datetime) -> None:
    """The wait ends at the next Paris midnight, and is asked for in the last 120 s only."""
    wait_until = too_late_to_send(instant)
    local = instant.astimezone(PARIS)
    is_late = (local.hour, local.minute) >= (23, 58)
    assert (wait_until is not None) == is_late
    if wait_until is not None:
        assert timedelta(0) < wait_until - instant <= timedelta(seconds=QUIET_SECONDS_BEFORE_MIDNIGHT)
        assert paris_date(wait_until) == paris_date(instant) + timedelta(days=1)


@pytest.mark.parametrize("day", [datetime(2026, 3, 2, tzinfo=PARIS), datetime(2026, 3, 29, tzinfo=PARIS)], ids=str)
@pytest.mark.parametrize(
    ("seconds", "is_late"),
    [(-7200, False), (-121, False), (-120, True), (-60, True), (-0.001, True), (0, False), (1, False)],
)
def test_the_last_two_minutes_end_at_midnight(day: datetime, seconds: float, is_late: bool) -> None:
    """Exactly 120 seconds before it; at midnight a new day begins. Also of the day on which the clocks change."""
    instant = day.astimezone(UTC) + timedelta(seconds=seconds)
    assert too_late_to_send(instant) == (day if is_late else None)


def test_access_lasts_whole_days() -> None:
    """365 days of access, to the end of the last one in Paris."""
    accepted = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)  # already 3 March in Paris
    assert access_ends_at(accepted) == datetime(2027, 3, 4, tzinfo=PARIS)


def test_no_intent_outlives_the_grace() -> None:
    """A decision taken at the last moment has become a draft, or died, before C.5 may be drafted."""
    closes = expires_at(date(2026, 3, 2))
    assert expiry_due_at(closes) > closes + timedelta(seconds=INTENT_SECONDS)
