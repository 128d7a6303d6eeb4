"""The one configuration file, read once, checked whole, then trusted as types.

Owns     the shape of the TOML file that every process reads, the bridge too (path in the variable QERDS_CONFIG)
Rules    an unknown key, a missing key or a wrong type refuses the whole file, naming the key; a default is a field's
         default, so that no two processes can differ in it. docs/configuration.md lists every field
Elsewhere: passwords and PINs. The file names the files that hold them; they are read at the moment of use
"""

import os
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from pipeline.formats import identity_providers
from pipeline.formats.assurance import AssuranceLevel
from pipeline.formats.checked_table import ConfigInvalid, structure
from pipeline.formats.database_address import LOOPBACK, DatabaseTls, Dsn, Host, read_hosts
from pipeline.formats.identity_providers import EMBEDDED, PROVIDERS_MAX, IdentityProviderSettings, ProviderName
from pipeline.formats.secret_file import read_secret

CONFIG_ENVIRONMENT = "QERDS_CONFIG"
FILE_BYTES_MAX = 256 * 1024  # a configuration is a page; more is a wrong path
DOCUMENT_BYTES_DEFAULT = 100 * 1024 * 1024  # interfaces: a document
DOCUMENT_BYTES_MAX = 1024 * 1024 * 1024  # qerds.upload takes no more
KEY_LINES = 2  # of a file in objects.s3.key_dir
MAIL_WAIT_SECONDS_MAX = 8  # for its turn, of a mail that has a connection

# What evidence and mails state as it stands in the file: with a form that they cannot take, every letter would stay
# without its evidence, after its sender was told 202. tests/unit/formats/test_stated_options.py compares
CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff"
OID = r"(?=.{3,100}\Z)[0-2](\.(0|[1-9][0-9]*))+"
LOCAL = r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]+"  # RFC 5322 3.2.3, without what begins an encoded word
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
STATED: tuple[tuple[str, str, str], ...] = (
    ("config_version", r"[A-Za-z0-9][A-Za-z0-9._:/+#-]{0,199}", "letters, digits and . _ : / + # -, at most 200"),
    ("provider.name", rf"(?=\S)(?!.*=\?)[^{CONTROLS}]{{1,200}}(?<=\S)", "a name in one line, at most 200 characters"),
    ("provider.country", r"[A-Z]{2}", "two capital letters (ISO 3166-1)"),
    ("provider.policy_oid", OID, "an object identifier such as 2.25.1.1"),
    ("provider.tsa_policy_oid", OID, "an object identifier such as 2.25.1.2"),
    (
        "mail.from_address",
        rf"(?=.{{3,254}}\Z){LOCAL}(\.{LOCAL})*@{LABEL}(\.{LABEL})+",
        "an address such as notice@example.org, without a name",
    ),
    (
        "gateway.public_url",
        r"(?=.{10,200}\Z)https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*",
        "an http(s) address without a final slash",
    ),
)

Mode = Literal["non_qualified", "qualified"]
MailSecurity = Literal["none", "starttls", "tls"]
ObjectStore = Literal["local", "s3"]
BridgeCaller = Literal["gateway", "encrypt", "seal", "timestamp", "archive", "webhook", "operator"]

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Uids = tuple[Annotated[int, Meta(ge=0)], ...]


class Provider(Struct, frozen=True):
    """Who answers for the service, as evidence, certificates and time-stamps name it."""

    name: Text
    country: Text
    policy_oid: Text
    tsa_policy_oid: Text


class DatabaseSettings(Struct, frozen=True, kw_only=True):
    """Where PostgreSQL listens, over TCP (hosts) or at a socket of this machine (socket_dir, port), and the folder with
    one password file per role."""

    name: Text
    password_dir: Path
    hosts: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=8)] | None = None
    tls: DatabaseTls = "verify-full"
    ca_file: Path | None = None
    socket_dir: Path | None = None
    port: Port | None = None

    @property
    def places(self) -> tuple[Host, ...]:
        """Every server that may be the one, in the order in which they are tried."""
        if self.hosts is not None:
            return read_hosts(self.hosts)
        if self.socket_dir is None or self.port is None:
            raise ConfigInvalid("database needs hosts, or the socket_dir and the port of a socket on this machine")
        return (Host(str(self.socket_dir), self.port),)

    def dsn(self, role: str) -> Dsn:
        """For connections as this role."""
        tls = "none" if self.hosts is None else self.tls
        return Dsn(self.places, self.name, role, lambda: self.password(role), tls, self.ca_file)

    def password(self, role: str) -> str:
        """Reads PASSWORD_DIR/ROLE. Raises ConfigInvalid when this process may not be that role."""
        if not role.replace("_", "").isalnum():
            raise ConfigInvalid(f"database role {role!r} is not a plain name")
        return read_secret(self.password_dir / role)


class TokenSettings(Struct, frozen=True):
    """The PKCS#11 module and the token in it; softhsm_conf is absent with real hardware."""

    module: Path
    label: Text
    pin_file: Path
    softhsm_conf: Path | None = None
    sessions: Annotated[int, Meta(ge=1, le=64)] = 1  # at once: a token that computes in our own process gains little


class BridgeSettings(Struct, frozen=True):
    """Sockets, memory and public material of the key bridge; allowed_uids: caller kind to OS user ids."""

    socket_dir: Path
    data_dir: Path
    public_dir: Path
    allowed_uids: dict[BridgeCaller, Uids] = {}


class S3(Struct, frozen=True):
    """A bucket, and the folder with one file per process that may use it: access key id, then secret."""

    endpoint: Text
    bucket: Text
    region: Text
    key_dir: Path

    def key(self, process: str) -> tuple[str, str]:
        """Reads KEY_DIR/PROCESS. Raises ConfigInvalid when this process may not use the bucket."""
        path = self.key_dir / process
        lines = read_secret(path).splitlines()
        if len(lines) != KEY_LINES or not all(lines):
            raise ConfigInvalid(f"{path} must hold two lines: the access key id, then the secret")
        return lines[0], lines[1]


class ObjectsSettings(Struct, frozen=True):
    """Where objects are: a local folder (root) or a bucket (s3)."""

    kind: ObjectStore = "local"
    root: Path | None = None
    s3: S3 | None = None

    @property
    def place(self) -> Path | S3:
        """The one of its kind."""
        place, name = (self.root, "root") if self.kind == "local" else (self.s3, "s3")
        if place is None:
            raise ConfigInvalid(f"objects.kind = {self.kind} needs objects.{name}")
        return place


class MailSettings(Struct, frozen=True):
    """The relay that takes notices."""

    host: Text
    port: Port
    security: MailSecurity
    from_address: Text
    connections_max: Annotated[int, Meta(ge=1, le=100)] = 8
    mails_per_second_max: Annotated[int, Meta(ge=1)] | None = None


class GatewaySettings(Struct, frozen=True):
    """Where the gateway listens, the address that people and machines know it by, and the proxies whose word on a
    client's address is believed."""

    host: Text
    port: Port
    public_url: Text
    document_bytes_max: Annotated[int, Meta(ge=1, le=DOCUMENT_BYTES_MAX)] = DOCUMENT_BYTES_DEFAULT
    proxies: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=32)] | None = None


class IdentitySettings(Struct, frozen=True):
    """How recipients identify: the least level of assurance, and the providers in the order of their buttons."""

    minimum_level: AssuranceLevel
    providers: dict[ProviderName, IdentityProviderSettings]


class WebhooksSettings(Struct, frozen=True):
    """What senders' endpoints may be; loopback_http: plain http on this machine, for an embedded installation."""

    loopback_http: bool = False


class TimeSettings(Struct, frozen=True):
    """How long an event may be the service's word alone before its proof is said to be late."""

    lag_seconds_max: Annotated[int, Meta(ge=1, le=86_400)] = 3600


class Config(Struct, frozen=True):
    """The whole file."""

    config_version: Text
    mode: Mode
    embedded: bool
    provider: Provider
    database: DatabaseSettings
    token: TokenSettings
    bridge: BridgeSettings
    objects: ObjectsSettings
    mail: MailSettings
    gateway: GatewaySettings
    identity: IdentitySettings
    webhooks: WebhooksSettings = WebhooksSettings()
    time: TimeSettings = TimeSettings()


def load_from_environment(environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration that QERDS_CONFIG names."""
    path = environment.get(CONFIG_ENVIRONMENT)
    if not path:
        raise ConfigInvalid(f"{CONFIG_ENVIRONMENT} is not set; give the path of the configuration file")
    return load(Path(path))


def load(path: Path) -> Config:
    """Reads and checks the file at `path`."""
    return parse(read_table(path))


def read_table(path: Path) -> dict[str, object]:
    """A TOML file as a table, its keys not looked at yet. Raises ConfigInvalid."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigInvalid(f"cannot read {path}: {error.strerror}") from error
    if len(text) > FILE_BYTES_MAX:
        raise ConfigInvalid(f"{path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        return tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path} is not TOML{_place(error)}") from error


def parse(table: Mapping[str, object]) -> Config:
    """Checks a parsed TOML table; raises ConfigInvalid, which names the first key that is wrong."""
    config = structure(Config, table)
    _check_embedded(config)
    _check_stated(config)
    _check_database(config.database)
    _check_mail(config.mail)
    _check_objects(config.objects)
    _check_gateway(config.gateway)
    _check_identity(config.identity)
    return config


def _check_embedded(config: Config) -> None:
    """What is fit for one machine on which somebody tries the service out, and for nothing else."""
    if config.mail.security == "none" and not config.embedded:
        raise ConfigInvalid("mail.security = none is for an embedded installation only; use starttls or tls")
    if EMBEDDED in config.identity.providers and not config.embedded:
        raise ConfigInvalid("identity.providers.embedded is for an embedded installation only; name a real one")
    if config.webhooks.loopback_http and not config.embedded:
        raise ConfigInvalid("webhooks.loopback_http is for an embedded installation only; leave it out")
    if config.embedded and config.mode != "non_qualified":
        raise ConfigInvalid("mode: an embedded installation can only run in mode non_qualified")


def _check_stated(config: Config) -> None:
    """Each text that leaves as it is has the form that it will need there."""
    for key, form, what in STATED:
        if not re.fullmatch(form, attrgetter(key)(config)):
            raise ConfigInvalid(f"{key} must be {what}")


def _check_database(database: DatabaseSettings) -> None:
    """Hosts or a socket; over the network only with TLS that verifies chain and name."""
    if database.hosts is not None and (database.socket_dir is not None or database.port is not None):
        key = "socket_dir" if database.socket_dir is not None else "port"
        raise ConfigInvalid(f"database.hosts and database.{key} exclude each other; each of hosts has its own port")
    places = database.places
    if database.tls == "none" and not {place.name for place in places} <= LOOPBACK:
        raise ConfigInvalid("database.tls = none is for hosts on loopback only; leave it out, and name the ca_file")
    if database.ca_file is not None and (database.hosts is None or database.tls == "none"):
        raise ConfigInvalid("database.ca_file is for hosts with TLS; take it out")


def _check_mail(mail: MailSettings) -> None:
    """A mail may wait for its turn no longer than a batch of notices has (pipeline/stages/notify.py)."""
    rate = mail.mails_per_second_max
    if rate is not None and not mail.connections_max <= MAIL_WAIT_SECONDS_MAX * rate:
        raise ConfigInvalid(
            f"mail.mails_per_second_max must be at least a {MAIL_WAIT_SECONDS_MAX}th of mail.connections_max"
        )


def _check_objects(objects: ObjectsSettings) -> None:
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


def _check_identity(identity: IdentitySettings) -> None:
    if not 1 <= len(identity.providers) <= PROVIDERS_MAX:
        raise ConfigInvalid(f"identity.providers must be 1 to {PROVIDERS_MAX} tables, each under its provider's name")
    for name, provider in identity.providers.items():
        identity_providers.check(f"identity.providers.{name}", provider, identity.minimum_level)
    if len({provider.shown for provider in identity.providers.values()}) < len(identity.providers):
        raise ConfigInvalid("identity.providers: each needs a label of its own, so that people can tell them apart")


def _place(error: ValueError) -> str:
    """Where TOML ends: line and column of tomllib's text, which may quote the file."""
    position = re.search(r"\(at line \d+, column \d+\)$", str(error))
    return f" {position[0]}" if position else ""


def _check_gateway(gateway: GatewaySettings) -> None:
    """Whose word about a client's address is taken."""
    for network in gateway.proxies or ():
        try:
            ip_network(network)
        except ValueError as error:
            raise ConfigInvalid(
                "gateway.proxies must be addresses or networks without host bits, as 10.0.0.0/8"
            ) from error
