"""The bridge's two clocks, and whether they agree with the database's.

Owns     reading the system's clock; the legal clock of an installation without a demo clock; the comparison of this
         host's clock with the database's, from which all events have their times
Rules    UTC, milliseconds, rounded down. Tickets, nonces, identity tokens and deadlines use the system's clock;
         receipts, time-stamps, certificates and revocation lists the legal one. Two clocks that are more than a second
         apart are not both right: then nothing is done that states a legal time, whichever of them is wrong
Elsewhere: the demo clock of an embedded installation, which PostgreSQL keeps (publication.py)
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from hsm_bridge.errors import BridgeError

APART_SECONDS_MAX = 1.0  # EN 319 421 clause 7.7.2: as far as a time-stamp may be from UTC
COMPARED_SECONDS_MAX = 60.0  # longer than a failover of the database, while which nothing is asked


class ClockAway(BridgeError):
    """The legal time cannot be read now, or not be believed; what needs it is not done."""


class LegalClock(Protocol):
    """The time that has legal effect."""

    async def legal_now(self) -> datetime:
        """UTC, milliseconds, rounded down. Raises ClockAway."""


def now() -> datetime:
    """The system's clock."""
    return to_milliseconds(datetime.now(UTC))


def monotonic_seconds() -> float:
    """For deadlines inside this process."""
    return time.monotonic()


def to_milliseconds(moment: datetime) -> datetime:
    """Rounded down, so that a stated time is never later than the fact."""
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The database's clock, read between two readings of ours: by how much it is ahead, at least and at most."""

    before: datetime
    database: datetime
    after: datetime

    @property
    def offset_seconds(self) -> float:
        """The best guess. Positive: the database's clock is ahead of ours."""
        return sum(self._bounds(0.0)) / 2

    def apart_seconds(self, stepped_seconds: float = 0.0) -> float:
        """How far they are apart for certain: a slow answer makes two good clocks look no worse. stepped_seconds: by
        how much ours was set forward since."""
        least, most = self._bounds(stepped_seconds)
        return max(least, -most, 0.0)

    def _bounds(self, stepped_seconds: float) -> tuple[float, float]:
        least, most = (self.database - self.after).total_seconds(), (self.database - self.before).total_seconds()
        return least - stepped_seconds, most - stepped_seconds


class ClockComparison:
    """The last reading, and whether this host's clock may still be believed by it."""

    def __init__(
        self, now: Callable[[], datetime] = now, monotonic_seconds: Callable[[], float] = monotonic_seconds
    ) -> None:
        self._now = now
        self._monotonic_seconds = monotonic_seconds
        self._reading: ClockReading | None = None
        self._read_at = 0.0

    def keep(self, reading: ClockReading) -> None:
        """A new one."""
        self._reading, self._read_at = reading, self._monotonic_seconds()

    def check(self) -> None:
        """Raises ClockAway when the clocks are apart, this one was set since, or nobody has compared them lately."""
        age = self._monotonic_seconds() - self._read_at
        if self._reading is None or age > COMPARED_SECONDS_MAX:
            raise ClockAway("this clock was not compared with the database's")
        stepped = (self._now() - self._reading.after).total_seconds() - age
        if self._reading.apart_seconds(stepped) > APART_SECONDS_MAX:
            raise ClockAway("this clock and the database's are apart")


class SystemLegalClock:
    """Outside embedded installations the legal clock is the host's synchronised clock, while it is the database's."""

    def __init__(self, comparison: ClockComparison) -> None:
        self._comparison = comparison

    async def legal_now(self) -> datetime:
        self._comparison.check()
        return now()
