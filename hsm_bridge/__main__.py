"""The bridge process.    python -m hsm_bridge, with QERDS_CONFIG

Owns     putting the parts together, start and stop: token, keys, self-test, audit, sockets, then READY=1
Rules    exits 3 when it cannot start, 4 when a person has to look at the token or the audit file; SIGTERM answers what
         was taken on and ends, a second one ends at once
Elsewhere: anything else
"""

import contextlib
import os
import signal
import socket
import sys

import anyio
import anyio.to_thread

from hsm_bridge import selftest
from hsm_bridge.audit import Audit, AuditBroken
from hsm_bridge.clock import LegalClock, SystemLegalClock
from hsm_bridge.operations.vault import Vault
from hsm_bridge.publication import ROLE, Publication, PublicationAway
from hsm_bridge.server import Server
from hsm_bridge.service import Service
from hsm_bridge.token import keyring
from hsm_bridge.token.device import KeyMissing, Token, TokenAway, TokenStopped
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import load_from_environment
from pipeline.process import escapes, health
from pipeline.process.health import Health
from pipeline.process.recorder import Recorder

HEALTH_PORT_ENVIRONMENT = "QERDS_HEALTH_PORT"
PUBLISH_RETRY_SECONDS = 2
CANNOT_START, NEEDS_A_PERSON = 3, 4


async def main() -> None:
    """Runs until told to stop."""
    settings = load_from_environment()
    token = Token(settings.token)
    ring = keyring.load(token, settings)
    selftest.run(token, ring)
    crl = keyring.crl_path(settings).read_bytes()
    publication = Publication(settings.database.dsn(ROLE))
    legal_clock: LegalClock = publication if settings.embedded else SystemLegalClock()
    audit = Audit.open(settings.bridge.data_dir / "audit.jsonl")
    recorder = Recorder("hsm_bridge")
    recorder.config_version = settings.config_version
    service = Service(Vault(token, ring, settings, crl), audit, legal_clock, recorder)
    server = Server(service, settings.bridge.socket_dir, settings.bridge.allowed_uids)
    try:
        await _serve(service, server, publication)
    finally:
        await publication.close()
        audit.close()
        token.close()


async def _serve(service: Service, server: Server, publication: Publication) -> None:
    to_publish = _Bell()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, server, tasks.cancel_scope)
        if port := os.environ.get(HEALTH_PORT_ENVIRONMENT):
            answers = Health(service.recorder, lambda: server.is_stopping, service.missing)
            tasks.start_soon(health.serve, int(port), answers)
        tasks.start_soon(service.keep_token)
        await tasks.start(_publish, service, publication, to_publish)
        tasks.start_soon(service.keep_crl, to_publish.ring)
        async with anyio.create_task_group() as sockets:
            await sockets.start(server.run)
            _notify("READY=1")
        tasks.cancel_scope.cancel()


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
    """At start and at every ring; the first attempt comes before READY, so that a new installation finds its keys."""
    started = False
    while True:
        try:
            await publication.publish(service.public_keys(), service.documents())
            published = True
        except PublicationAway as error:
            sys.stderr.write(f"bridge: not published yet, trying again: {error}\n")
            published = False
        if not started:
            task_status.started()
            started = True
        if published:
            await to_publish.wait()
        else:
            await anyio.sleep(PUBLISH_RETRY_SECONDS)


async def _stop_on_signal(server: Server, everything: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        stopping = False
        async for _ in signals:
            if stopping:
                everything.cancel()
            stopping = True
            _notify("STOPPING=1")
            server.stop()


def _notify(state: str) -> None:
    """sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier, contextlib.suppress(OSError):
        notifier.connect(address)  # a supervisor that went away is no reason to stop serving
        notifier.send(state.encode())


def run() -> int:
    """The exit code, with one line on what is wrong."""
    code = 0
    try:
        anyio.run(main, backend_options={"use_uvloop": True})
    except* (ConfigInvalid, KeyMissing, TokenAway) as group:
        code = _complain(group, CANNOT_START)
    except* (TokenStopped, AuditBroken) as group:
        code = _complain(group, NEEDS_A_PERSON)
    return code


def _complain(error: BaseException, code: int) -> int:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    sys.stderr.write(f"bridge: {error}\n")
    return code


if __name__ == "__main__":
    escapes.watch(Recorder("bridge"))
    sys.exit(run())
