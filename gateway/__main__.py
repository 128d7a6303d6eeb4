"""`python -m gateway`: serve the HTTP faces until SIGTERM or SIGINT, then drain.

Owns     the server and its limits, readiness towards the supervisor, the drain, housekeeping
Rules    drain: no new connection; for a moment each answer asks its client to connect anew, so that nobody sends into a
         connection that is being closed; then requests under way may finish; the deadline cuts them, a second signal
         kills. What a cut request had not committed was not answered either
Elsewhere: routes (gateway/app.py), adapters (pipeline/connect.py)
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from socket import socket

import anyio
import uvicorn

from gateway.app import application
from gateway.faces import Ports
from gateway.listening import HOST, Farewell, bound, inherited
from pipeline.connect import connect_gateway, recorder_of
from pipeline.errors import Transient
from pipeline.formats.configuration import Config, load_from_environment
from pipeline.process import escapes, readiness
from pipeline.process.recorder import Recorder

FAREWELL_SECONDS = 1.5  # a client in the middle of its work sends again within this
DRAIN_SECONDS = 12  # both together: the supervisor waits 15
KEEP_ALIVE_SECONDS = 20
CONNECTIONS_MAX = 512
HEAD_BYTES_MAX = 64 * 1024  # request line and headers
HOUSEKEEPING_SECONDS = 3600
UNFINISHED_SECONDS = 24 * 3600  # no upload is under way for so long
HEALTH_PORT = "QERDS_HEALTH_PORT"


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which would re-raise the signal after a drain that went well."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none: `_drain_on_signal` listens."""
        yield

    async def startup(self, sockets: "list[socket] | None" = None) -> None:
        """Ready when the listeners are."""
        await super().startup(sockets)
        readiness.notify("READY=1")


class Draining:
    """Whether the drain has begun; set by the signal, asked by /readyz."""

    def __init__(self) -> None:
        self.begun = False

    def __call__(self) -> bool:
        return self.begun


async def main(config: Config) -> None:
    """Until a signal has been obeyed."""
    recorder = recorder_of(config, "gateway")
    draining = Draining()
    sockets = [inherited(os.environ, os.getpid()) or bound(config.gateway.host, config.gateway.port)]
    if health_port := os.environ.get(HEALTH_PORT):
        sockets.append(bound(HOST, int(health_port), shared=True))
    async with connect_gateway(config, recorder) as ports, anyio.create_task_group() as tasks:
        server = Server(_settings(ports, draining))
        tasks.start_soon(_drain_on_signal, server, draining)
        tasks.start_soon(_keep_house, ports, recorder)
        await server.serve(sockets)
        tasks.cancel_scope.cancel()


def _settings(ports: Ports, draining: Draining) -> uvicorn.Config:
    return uvicorn.Config(
        Farewell(application(ports, draining), draining),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,  # paths hold claim tokens and numbers
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
    )


async def _drain_on_signal(server: Server, draining: Draining) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            readiness.notify("STOPPING=1")
            draining.begun = True
            for listener in server.servers:
                listener.close()
            await anyio.sleep(FAREWELL_SECONDS)
            server.should_exit = True
            return  # the default handlers are back: a second signal kills


async def _keep_house(ports: Ports, recorder: Recorder) -> None:
    """Deletes what has run out, and what dead writers left. What is away now will be there in an hour."""
    while True:
        try:
            await ports.senders.forget_expired()
            await ports.batches.forget_expired()
            await ports.objects.remove_unfinished(UNFINISHED_SECONDS)
        except Transient as error:
            recorder.error("housekeeping", error)
        await anyio.sleep(HOUSEKEEPING_SECONDS)


if __name__ == "__main__":
    escapes.watch(Recorder("gateway"))
    anyio.run(main, load_from_environment(), backend_options={"use_uvloop": True})
    sys.exit(0)
