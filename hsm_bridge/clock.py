"""The bridge's two clocks.

Owns     reading the system's clock; the legal clock of an installation without a demo clock
Rules    UTC, milliseconds, rounded down. Tickets, nonces, identity tokens and deadlines use the system's clock;
         receipts, time-stamps, certificates and revocation lists the legal one
Elsewhere: the demo clock of an embedded installation, which PostgreSQL keeps (publication.py)
"""

import time
from datetime import UTC, datetime
from typing import Protocol

from hsm_bridge.errors import BridgeError


class ClockAway(BridgeError):
    """The legal time cannot be read now; what needs it is not done."""


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


class SystemLegalClock:
    """Outside embedded installations the legal clock is the host's synchronised clock."""

    async def legal_now(self) -> datetime:
        return now()
