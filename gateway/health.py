"""/healthz and /readyz on the gateway's own address: the answers of any process (pipeline/process/health.py).

Owns     readiness: PostgreSQL and the object store, nothing else. A bridge, a relay or a stage that is away does not
         make the gateway refuse letters: their work waits in the outboxes
Rules    what strangers ask here writes nothing
Elsewhere: /metrics, which is for the operator: on the health port of every process, the gateway's too
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from starlette.requests import Request
from starlette.responses import Response

from gateway.addresses import Address, Row
from gateway.limits import REQUEST_SECONDS
from pipeline.errors import Transient
from pipeline.process.exposition import CONTENT_TYPE
from pipeline.process.health import PUBLIC_PATHS, Health
from pipeline.process.recorder import Recorder

READY_SECONDS = 3.0  # a balancer asks every few seconds


class Dependency(Protocol):
    """Something outside that may be away."""

    async def check(self) -> None:
        """Raises Transient when it cannot be used now."""


class HealthPorts(Protocol):
    """What has to be there before a request can be taken, and what was counted."""

    @property
    def senders(self) -> Dependency: ...
    @property
    def objects(self) -> Dependency: ...
    @property
    def recorder(self) -> Recorder: ...


def missing_of(ports: HealthPorts) -> Callable[[], Awaitable[str]]:
    """What a gateway over these ports lacks to take requests."""

    async def missing() -> str:
        try:
            with anyio.fail_after(READY_SECONDS):
                await ports.senders.check()
                await ports.objects.check()
        except (Transient, TimeoutError):
            return "not ready"
        return ""

    return missing


def routes(ports: HealthPorts, is_draining: Callable[[], bool]) -> list[Row]:
    """To be mounted at the root."""
    health = Health(ports.recorder, is_draining, missing_of(ports))

    async def answer(request: Request) -> Response:
        reply = await health.answer(request.url.path)
        return Response(reply.text, reply.status, media_type=CONTENT_TYPE)

    return [Address("GET", path, answer, REQUEST_SECONDS) for path in PUBLIC_PATHS]
