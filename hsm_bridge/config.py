"""The bridge's part of the configuration file, checked and typed.

Owns     the sections provider, token, bridge, identity and database (for publication), as the bridge reads them
Rules    a missing key or a wrong type stops the start, naming the key; secrets are files, read at the moment of use
Elsewhere: the other sections, which their own readers check
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from hsm_bridge.errors import BridgeError

CONFIG_ENVIRONMENT = "QERDS_CONFIG"
FILE_BYTES_MAX = 256 * 1024  # a configuration is a page; more is a wrong path
SECRET_BYTES_MAX = 4096  # a PIN or a password
SESSIONS_MAX = 64

Mode = Literal["non_qualified", "qualified"]
Level = Literal["low", "substantial", "high"]


class ConfigInvalid(BridgeError):
    """The configuration cannot be used; the text names the key."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Who the seals and time-stamps speak for."""

    name: str
    country: str
    policy_oid: str
    tsa_policy_oid: str


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """The PKCS#11 module and the token in it."""

    module: Path
    label: str
    pin_file: Path
    softhsm_conf: Path | None
    sessions: int = 1  # used at once: more gain nothing with a token that computes in our own process


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """The identity provider whose keys the bridge pins. provider: its name, as evidences have it."""

    provider: str
    issuer: str
    client_id: str
    jwks_file: Path
    minimum_level: Level


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where the bridge publishes its public keys."""

    socket_dir: Path
    port: int
    name: str
    password_dir: Path


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """Everything the bridge is told."""

    config_version: str
    mode: Mode
    embedded: bool
    provider: Provider
    token: TokenSettings
    socket_dir: Path
    data_dir: Path
    public_dir: Path
    allowed_uids: Mapping[str, tuple[int, ...]]
    identity: IdentitySettings
    database: DatabaseSettings


def load_from_environment(environment: Mapping[str, str] = os.environ) -> BridgeConfig:
    """The configuration that QERDS_CONFIG names."""
    path = environment.get(CONFIG_ENVIRONMENT)
    if not path:
        raise ConfigInvalid(f"{CONFIG_ENVIRONMENT} is not set; give the path of the configuration file")
    return load(Path(path))


def load(path: Path) -> BridgeConfig:
    """Reads and checks the file at `path`."""
    try:
        text = path.read_bytes()[: FILE_BYTES_MAX + 1]
        if len(text) > FILE_BYTES_MAX:
            raise ConfigInvalid(f"{path} is larger than {FILE_BYTES_MAX} bytes")
        return parse(tomllib.loads(text.decode("utf-8")))
    except OSError as error:
        raise ConfigInvalid(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path} is not TOML: {type(error).__name__}") from error


def parse(table: Mapping[str, object]) -> BridgeConfig:
    """Takes the bridge's sections out of a parsed file; raises ConfigInvalid."""
    whole = _Section("", table)
    provider, token, bridge = whole.section("provider"), whole.section("token"), whole.section("bridge")
    identity, database = whole.section("identity"), whole.section("database")
    return BridgeConfig(
        config_version=whole.text("config_version"),
        mode=cast("Mode", whole.choice("mode", ("non_qualified", "qualified"))),
        embedded=whole.boolean("embedded"),
        provider=Provider(
            provider.text("name"),
            provider.text("country"),
            provider.text("policy_oid"),
            provider.text("tsa_policy_oid"),
        ),
        token=TokenSettings(
            module=Path(token.text("module")),
            label=token.text("label"),
            pin_file=Path(token.text("pin_file")),
            softhsm_conf=Path(token.text("softhsm_conf")) if "softhsm_conf" in token.table else None,
            sessions=_sessions(token),
        ),
        socket_dir=Path(bridge.text("socket_dir")),
        data_dir=Path(bridge.text("data_dir")),
        public_dir=Path(bridge.text("public_dir")),
        allowed_uids=_allowed_uids(bridge),
        identity=IdentitySettings(
            provider=identity.text("provider"),
            issuer=identity.text("issuer"),
            client_id=identity.text("client_id"),
            jwks_file=Path(identity.text("jwks_file")),
            minimum_level=cast("Level", identity.choice("minimum_level", ("low", "substantial", "high"))),
        ),
        database=DatabaseSettings(
            socket_dir=Path(database.text("socket_dir")),
            port=database.integer("port"),
            name=database.text("name"),
            password_dir=Path(database.text("password_dir")),
        ),
    )


def read_secret(path: Path) -> str:
    """One secret, without its final newline; a secret that others may read is refused."""
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigInvalid(f"{path} can be read by everyone on this machine; chmod 600 it")
        return path.read_bytes()[:SECRET_BYTES_MAX].decode("utf-8").rstrip("\n")
    except OSError as error:
        raise ConfigInvalid(f"cannot read the secret {path}: {error.strerror}") from error


def _sessions(token: "_Section") -> int:
    sessions = token.integer("sessions") if "sessions" in token.table else 1
    if not 1 <= sessions <= SESSIONS_MAX:
        raise ConfigInvalid(f"token.sessions must be from 1 to {SESSIONS_MAX}")
    return sessions


def _allowed_uids(bridge: "_Section") -> Mapping[str, tuple[int, ...]]:
    table = bridge.table.get("allowed_uids", {})
    if not isinstance(table, Mapping):
        raise ConfigInvalid("bridge.allowed_uids must be a table")
    for caller, uids in table.items():
        if not isinstance(uids, list) or not all(type(uid) is int and uid >= 0 for uid in uids):
            raise ConfigInvalid(f"bridge.allowed_uids.{caller} must be a list of user ids")
    return {caller: tuple(uids) for caller, uids in table.items()}


@dataclass(frozen=True, slots=True)
class _Section:
    """One table, with typed access that names the key in its complaint."""

    name: str
    table: Mapping[str, object]

    def section(self, key: str) -> "_Section":
        value = self.table.get(key)
        if not isinstance(value, Mapping):
            raise ConfigInvalid(f"missing section {key}")
        return _Section(f"{key}.", value)

    def text(self, key: str) -> str:
        value = self.table.get(key)
        if not isinstance(value, str) or not value:
            raise ConfigInvalid(f"{self.name}{key} must be a text")
        return value

    def integer(self, key: str) -> int:
        value = self.table.get(key)
        if type(value) is not int:
            raise ConfigInvalid(f"{self.name}{key} must be a whole number")
        return value

    def boolean(self, key: str) -> bool:
        value = self.table.get(key)
        if type(value) is not bool:
            raise ConfigInvalid(f"{self.name}{key} must be true or false")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in choices:
            raise ConfigInvalid(f"{self.name}{key} must be one of {', '.join(choices)}")
        return value
