"""Where PostgreSQL is and as whom a process speaks to it: one type for the pipeline's adapters and the bridge.

Owns     reading "name:port", and what a connection to one host demands: TLS 1.2 or later, a certificate of a trusted
         authority that carries the host's name, and a server that takes writes
Elsewhere: trying one host after the other (process/first_host.py), which combinations make sense (configuration.py)
"""

import ipaddress
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.formats.checked_table import ConfigInvalid

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
PORT_MAX = 65_535

DatabaseTls = Literal["verify-full", "none"]


@dataclass(frozen=True, slots=True)
class Host:
    """One server: a name or an address, or the folder of its socket, and a port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def read_hosts(texts: Sequence[str]) -> tuple[Host, ...]:
    """`database.hosts`, each as in "db1.example:5432" or "[::1]:5432". Raises ConfigInvalid, which quotes none of them:
    an address with a password in it may have been put there."""
    return tuple(_read_host(text, f"database.hosts[{at}]") for at, text in enumerate(texts))


def _read_host(text: str, key: str) -> Host:
    parts = HOST.fullmatch(text)
    if parts is None or not 1 <= int(parts[3]) <= PORT_MAX:
        raise ConfigInvalid(f'{key} must be a name and a port, as in "db1:5432" or "[::1]:5432"')
    if parts[1] is not None:
        try:
            ipaddress.IPv6Address(parts[1])
        except ipaddress.AddressValueError as error:
            raise ConfigInvalid(f"{key} has brackets around what is no IPv6 address") from error
    return Host(parts[1] or parts[2], int(parts[3]))


@dataclass(slots=True)
class Dsn:
    """Where and as whom. The password stays out of every repr. One thing changes: which host is tried first."""

    hosts: tuple[Host, ...]
    database: str
    role: str
    read_password: Callable[[], str]
    tls: DatabaseTls = "none"
    ca_file: Path | None = None

    def arguments(self, host: Host) -> dict[str, object]:
        """What the driver's connect takes. Reads password and authorities anew: both may be replaced while we live.

        Raises ConfigInvalid when one of them cannot be read.
        """
        return {
            "host": host.name,
            "port": host.port,
            "user": self.role,
            "password": self.read_password(),
            "database": self.database,
            "ssl": self._trusted() if self.tls == "verify-full" else False,
            "target_session_attrs": "read-write",  # a standby answers too, and would refuse every statement of ours
            "server_settings": {"application_name": self.role},
        }

    def prefer(self, host: Host) -> None:
        """It answered: it is tried first next time, so that a dead one before it costs its deadline only once."""
        self.hosts = (host, *(other for other in self.hosts if other != host))

    def _trusted(self) -> ssl.SSLContext:
        """libpq's verify-full: the chain and the name. Without ca_file, the authorities that this machine trusts."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError too
            raise ConfigInvalid(
                f"database.ca_file: {self.ca_file} must be a readable file of PEM certificates"
            ) from error
