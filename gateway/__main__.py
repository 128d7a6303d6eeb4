"""`python -m gateway`: serve the HTTP faces until SIGTERM or SIGINT, then drain.

Owns     the server and its limits, readiness towards the supervisor, the drain, hourly housekeeping
Rules    drain: no new connection, requests under way may finish; a second signal, or the deadline, ends them. What a cut
         request had not committed was not answered either
Not      here: routes (gateway/app.py), adapters (pipeline/connect.py)
"""

import os
import signal
import socket
import sys

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
HEALTH_PORT = "QERDS_HEALTH_PORT"


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours decide."""

    def install_signal_handlers(self) -> None:
        """Nothing: `_drain_on_signal` listens."""


async def main(config: Config) -> None:
    """Until a signal has been obeyed."""
    recorder = Recorder("gateway")
    async with connect_gateway(config, recorder) as ports, anyio.create_task_group() as tasks:
        server = Server(_settings(ports, lambda: server.should_exit))
        sockets = [_listener(config.gateway.host, config.gateway.port)]
        if health_port := os.environ.get(HEALTH_PORT):
            sockets.append(_listener("127.0.0.1", int(health_port)))
        tasks.start_soon(_drain_on_signal, server)
        tasks.start_soon(_tell_when_ready, server)
        tasks.start_soon(_keep_house, ports, recorder)
        await server._serve(sockets)  # noqa: SLF001  (`serve` would catch signals itself)
        tasks.cancel_scope.cancel()


def _settings(ports: Ports, draining: "object") -> uvicorn.Config:
    raise NotImplementedError


if __name__ == "__main__":
    sys.exit(0)
