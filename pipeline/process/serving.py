"""An HTTP application as the work of a process: uvicorn, without the life that it would lead by itself.

Owns     that signals are left to life.py, that readiness is told when the listeners are there, and the leave: no new
         connection; `farewell_seconds` in which answers can tell clients to connect anew; then requests under way may
         finish, for as long as the settings say
Elsewhere: what is answered; the settings
"""

import contextlib
import socket
from collections.abc import Callable, Iterator

import anyio
import uvicorn


class _Server(uvicorn.Server):
    """Its own handlers would re-raise the signal after a drain that went well."""

    def __init__(self, settings: uvicorn.Config, listening: Callable[[], object]) -> None:
        super().__init__(settings)
        self._listening = listening

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says when connections are accepted."""
        await super().startup(sockets)
        self._listening()


async def serve(
    settings: uvicorn.Config,
    listener: socket.socket,
    draining: anyio.Event,
    listening: Callable[[], object],
    farewell_seconds: float = 0.0,
) -> None:
    """Until `draining`, and what was under way then is answered or has had its time."""
    accepting = anyio.Event()

    def listens() -> None:
        accepting.set()
        listening()

    server = _Server(settings, listens)

    async def leave() -> None:
        await accepting.wait()
        await draining.wait()
        for endpoint in server.servers:
            endpoint.close()
        await anyio.sleep(farewell_seconds)
        server.should_exit = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave)
        await server.serve([listener])
        tasks.cancel_scope.cancel()
