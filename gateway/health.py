"""/healthz, /readyz, /metrics: is this process alive, can it take requests, what has it counted.

Owns     readiness: PostgreSQL and the object store, nothing else. A bridge, a relay or a stage that is away does not
         make the gateway refuse letters: their work waits in the outboxes
Rules    health never asks anything outside, so that a stalled disk or database cannot make a live process look dead
"""

from collections.abc import Callable
from typing import Protocol

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.addresses import Address, Row
from gateway.limits import REQUEST_SECONDS
from pipeline.errors import Transient
from pipeline.process.exposition import CONTENT_TYPE, exposition
from pipeline.process.recorder import Recorder

READY_SECONDS = 3.0  # a balancer asks every few seconds


class Checked(Protocol):
    """Something outside that may be away."""

    async def check(self) -> None:
        """Raises Transient when it cannot be used now."""


class HealthPorts(Protocol):
    """What has to be there before a request can be taken, and what was counted."""

    @property
    def senders(self) -> Checked: ...
    @property
    def objects(self) -> Checked: ...
    @property
    def recorder(self) -> Recorder: ...


class Health:
    """Three small answers."""

    def __init__(self, ports: HealthPorts, draining: Callable[[], bool]) -> None:
        self._ports = ports
        self._draining = draining

    async def live(self, request: Request) -> Response:
        """GET /healthz."""
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """GET /readyz."""
        if self._draining():
            return PlainTextResponse("draining\n", 503)
        try:
            with anyio.fail_after(READY_SECONDS):
                await self._ports.senders.check()
                await self._ports.objects.check()
        except (Transient, TimeoutError):
            return PlainTextResponse("not ready\n", 503)
        return PlainTextResponse("ready\n")

    async def metrics(self, request: Request) -> Response:
        """GET /metrics (Prometheus text format)."""
        return Response(exposition(self._ports.recorder), media_type=CONTENT_TYPE)


def routes(ports: HealthPorts, draining: Callable[[], bool]) -> list[Row]:
    """To be mounted at the root."""
    health = Health(ports, draining)
    return [
        Address("GET", "/healthz", health.live, REQUEST_SECONDS),
        Address("GET", "/readyz", health.ready, REQUEST_SECONDS),
        Address("GET", "/metrics", health.metrics, REQUEST_SECONDS),
    ]
