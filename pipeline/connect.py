"""Build the ports of one process from the configuration: the only importer of adapters.

Owns     which adapter stands behind which port
Not here what is done with them, and who runs them (pipeline/__main__.py, gateway)
"""

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.adapters.bridge import Bridge
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.identity_http import HttpIdentityProvider
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.mail import RelayMailer
from pipeline.adapters.objects import LocalObjects
from pipeline.adapters.postgres import queries
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.facts import PostgresFacts
from pipeline.adapters.postgres.keys import PostgresKeys
from pipeline.adapters.postgres.link import Dsn, Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.adapters.postgres.portal_store import PostgresPortalStore
from pipeline.adapters.postgres.sender_store import PostgresSenderStore
from pipeline.config import Config
from pipeline.delivery.notice import Letterhead
from pipeline.errors import LeaseLost
from pipeline.ports import Mailbox
from pipeline.recorder import Recorder

STAGES = queries.STAGES
ANCHOR_FILE = "ca.pem"  # in bridge.public_dir: pinned by the set-up


@dataclass(frozen=True, slots=True)
class Adapters:
    """Everything a stage may be given; each stage's Ports takes what it needs by name."""

    mailbox: Mailbox
    facts: PostgresFacts
    keys: PostgresKeys
    bridge: Bridge
    objects: LocalObjects
    mailer: RelayMailer
    randomness: SystemRandomness


def dsn_of(config: Config, role: str) -> Dsn:
    """Where PostgreSQL is and as whom; the password is read when it is used."""
    database = config.database
    return Dsn(database.socket_dir, database.port, database.name, role, lambda: database.password(role))


@asynccontextmanager
async def connect(config: Config, stage: str, recorder: Recorder) -> AsyncIterator[Adapters]:
    """The adapters of one stage's process. The mailbox opens the database link when it starts its epoch."""
    randomness = SystemRandomness()
    dsn = dsn_of(config, f"qerds_{stage}")
    link = Link(dsn, LeaseLost)
    keys = PostgresKeys(link.call, config.bridge.public_dir / ANCHOR_FILE)
    bridge = Bridge.at(config.bridge.socket_dir, stage)
    mailer = RelayMailer(config.mail)
    try:
        yield Adapters(
            mailbox=PostgresMailbox(dsn, link, stage, build(), randomness, recorder),
            facts=PostgresFacts(link, keys, config.provider),
            keys=keys,
            bridge=bridge,
            objects=LocalObjects(config.objects.root),
            mailer=mailer,
            randomness=randomness,
        )
    finally:
        await mailer.aclose()
        await bridge.aclose()


@dataclass(frozen=True, slots=True)
class GatewayAdapters:
    """Everything the gateway's faces may be given; each takes what its own ports name."""

    config: Config
    senders: PostgresSenderStore
    portal: PostgresPortalStore
    objects: LocalObjects
    bridge: Bridge
    keys: PostgresKeys
    identity: HttpIdentityProvider
    clock: SystemClock
    ids: SystemRandomness
    recorder: Recorder


@asynccontextmanager
async def connect_gateway(config: Config, recorder: Recorder) -> AsyncIterator[GatewayAdapters]:
    """The adapters of one gateway. Connections are opened on demand."""
    database = database_of(config, "qerds_gateway")
    keys = keys_of(config, database)
    bridge = Bridge.at(config.bridge.socket_dir, "gateway")
    identity = HttpIdentityProvider(config.identity)
    try:
        yield GatewayAdapters(
            config=config,
            senders=PostgresSenderStore(database),
            portal=PostgresPortalStore(database, keys, config.provider),
            objects=LocalObjects(config.objects.root),
            bridge=bridge,
            keys=keys,
            identity=identity,
            clock=SystemClock(),
            ids=SystemRandomness(),
            recorder=recorder,
        )
    finally:
        await identity.close()
        await bridge.aclose()
        await database.close()


def database_of(config: Config, role: str) -> Database:
    """A few connections under one role, for the gateway and for verbs."""
    return Database(dsn_of(config, role))


def keys_of(config: Config, database: Database) -> PostgresKeys:
    """The published keys, read through `database`."""
    return PostgresKeys(database.fetch, config.bridge.public_dir / ANCHOR_FILE)


def ids() -> SystemRandomness:
    """Identifiers and random bytes, for verbs."""
    return SystemRandomness()


def build() -> str:
    """The version of this program, as the process table names it."""
    try:
        return importlib.metadata.version("qerds")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def settings_of(config: Config) -> dict[str, Any]:
    """What stages print or demand, by the field names of their Ports."""
    head = Letterhead(config.provider.name, config.mode, config.mail.from_address, config.gateway.public_url)
    return {"minimum_level": config.identity.minimum_level, "letterhead": head}
