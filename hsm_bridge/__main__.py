"""The bridge process.    python -m hsm_bridge, with QERDS_CONFIG

Owns     putting the parts together, start and stop: token, keys, self-test, audit, sockets, then READY=1
Rules    a drain answers what was taken on and ends
Exits    3 when it cannot start, 4 when a person has to look at the token or the audit file; else as
         pipeline/process/life.py says
Elsewhere: anything else
"""

import sys

import anyio
import anyio.to_thread

from hsm_bridge import selftest
from hsm_bridge.audit import HEAD_SECONDS, Audit, AuditBroken
from hsm_bridge.clock import LegalClock, SystemLegalClock
from hsm_bridge.operations.vault import Vault
from hsm_bridge.publication import ROLE, Publication, PublicationAway
from hsm_bridge.server import Server
from hsm_bridge.service import Service
from hsm_bridge.token import keyring
from hsm_bridge.token.device import KeyMissing, Token, TokenAway, TokenStopped
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import load_from_environment
from pipeline.process import life
from pipeline.process.life import CANNOT_START, Life
from pipeline.process.measures import BRIDGE_CLOCK_OFFSET
from pipeline.process.recorder import Recorder

PUBLISH_RETRY_SECONDS = 2
HEADS_AT_ONCE = 500  # told to the database by one statement: after a start, those of the whole file
STATE_AGAIN_SECONDS = 86_400  # a statement lives for two weeks
COMPARE_SECONDS = 5.0  # a step of this host's clock is seen at once, of the database's after so long
DRAIN_SECONDS = 9.0  # for what was taken on; the supervisor waits 10
NEEDS_A_PERSON = 4
ENDS = {
    ConfigInvalid: CANNOT_START,
    KeyMissing: CANNOT_START,
    TokenAway: CANNOT_START,
    TokenStopped: NEEDS_A_PERSON,
    AuditBroken: NEEDS_A_PERSON,
}


async def work(own: Life) -> None:
    """Until it has drained."""
    settings = load_from_environment()
    token = Token(settings.token)
    ring = keyring.load(token, settings)
    selftest.run(token, ring)
    crl = keyring.crl_path(settings).read_bytes()
    publication = Publication(settings.database.dsn(ROLE))
    legal_clock: LegalClock = publication if settings.embedded else SystemLegalClock(publication.comparison)
    audit = Audit.open(settings.bridge.data_dir / "audit.jsonl", mac=token.mac)
    recorder = Recorder("hsm_bridge")
    recorder.config_version = settings.config_version
    service = Service(Vault(token, ring, settings, crl), audit, legal_clock, recorder)
    server = Server(service, settings.bridge.socket_dir, settings.bridge.allowed_uids)
    try:
        async with own.watched(recorder, service.missing):
            await _serve(service, server, publication, own.draining)
    finally:
        await publication.close()
        audit.close()
        token.close()


async def _serve(service: Service, server: Server, publication: Publication, draining: anyio.Event) -> None:
    to_publish = _Bell()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_when_draining, server, draining)
        tasks.start_soon(service.keep_token)
        await tasks.start(_publish, service, publication, to_publish)
        await tasks.start(_watch_clock, service, publication)
        tasks.start_soon(service.keep_crl, to_publish.ring)
        tasks.start_soon(_anchor, service, publication)
        tasks.start_soon(service.keep_issuer_keys, to_publish.ring)
        async with anyio.create_task_group() as sockets:
            await sockets.start(server.run)
            service.recorder.ready.set()
        tasks.cancel_scope.cancel()


async def _stop_when_draining(server: Server, draining: anyio.Event) -> None:
    await draining.wait()
    server.stop()


class _Bell:
    """A flag that a waiter takes down."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event = anyio.Event()


async def _publish(
    service: Service,
    publication: Publication,
    to_publish: _Bell,
    *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """At start, at every ring and once a day; the first attempt comes before READY, for a new installation."""
    started = False
    while True:
        try:
            await publication.compare()  # nothing is signed, nor written down, that nobody can be told now
            statement = await service.statement()
            await publication.publish(service.public_keys(), service.documents(), statement)
            published = True
        except (PublicationAway, TokenAway, KeyMissing) as error:
            sys.stderr.write(f"bridge: not published yet, trying again: {error}\n")
            published = False
        if not started:
            task_status.started()
            started = True
        if published:
            with anyio.move_on_after(STATE_AGAIN_SECONDS):
                await to_publish.wait()
        else:
            await anyio.sleep(PUBLISH_RETRY_SECONDS)


async def _anchor(service: Service, publication: Publication) -> None:
    """For ever: each HEAD_SECONDS of use a head of the record, in it and in the database."""
    while True:
        await service.vouch()
        try:
            while heads := service.heads(HEADS_AT_ONCE):
                await publication.anchor(heads)
                service.anchored(heads)
        except PublicationAway as error:
            sys.stderr.write(f"bridge: the record is not anchored yet, trying again: {error}\n")
        await anyio.sleep(HEAD_SECONDS)


async def _watch_clock(
    service: Service, publication: Publication, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """For ever: this host's clock beside the database's. The first comparison, or its failure, comes before READY."""
    started = False
    while True:
        try:
            reading, _ = await publication.compare()
            service.recorder.set(BRIDGE_CLOCK_OFFSET, reading.offset_seconds)
        except PublicationAway as error:
            sys.stderr.write(f"bridge: clocks not compared, trying again: {error}\n")
        if not started:
            task_status.started()
            started = True
        await anyio.sleep(COMPARE_SECONDS)


if __name__ == "__main__":
    sys.exit(life.run("hsm_bridge", work, DRAIN_SECONDS, ENDS))
