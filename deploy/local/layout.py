"""Where an embedded installation keeps its things, and which ports it answers on.

Owns     the names below the state directory, the offsets from the base port, the choice of a free base
Elsewhere: what is written into those files (settings.py, record.py)
"""

import socket
from dataclasses import dataclass
from pathlib import Path

from pipeline.formats.secret_file import read_secret

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_STATE = CHECKOUT / ".qerds" / "state"
HOST = "127.0.0.1"  # loopback only: this mode has no transport security

BASE_PORT = 8400
BASE_STEP = 100
BASE_PORT_MAX = 65_000
BASE_TRIES = 40
HEALTH_OFFSET = 20
HEALTH_PORTS_MAX = 60


@dataclass(frozen=True, slots=True)
class TcpPorts:
    """Fixed offsets, so that one number tells where everything is."""

    base: int

    @property
    def gateway(self) -> int:
        return self.base

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.gateway}"

    @property
    def mail_page(self) -> int:
        return self.base + 1

    @property
    def smtp(self) -> int:
        return self.base + 2

    @property
    def identity(self) -> int:
        return self.base + 3

    @property
    def database(self) -> int:
        return self.base + 9

    def health(self, index: int) -> int:
        """Of the process with this index in the order of the Procfile."""
        return self.base + HEALTH_OFFSET + index


@dataclass(frozen=True, slots=True)
class Layout:
    """The state directory; nothing of an installation is outside it but the run directory (sockets)."""

    state: Path

    @property
    def config(self) -> Path:
        return self.state / "qerds.toml"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def running(self) -> Path:
        return self.state / "running.json"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def database_passwords(self) -> Path:
        return self.secrets / "database"

    @property
    def trust(self) -> Path:
        return self.state / "trust"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def mail(self) -> Path:
        return self.state / "mail"

    @property
    def objects(self) -> Path:
        return self.state / "objects"

    @property
    def options(self) -> Path:
        """Not ours: what an operator adds to the configuration, as TOML with the sections of the file."""
        return self.state / "options.toml"

    @property
    def bridge(self) -> Path:
        return self.state / "bridge"

    @property
    def ca_certificate(self) -> Path:
        return self.trust / "ca.pem"

    @property
    def mail_key(self) -> Path:
        """What the addresses of the mail catcher's pages begin with: who can read it may read the mails."""
        return self.secrets / "mail-page"

    def mail_url(self, ports: TcpPorts) -> str:
        """Where the caught mails are shown, with the key in it."""
        key = read_secret(self.mail_key) if self.mail_key.exists() else "not-made-yet"
        return f"http://{HOST}:{ports.mail_page}/{key}"

    @property
    def demo_client(self) -> Path:
        return self.secrets / "demo-client.json"

    def make(self, mode: int) -> None:
        """The folders. `mode` is the state directory's: 0711 lets PostgreSQL's account through when we are root."""
        self.state.mkdir(mode=mode, parents=True, exist_ok=True)
        self.state.chmod(mode)
        for folder in (self.secrets, self.trust, self.logs, self.mail, self.objects, self.bridge):
            folder.mkdir(mode=0o700, exist_ok=True)


class NoFreePorts(RuntimeError):
    """Every base we tried has a port in use."""


def free_base(start: int) -> TcpPorts:
    """The first base from `start` on, in steps of 100, whose ports are all free."""
    for base in range(start, min(start + BASE_STEP * BASE_TRIES, BASE_PORT_MAX), BASE_STEP):
        ports = TcpPorts(base)
        if all(map(_is_free, (ports.gateway, ports.mail_page, ports.smtp, ports.identity, ports.health(0)))):
            return ports
    raise NoFreePorts(f"no free ports from {start} on; give another --base-port")


def _is_free(port: int) -> bool:
    """Whether we could listen there now. Somebody may still be quicker: then that process fails and says so."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
