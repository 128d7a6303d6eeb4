"""Instants as text: the one way in which evidences, packages, the API, webhooks and pages write them.

Owns     RFC 3339 in UTC, with milliseconds or in whole seconds
Rules    rounded down, so that nothing is said to be later than it was; an instant without a zone is refused
Elsewhere: dates in Paris (pipeline/delivery/deadlines.py), reading an instant (each reader refuses in its own way), the
         sender's program (pipeline/client), which shares nothing with the service
"""

from __future__ import annotations

from datetime import UTC, datetime


def time_text(moment: datetime) -> str:
    """With milliseconds. Raises ValueError for an instant without a zone."""
    utc = _utc(moment)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def optional_time_text(moment: datetime | None) -> str | None:
    """As `time_text`; None for what has not happened."""
    return None if moment is None else time_text(moment)


def seconds_text(moment: datetime) -> str:
    """Whole seconds. Raises ValueError for an instant without a zone."""
    return f"{_utc(moment):%Y-%m-%dT%H:%M:%SZ}"


def _utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("time without a time zone")
    return moment.astimezone(UTC)
