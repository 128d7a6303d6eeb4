"""A real bridge for tests: its configuration, its key ceremony, its process.

Owns     writing the configuration over a token and a database, running ceremony and bridge, waiting for READY
Elsewhere: fixtures (conftest.py of the folders), software stand-ins (fakes/bridge.py)
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import anyio
from joserfc.jwk import ECKey, RSAKey
from msgspec.structs import asdict

from deploy.local import settings
from deploy.local.softhsm import SoftToken
from hsm_bridge import wire
from hsm_bridge.client import BridgeClient
from pipeline.formats.configuration import Config, DatabaseSettings, load
from pipeline.formats.identity_providers import EMBEDDED

ISSUER = "http://127.0.0.1:8403"
CLIENT_ID = "qerds-portal"
SECOND = "second"
SECOND_ISSUER = "https://second.example"
READY_SECONDS = 15
POLICY = "2.25.329800735698586629295641978511506172918"


@dataclass(slots=True)
class BridgeHome:
    """The files of one bridge, and the identity provider's key that it pins."""

    home: Path
    token: SoftToken
    database: DatabaseSettings
    allowed_uids: Mapping[str, list[int]] = field(default_factory=dict)
    provider_key: ECKey = field(
        default_factory=lambda: ECKey.generate_key("P-256", {"kid": "provider-1", "use": "sig"})
    )

    @property
    def config_path(self) -> Path:
        return self.home / "qerds.toml"

    @property
    def config(self) -> Config:
        return load(self.config_path)

    def write(self) -> None:
        """The configuration file and the pinned keys."""
        self.home.mkdir(parents=True, exist_ok=True)
        jwks = self.home / "provider.jwks.json"
        write_jwks(jwks, self.provider_key)
        table: dict[str, settings.Value] = {
            "config_version": "test-1",
            "mode": "non_qualified",
            "embedded": True,
            "provider": {
                "name": "Test Delivery",
                "country": "FR",
                "policy_oid": f"{POLICY}.1",
                "tsa_policy_oid": f"{POLICY}.2",
            },
            "database": {name: value for name, value in asdict(self.database).items() if value is not None},
            "token": {
                "module": self.token.module,
                "softhsm_conf": self.token.conf,
                "label": self.token.label,
                "pin_file": self.token.pin_file,
            },
            "bridge": {
                "socket_dir": self.home / "s",
                "data_dir": self.home / "bridge",
                "public_dir": self.home / "trust",
                "allowed_uids": self.allowed_uids,
            },
            "objects": {"root": self.home / "objects"},
            "mail": {"host": "127.0.0.1", "port": 25, "security": "none", "from_address": "n@registered.example"},
            "gateway": {"host": "127.0.0.1", "port": 8400, "public_url": "http://127.0.0.1:8400"},
            "identity": identity_table(self.home / "client-secret", jwks),
        }
        settings.write(self.config_path, table)

    def ceremony(self) -> str:
        """Runs the key ceremony; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "hsm_bridge.token.ceremony", "--config", str(self.config_path)],
            check=True,
            capture_output=True,
            text=True,
            timeout=READY_SECONDS,
        )
        return done.stdout

    def client(self, caller: str, deadline_seconds: float = 10.0) -> BridgeClient:
        return BridgeClient(self.home / "s" / f"{caller}.sock", deadline_seconds=deadline_seconds)

    def describe(self) -> wire.Description:
        """What the running bridge says of itself."""

        async def ask() -> wire.Description:
            async with aclosing(self.client("operator")) as client:
                return await describe(client)

        return anyio.run(ask)

    def start(self, environment: Mapping[str, str] = os.environ) -> "subprocess.Popen[bytes]":
        """Starts the bridge and waits until it says that it serves."""
        address = self.home / "notify"
        address.unlink(missing_ok=True)
        log = self.home / "bridge.log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications, log.open("ab") as errors:
            notifications.bind(str(address))
            notifications.settimeout(0.2)
            process = subprocess.Popen(
                [sys.executable, "-m", "hsm_bridge"],
                env={**environment, "QERDS_CONFIG": str(self.config_path), "NOTIFY_SOCKET": str(address)},
                stderr=errors,
            )
            deadline = time.monotonic() + READY_SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    if notifications.recv(1024) == b"READY=1":
                        return process
                except TimeoutError:
                    continue
        process.kill()
        process.wait()
        raise RuntimeError(f"the bridge did not start: {log.read_text()}")


async def describe(client: BridgeClient) -> wire.Description:
    """What a bridge says of itself."""
    [answer] = await client.ask([wire.Describe()])
    assert isinstance(answer, wire.Description), answer
    return answer


async def health(client: BridgeClient) -> wire.HealthReport:
    """How it fares."""
    [answer] = await client.ask([wire.ReportHealth()])
    assert isinstance(answer, wire.HealthReport), answer
    return answer


def stop(process: "subprocess.Popen[bytes]") -> int:
    """Ends it in good order; the exit code."""
    process.terminate()
    try:
        return process.wait(READY_SECONDS)
    finally:
        process.kill()


def provider_key() -> ECKey:
    """A signature key of the first identity provider."""
    return ECKey.generate_key("P-256", {"kid": "provider-1", "use": "sig"})


@cache
def second_key() -> RSAKey:
    """The signature key of the second one: it signs with RS256, does not encrypt, and has no userinfo."""
    return RSAKey.generate_key(2048, {"kid": "second-1", "use": "sig"})


def write_jwks(path: Path, key: ECKey) -> None:
    """The keys that the bridge pins, of both providers."""
    path.write_text(json.dumps({"keys": [key.as_dict(private=False), second_key().as_dict(private=False)]}))


def second_table(secret: Path, jwks: Path) -> dict[str, object]:
    """The second provider, as the configuration has it."""
    return {
        "kind": "oidc",
        "label": "Second",
        "issuer": SECOND_ISSUER,
        "client_id": CLIENT_ID,
        "client_secret_file": str(secret),
        "jwks_file": str(jwks),
        "oidc": {
            "scopes": ["openid", "profile"],
            "levels": {"urn:second:card": "high", "urn:second:password": "low"},
            "signature": "RS256",
            "encrypted": False,
            "person_from": "id_token",
            "usage_name_claim": "usage_name",
        },
    }


def identity_table(secret: Path, jwks: Path) -> dict[str, settings.Value]:
    """Both providers, as the configuration has them."""
    first = {"client_id": CLIENT_ID, "client_secret_file": str(secret), "jwks_file": str(jwks)}
    return {
        "minimum_level": "substantial",
        "providers": {
            EMBEDDED: {"kind": "franceconnect_plus", "issuer": ISSUER, **first},
            SECOND: second_table(secret, jwks),
        },
    }
