"""The one configuration file, read once, checked whole, then trusted as types.

Owns     the shape of the TOML file that every process reads (path in the environment variable QERDS_CONFIG)
Rules    an unknown key, a missing key or a wrong type refuses the whole file, naming the key; nothing has a hidden
         default that could differ between two processes, except what an installation may leave out (allowed_uids)
Elsewhere: passwords and PINs. The file names the files that hold them; they are read at the moment of use.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from pipeline.errors import QerdsError

CONFIG_ENVIRONMENT = "QERDS_CONFIG"
FILE_BYTES_MAX = 256 * 1024  # a configuration is a page; more is a wrong path
DOCUMENT_BYTES_DEFAULT = 100 * 1024 * 1024  # interfaces: a document
DOCUMENT_BYTES_MAX = 1024 * 1024 * 1024  # qerds.upload takes no more
SECRET_BYTES_MAX = 4096  # a password, a PIN or a client secret
KEY_LINES = 2  # of a file in objects.s3.key_dir
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Mode = Literal["non_qualified", "qualified"]
MailSecurity = Literal["none", "starttls", "tls"]
ObjectStore = Literal["local", "s3"]
AssuranceLevel = Literal["low", "substantial", "high"]  # Regulation (EU) 910/2014 article 8(2)
Plain = TypeVar("Plain", str, int, bool)


class ConfigInvalid(QerdsError):
    """The configuration cannot be used; the text names the key and the remedy, and quotes no value but a port."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Who answers for the service, as the evidence names it."""

    name: str
    country: str
    policy_oid: str
    tsa_policy_oid: str


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where PostgreSQL listens, and the folder with one password file per role."""

    socket_dir: Path
    port: int
    name: str
    password_dir: Path

    def password(self, role: str) -> str:
        """Reads STATE/secrets/database/ROLE. Raises ConfigInvalid when this process may not be that role."""
        if not role.replace("_", "").isalnum():
            raise ConfigInvalid(f"database role {role!r} is not a plain name")
        return read_secret(self.password_dir / role)


@dataclass(frozen=True, slots=True)
class Token:
    """The PKCS#11 module and the token in it; softhsm_conf is absent with real hardware."""

    module: Path
    label: str
    pin_file: Path
    softhsm_conf: Path | None = None


@dataclass(frozen=True, slots=True)
class Bridge:
    """Sockets, memory and public material of the key bridge; allowed_uids: caller kind to OS user ids."""

    socket_dir: Path
    data_dir: Path
    public_dir: Path
    allowed_uids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class S3:
    """A bucket, and the folder with one file per process that may use it: access key id, then secret."""

    endpoint: str
    bucket: str
    region: str
    key_dir: Path

    def key(self, process: str) -> tuple[str, str]:
        """Reads KEY_DIR/PROCESS. Raises ConfigInvalid when this process may not use the bucket."""
        path = self.key_dir / process
        lines = read_secret(path).splitlines()
        if len(lines) != KEY_LINES or not all(lines):
            raise ConfigInvalid(f"{path} must hold two lines: the access key id, then the secret")
        return lines[0], lines[1]


@dataclass(frozen=True, slots=True)
class Objects:
    """Where objects are: a local folder (root) or a bucket (s3)."""

    kind: ObjectStore = "local"
    root: Path | None = None
    s3: S3 | None = None

    @property
    def place(self) -> Path | S3:
        """The one of its kind."""
        found, name = (self.root, "root") if self.kind == "local" else (self.s3, "s3")
        if found is None:
            raise ConfigInvalid(f"objects.kind = {self.kind} needs objects.{name}")
        return found


MAIL_CONNECTIONS_MAX = 100
MAIL_WAIT_SECONDS_MAX = 8  # for its turn, of a mail that has a connection


@dataclass(frozen=True, slots=True)
class MailSettings:
    """The relay that takes notices."""

    host: str
    port: int
    security: MailSecurity
    from_address: str
    connections_max: int = 8
    mails_per_second_max: int | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the gateway listens, and the address that people and machines know it by."""

    host: str
    port: int
    public_url: str
    document_bytes_max: int = DOCUMENT_BYTES_DEFAULT


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """The identity provider for recipients, and the keys that the bridge pins for it."""

    provider: str
    issuer: str
    client_id: str
    client_secret_file: Path
    jwks_file: Path
    minimum_level: AssuranceLevel


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What senders' endpoints may be; loopback_http: plain http on this machine, for an embedded installation."""

    loopback_http: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    config_version: str
    mode: Mode
    embedded: bool
    provider: Provider
    database: DatabaseSettings
    token: Token
    bridge: Bridge
    objects: Objects
    mail: MailSettings
    gateway: Gateway
    identity: IdentitySettings
    webhooks: Webhooks = Webhooks()


def load_from_environment(environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration that QERDS_CONFIG names."""
    path = environment.get(CONFIG_ENVIRONMENT)
    if not path:
        raise ConfigInvalid(f"{CONFIG_ENVIRONMENT} is not set; give the path of the configuration file")
    return load(Path(path))


def load(path: Path) -> Config:
    """Reads and checks the file at `path`."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigInvalid(f"cannot read {path}: {error.strerror}") from error
    if len(text) > FILE_BYTES_MAX:
        raise ConfigInvalid(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        table = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path} is not TOML{_place(error)}") from error
    return parse(table)


def parse(table: Mapping[str, object]) -> Config:
    """Checks a parsed TOML table; raises ConfigInvalid, which names the first key that is wrong."""
    config = cast("Config", _section(Config, table, ""))
    _check_together(config)
    return config


def read_secret(path: Path) -> str:
    """One secret, without its final newline; a secret that others may read is refused."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o007:
                raise ConfigInvalid(f"{path} can be read by everyone on this machine; chmod 600 it")
            text = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigInvalid(f"cannot read the secret {path}: {error.strerror}") from error
    if len(text) > SECRET_BYTES_MAX:
        raise ConfigInvalid(f"{path} is larger than {SECRET_BYTES_MAX} bytes")
    return text.decode("utf-8").rstrip("\n")


def _check_together(config: Config) -> None:
    """What one key alone cannot tell."""
    if config.mail.security == "none" and not config.embedded:
        raise ConfigInvalid("mail.security = none is for an embedded installation only; use starttls or tls")
    if config.identity.provider == "embedded" and not config.embedded:
        raise ConfigInvalid("identity.provider = embedded is for an embedded installation only")
    if config.webhooks.loopback_http and not config.embedded:
        raise ConfigInvalid("webhooks.loopback_http is for an embedded installation only")
    if config.embedded and config.mode != "non_qualified":
        raise ConfigInvalid("an embedded installation can only run in mode non_qualified")
    _check_mail(config.mail)
    _check_objects(config.objects)
    for name, port in (
        ("database.port", config.database.port),
        ("mail.port", config.mail.port),
        ("gateway.port", config.gateway.port),
    ):
        if not 1 <= port <= 65_535:
            raise ConfigInvalid(f"{name} = {port} is not a port")
    if not 1 <= config.gateway.document_bytes_max <= DOCUMENT_BYTES_MAX:
        raise ConfigInvalid(f"gateway.document_bytes_max must be from 1 to {DOCUMENT_BYTES_MAX}")
    if not config.gateway.public_url.startswith(("http://", "https://")) or config.gateway.public_url.endswith("/"):
        raise ConfigInvalid("gateway.public_url must be an http(s) address without a final slash")


def _check_mail(mail: MailSettings) -> None:
    """A mail may wait for its turn no longer than a batch of notices has (pipeline/stages/notify.py)."""
    if not 1 <= mail.connections_max <= MAIL_CONNECTIONS_MAX:
        raise ConfigInvalid(f"mail.connections_max must be from 1 to {MAIL_CONNECTIONS_MAX}")
    rate = mail.mails_per_second_max
    if rate is not None and not mail.connections_max <= MAIL_WAIT_SECONDS_MAX * rate:
        raise ConfigInvalid(
            f"mail.mails_per_second_max must be at least a {MAIL_WAIT_SECONDS_MAX}th of mail.connections_max"
        )


def _check_objects(objects: Objects) -> None:
    """One place only, and a bucket only where nobody on the way can read or change a request."""
    place = objects.place
    if objects.root is not None and objects.s3 is not None:
        raise ConfigInvalid("objects.root and objects.s3 exclude each other; keep the one of objects.kind")
    if isinstance(place, S3):
        address = urlsplit(place.endpoint)
        if address.scheme != "https" and not (address.scheme == "http" and address.hostname in LOOPBACK):
            raise ConfigInvalid("objects.s3.endpoint must be an https address, but on loopback")
        if not address.hostname or address.path or address.query:
            raise ConfigInvalid("objects.s3.endpoint must be an address without a path: the bucket is named apart")


def _section(kind: type[Any], table: object, at: str) -> object:
    """One table as its dataclass."""
    if not isinstance(table, Mapping):
        raise ConfigInvalid(f"{at or 'the file'} must be a table")
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ConfigInvalid(f"unknown key {_join(at, unknown[0])}; known here: {', '.join(sorted(known))}")
    types = get_type_hints(kind)
    values: dict[str, object] = {}
    for name, about in known.items():
        if name in table:
            values[name] = _value(types[name], table[name], _join(at, name))
        elif about.default is about.default_factory:  # both are MISSING: the key has to be there
            raise ConfigInvalid(f"missing key {_join(at, name)}")
    return kind(**values)


def _value(kind: Any, value: object, at: str) -> object:
    """One value as the type that its field declares."""
    if isinstance(kind, UnionType):
        kind = next(option for option in get_args(kind) if option is not type(None))
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ConfigInvalid(f"{at} must be one of {', '.join(get_args(kind))}")
        return value
    if kind is Path:
        return Path(_plain(str, value, at))
    if kind in (str, int, bool):
        return _plain(kind, value, at)
    if get_origin(kind) is Mapping:
        return _uids(value, at)
    return _section(kind, value, at)


def _plain(kind: type[Plain], value: object, at: str) -> Plain:
    """A scalar of exactly this type (TOML's true is no integer here), and no empty text."""
    if type(value) is not kind or value == "":
        raise ConfigInvalid(f"{at} must be a non-empty {kind.__name__}")
    return value


def _uids(value: object, at: str) -> Mapping[str, tuple[int, ...]]:
    """A table of caller kind to a list of OS user ids."""
    if not isinstance(value, Mapping):
        raise ConfigInvalid(f"{at} must be a table of lists of user ids")
    for caller, uids in value.items():
        if not isinstance(uids, list) or not all(type(uid) is int and uid >= 0 for uid in uids):
            raise ConfigInvalid(f"{_join(at, caller)} must be a list of user ids")
    return {caller: tuple(uids) for caller, uids in value.items()}


def _place(error: ValueError) -> str:
    """Where TOML ends: line and column of tomllib's text, which may quote the file."""
    found = re.search(r"\(at line \d+, column \d+\)$", str(error))
    return f" {found[0]}" if found else ""


def _join(at: str, name: str) -> str:
    """The dotted name of a key."""
    return f"{at}.{name}" if at else name
