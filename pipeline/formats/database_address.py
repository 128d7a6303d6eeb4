"""Where PostgreSQL is and as whom a process speaks to it: one type for the pipeline's adapters and the bridge."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where and as whom. The password stays out of every repr."""

    socket_dir: Path
    port: int
    database: str
    role: str
    read_password: Callable[[], str]

    def arguments(self) -> dict[str, object]:
        """What the driver's connect takes. Raises ConfigInvalid when the password cannot be read."""
        return {
            "host": str(self.socket_dir),
            "port": self.port,
            "user": self.role,
            "password": self.read_password(),
            "database": self.database,
            "server_settings": {"application_name": self.role},
        }
