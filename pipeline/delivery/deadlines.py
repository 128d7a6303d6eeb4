"""The fifteen days, as dates in Europe/Paris.

CPCE R.53-3 I: the recipient may accept or not during fifteen days counted from the day after the notice was sent. So
for a notice on Paris date D the last day is D+15, to its end, and the window closes at D+16 00:00 Paris. This is date
arithmetic: across a change of the clocks the window is an hour longer or shorter, and that is right.

Does not decide who wins a race between acceptance and expiry: a row lock does.
"""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")
WINDOW_DAYS = 15  # CPCE R.53-3 I
QUIET_SECONDS_BEFORE_MIDNIGHT = 120  # no notice leaves so late that its answer may fall on the next Paris date
INTENT_SECONDS = 60  # a decision taken in time has this long to become a draft
EXPIRY_GRACE_SECONDS = 2 * INTENT_SECONDS  # C.5 is drafted when no intent can be alive any more
EXPIRY_AGAIN_SECONDS = 60  # of legal time until a window is looked at again that something under way keeps from closing
ACCESS_DAYS = 365  # how long an accepted content stays available


def paris_date(instant: datetime) -> date:
    """The Paris date of an instant; an evening in UTC may be tomorrow in Paris."""
    return instant.astimezone(PARIS).date()


def last_day(notice_date: date) -> date:
    """The last Paris date on which the recipient may decide."""
    return notice_date + timedelta(days=WINDOW_DAYS)


def expires_at(notice_date: date) -> datetime:
    """The instant at which the window is closed: midnight Paris after the last day."""
    return paris_midnight(last_day(notice_date) + timedelta(days=1))


def last_day_before(expires: datetime) -> date:
    """The last day of the window that is closed at this instant."""
    return paris_date(expires) - timedelta(days=1)


def expiry_due_at(expires: datetime) -> datetime:
    """The instant from which nobody's decision can be under way any more in a window that is closed at `expires`."""
    return expires + timedelta(seconds=EXPIRY_GRACE_SECONDS)


def expiry_again_at(now: datetime) -> datetime:
    """When to look again at a window that could not be closed now."""
    return now + timedelta(seconds=EXPIRY_AGAIN_SECONDS)


def access_ends_at(accepted: datetime) -> datetime:
    """The instant at which access to an accepted content ends: midnight Paris after the last day of access."""
    return paris_midnight(paris_date(accepted) + timedelta(days=ACCESS_DAYS + 1))


def too_late_to_send(instant: datetime) -> datetime | None:
    """None, or the instant from which a notice may leave again: the next Paris midnight."""
    midnight = paris_midnight(paris_date(instant) + timedelta(days=1))
    return midnight if (midnight - instant).total_seconds() <= QUIET_SECONDS_BEFORE_MIDNIGHT else None


def paris_midnight(day: date) -> datetime:
    """The beginning of a day in Paris."""
    return datetime.combine(day, time(), tzinfo=PARIS)
