"""The real clock. Legal time comes from the database (qerds.legal_now()), never from here."""

from datetime import UTC, datetime


class SystemClock:
    """Now, as the machine tells it; leases, sessions, OAuth."""

    def now(self) -> datetime:
        """UTC."""
        return datetime.now(UTC)
