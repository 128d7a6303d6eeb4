"""Build the ports of one process from the configuration: the only importer of adapters.

Owns     which adapter stands behind which port
Elsewhere: what is done with them, and who runs them (pipeline/__main__.py, gateway)
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.bridge import SocketBridge
from pipeline.adapters.checking import CheckingProcesses
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.identity_http import HttpBackChannel
from pipeline.adapters.ids import SystemRandomness
from pipeline.adapters.mail import RelayMailer
from pipeline.adapters.measured import MeasuredAuthority, MeasuredMailer, MeasuredObjects
from pipeline.adapters.objects import LocalObjects
from pipeline.adapters.objects_s3 import S3Objects
from pipeline.adapters.postgres.batches import PostgresBatchStore
from pipeline.adapters.postgres.consents import PostgresConsentFacts, PostgresConsentStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.draws import PostgresDraws
from pipeline.adapters.postgres.export_facts import PostgresExportFacts
from pipeline.adapters.postgres.exports import PostgresExportStore
from pipeline.adapters.postgres.facts import PostgresFacts
from pipeline.adapters.postgres.feed import PostgresEventStore
from pipeline.adapters.postgres.garbage import PostgresGarbage
from pipeline.adapters.postgres.keys import PostgresKeys
from pipeline.adapters.postgres.link import GUARD_SECONDS, Link
from pipeline.adapters.postgres.mailbox import PostgresMailbox
from pipeline.adapters.postgres.portal import PostgresPortalStore
from pipeline.adapters.postgres.sandbox import PostgresSandboxClock
from pipeline.adapters.postgres.senders import PostgresSenderStore
from pipeline.adapters.postgres.sequencer import PostgresEventLog
from pipeline.adapters.postgres.tx import PostgresTx
from pipeline.adapters.postgres.watch import PostgresWatch
from pipeline.adapters.postgres.webhook_facts import PostgresWebhookFacts
from pipeline.adapters.volumes import LocalVolumes
from pipeline.adapters.webhook_http import HttpCourier
from pipeline.delivery.routes import CHECKED, PRESERVE, RECEIVER
from pipeline.errors import LeaseLost, Transient
from pipeline.formats.assurance import AssuranceLevel
from pipeline.formats.configuration import Config, Mode
from pipeline.notices.notice import Letterhead
from pipeline.notices.relaying import GuardedRelay
from pipeline.process.build import version
from pipeline.process.recorder import Recorder

ANCHOR_FILE = "ca.pem"  # in bridge.public_dir: pinned by the set-up
GATEWAY = "gateway"
# The stages that have the object store among their ports. Their rows are in __main__, above this file; a test compares.
STORING = frozenset({RECEIVER[CHECKED], RECEIVER[PRESERVE]})
OWN_AUTHORITY = "bridge"  # time-stamps are those of our own key
ObjectStore = LocalObjects | S3Objects
Transaction = PostgresTx  # what the commit of a stage runs in


@dataclass(frozen=True, slots=True)
class Adapters:
    """Everything a stage may be given; its row in pipeline/__main__.py takes what it needs."""

    mailbox: PostgresMailbox
    facts: PostgresFacts
    draws: PostgresDraws
    consents: PostgresConsentFacts
    exports: PostgresExportFacts
    keys: PostgresKeys
    bridge: SocketBridge
    authority: MeasuredAuthority
    objects: MeasuredObjects
    relay: GuardedRelay
    webhooks: PostgresWebhookFacts
    courier: HttpCourier
    clock: SystemClock
    ids: SystemRandomness
    randomness: SystemRandomness


def objects_of(config: Config, process: str) -> ObjectStore:
    """The store that the configuration names, as that process may use it."""
    place = config.objects.place
    return LocalObjects(place) if isinstance(place, Path) else S3Objects(place, process)


async def verify_objects(objects: ObjectStore, recorder: Recorder) -> None:
    """Raises ConfigInvalid when no waiting would help. A store that is only away does not keep a process from starting:
    its work waits."""
    if isinstance(objects, S3Objects):
        try:
            await objects.verify()
        except Transient as error:
            recorder.error("object store", error)


@asynccontextmanager
async def connect(config: Config, stage: str, recorder: Recorder) -> AsyncIterator[Adapters]:
    """The adapters of one stage's process. The mailbox opens the database link when it starts its epoch."""
    randomness = SystemRandomness()
    dsn = config.database.dsn(f"qerds_{stage}")
    link = Link(dsn, LeaseLost)
    keys = PostgresKeys(link.call, config.bridge.public_dir / ANCHOR_FILE, recorder)
    bridge = SocketBridge.at(config.bridge.socket_dir, stage)
    mailer = RelayMailer(config.mail)
    clock = SystemClock()
    objects = objects_of(config, stage)
    if stage in STORING:
        await verify_objects(objects, recorder)
    async with HttpCourier.open(clock, config.webhooks.loopback_http) as courier:
        try:
            yield Adapters(
                mailbox=PostgresMailbox(dsn, link, stage, version(), randomness, recorder),
                facts=PostgresFacts(link, keys, config.provider),
                draws=PostgresDraws(link),
                consents=PostgresConsentFacts(link),
                exports=PostgresExportFacts(link, config.provider),
                keys=keys,
                bridge=bridge,
                authority=MeasuredAuthority(bridge, OWN_AUTHORITY, recorder),
                objects=MeasuredObjects(objects, recorder),
                relay=GuardedRelay(MeasuredMailer(mailer, config.mail.host, recorder), recorder),
                webhooks=PostgresWebhookFacts(link),
                courier=courier,
                clock=clock,
                ids=randomness,
                randomness=randomness,
            )
        finally:
            await mailer.aclose()
            await bridge.aclose()


def connect_sequencer(config: Config) -> tuple[PostgresEventLog, SystemRandomness]:
    """What the sequencer of events needs; its session is opened when it stands for election."""
    return PostgresEventLog(config.database.dsn("qerds_events")), SystemRandomness()


@asynccontextmanager
async def connect_garbage(config: Config) -> AsyncIterator[PostgresGarbage]:
    """What the janitor of an `archive` process needs, on a connection of its own."""
    database = Database(config.database.dsn("qerds_archive"), connections_max=1)
    try:
        yield PostgresGarbage(database)
    finally:
        await database.close()


def connect_watch(config: Config) -> tuple[PostgresWatch, LocalVolumes, SystemRandomness]:
    """What the measurer needs, likewise."""
    folders = {"bridge": config.bridge.data_dir}
    if isinstance(config.objects.place, Path):
        folders["objects"] = config.objects.place
    return PostgresWatch(config.database.dsn("qerds_ops")), LocalVolumes(folders), SystemRandomness()


@dataclass(frozen=True, slots=True)
class GatewayAdapters:
    """Everything the gateway's faces may be given; each takes what its own ports name."""

    config: Config
    senders: PostgresSenderStore
    sandbox: PostgresSandboxClock | None
    batches: PostgresBatchStore
    consents: PostgresConsentStore
    portal: PostgresPortalStore
    exports: PostgresExportStore
    events: PostgresEventStore
    objects: MeasuredObjects
    bridge: SocketBridge
    keys: PostgresKeys
    identity: Mapping[str, HttpBackChannel]
    checker: CheckingProcesses
    clock: SystemClock
    ids: SystemRandomness
    recorder: Recorder


@asynccontextmanager
async def connect_gateway(config: Config, recorder: Recorder) -> AsyncIterator[GatewayAdapters]:
    """The adapters of one gateway. Connections are opened on demand."""
    objects = objects_of(config, GATEWAY)
    await verify_objects(objects, recorder)
    database = database_of(config, "qerds_gateway")
    keys = keys_of(config, database, recorder)
    bridge = SocketBridge.at(config.bridge.socket_dir, "gateway")
    identity = {name: HttpBackChannel(provider) for name, provider in config.identity.providers.items()}
    checker = CheckingProcesses()
    try:
        async with database.ringing():
            yield GatewayAdapters(
                config=config,
                senders=PostgresSenderStore(database),
                sandbox=PostgresSandboxClock(database) if config.embedded else None,
                batches=PostgresBatchStore(database),
                consents=PostgresConsentStore(database),
                portal=PostgresPortalStore(database, keys, config.provider),
                exports=PostgresExportStore(database),
                events=PostgresEventStore(database),
                objects=MeasuredObjects(objects, recorder),
                bridge=bridge,
                keys=keys,
                identity=identity,
                checker=checker,
                clock=SystemClock(),
                ids=SystemRandomness(),
                recorder=recorder,
            )
    finally:
        await checker.aclose()
        for back_channel in identity.values():
            await back_channel.close()
        await bridge.aclose()
        await database.close()


def database_of(config: Config, role: str, answer_seconds: float = GUARD_SECONDS) -> Database:
    """A few connections under one role, for the gateway and for verbs."""
    return Database(config.database.dsn(role), answer_seconds=answer_seconds)


def keys_of(config: Config, database: Database, recorder: Recorder | None = None) -> PostgresKeys:
    """The published keys, read through `database`."""
    return PostgresKeys(database.fetch, config.bridge.public_dir / ANCHOR_FILE, recorder)


def ids() -> SystemRandomness:
    """Identifiers and random bytes, for verbs."""
    return SystemRandomness()


def recorder_of(config: Config, process: str) -> Recorder:
    """Its measures tell which configuration it runs with."""
    recorder = Recorder(process)
    recorder.config_version = config.config_version
    return recorder


@dataclass(frozen=True, slots=True)
class Settings:
    """What stages print or demand."""

    minimum_level: AssuranceLevel
    letterhead: Letterhead
    mode: Mode
    config_version: str


def settings_of(config: Config) -> Settings:
    """From the one configuration."""
    head = Letterhead(config.provider.name, config.mode, config.mail.from_address, config.gateway.public_url)
    return Settings(config.identity.minimum_level, head, config.mode, config.config_version)
