"""`python -m gateway`: serve the HTTP faces until SIGTERM or SIGINT, then drain.

Owns     the server's settings, how long a drain may take, housekeeping
Rules    drain: no new connection; for a moment each answer asks its client to connect anew, so that nobody sends into a
         connection that is being closed; then requests under way may finish; the deadline cuts them. What a cut
         request had not committed was not answered either
Exits    3 the configuration cannot be used; else as pipeline/process/life.py says
Elsewhere: routes (gateway/app.py), adapters (pipeline/connect.py), signals and readiness (pipeline/process/life.py)
"""

import os
import resource
import sys
from collections.abc import Callable

import anyio
import uvicorn

from gateway.app import application
from gateway.callers import Proxies
from gateway.connections import Door
from gateway.faces import Ports
from gateway.framing import HEAD_BYTES_MAX
from gateway.health import missing_of
from gateway.listening import Farewell, bound, inherited, with_little_ahead
from pipeline.connect import connect_gateway, recorder_of
from pipeline.errors import Transient
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import load_from_environment
from pipeline.process import life, serving
from pipeline.process.life import Life
from pipeline.process.recorder import Recorder

FAREWELL_SECONDS = 1.5  # a client in the middle of its work sends again within this
FINISH_SECONDS = 12  # for requests under way then
DRAIN_SECONDS = 14.5  # both together; the supervisor waits 15
KEEP_ALIVE_SECONDS = 20
BACKLOG_MAX = 4096  # connections that wait to be accepted: a flood of them keeps nobody waiting for a second SYN
PARSED_BYTES_MAX = 2 * HEAD_BYTES_MAX  # the parser's own limit of a head is never reached: framing.py is before it
HOUSEKEEPING_SECONDS = 3600
UNFINISHED_SECONDS = 24 * 3600  # no upload is under way for so long


async def work(own: Life) -> None:
    """Until it has drained."""
    config = load_from_environment()
    _raise_file_limit()
    recorder = recorder_of(config, "gateway")
    given = inherited(os.environ, os.getpid()) or bound(config.gateway.host, config.gateway.port)
    listener = with_little_ahead(given)
    async with (
        connect_gateway(config, recorder) as ports,
        own.watched(recorder, missing_of(ports)),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_keep_house, ports, recorder)
        door = Door(Proxies(config.gateway.proxies or ()), recorder)
        tasks.start_soon(door.watch)
        settings = _settings(ports, own.draining.is_set, door)
        await serving.serve(settings, listener, own.draining, recorder.ready.set, FAREWELL_SECONDS)
        tasks.cancel_scope.cancel()


def _settings(ports: Ports, draining: Callable[[], bool], door: Door) -> uvicorn.Config:
    return uvicorn.Config(
        Farewell(application(ports, draining), draining),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="error",  # what strangers send wrong is counted, not logged
        access_log=False,  # paths hold claim tokens and numbers
        proxy_headers=False,
        server_header=False,
        http=door.protocol(),
        backlog=BACKLOG_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
        h11_max_incomplete_event_size=PARSED_BYTES_MAX,
    )


def _raise_file_limit() -> None:
    """As far as the system lets: the usual soft limit is one that a flood of connections reaches."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
    sys.exit(life.run("gateway", work, DRAIN_SECONDS, {ConfigInvalid: life.CANNOT_START}))
