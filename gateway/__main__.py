"""`python -m gateway`: serve the HTTP faces until SIGTERM or SIGINT, then drain.

Owns     the server and its limits, readiness towards the supervisor, the drain, housekeeping
Rules    drain: no new connection, requests under way may finish; the deadline cuts them, a second signal kills. What a
         cut request had not committed was not answered either
Not      here: routes (gateway/app.py), adapters (pipeline/connect.py)
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator

import anyio
import uvicorn

from gateway.app import Ports, application
from pipeline import readiness
from pipeline.config import Config, load_from_environment
from pipeline.connect import connect_gateway
from pipeline.errors import Transient
from pipeline.recorder import Recorder

DRAIN_SECONDS = 12  # the supervisor waits 15
KEEP_ALIVE_SECONDS = 20
CONNECTIONS_MAX = 512
BACKLOG_MAX = 512
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
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
    recorder = Recorder("gateway")
    draining = Draining()
    sockets = [_listener(config.gateway.host, config.gateway.port)]
    if health_port := os.environ.get(HEALTH_PORT):
        sockets.append(_listener("127.0.0.1", int(health_port)))
    async with connect_gateway(config, recorder) as ports, anyio.create_task_group() as tasks:
        server = Server(_settings(ports, draining))
        tasks.start_soon(_drain_on_signal, server, draining)
        tasks.start_soon(_keep_house, ports, recorder)
        await server.serve(sockets)
        tasks.cancel_scope.cancel()


def _settings(ports: Ports, draining: Draining) -> uvicorn.Config:
    return uvicorn.Config(
        application(ports, draining),
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


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG_MAX)
    return listener


async def _drain_on_signal(server: Server, draining: Draining) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            readiness.notify("STOPPING=1")
            draining.begun = server.should_exit = True
            return  # the default handlers are back: a second signal kills


async def _keep_house(ports: Ports, recorder: Recorder) -> None:
    """Deletes what has run out, and what dead writers left. What is away now will be there in an hour."""
    while True:
        try:
            await ports.senders.forget_expired()
            await ports.objects.remove_unfinished(UNFINISHED_SECONDS)
        except Transient as error:
            recorder.error("housekeeping", error)
        await anyio.sleep(HOUSEKEEPING_SECONDS)


if __name__ == "__main__":
    anyio.run(main, load_from_environment(), backend_options={"use_uvloop": True})
    sys.exit(0)
