"""Endpoints of senders for tests: real HTTP servers on this machine that answer as a test says, or do not answer."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.abc
import h11


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


@dataclass(frozen=True, slots=True)
class Say:
    """What is answered; hang: nothing is, ever."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False


@dataclass(slots=True)
class Endpoint:
    """A server. `say` may be changed at any time."""

    port: int = 0
    say: Callable[[Received], Say] = lambda _: Say()
    received: list[Received] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, stream: anyio.abc.ByteStream) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        async with stream:
            with anyio.CancelScope():
                while (request := await _read(connection, stream)) is not None:
                    self.received.append(request)
                    said = self.say(request)
                    if said.hang:
                        await anyio.sleep_forever()
                    head = [*said.headers.items(), ("content-length", "0")]
                    answer = h11.Response(status_code=said.status, headers=head)
                    await stream.send((connection.send(answer) or b"") + (connection.send(h11.EndOfMessage()) or b""))
                    if connection.our_state is not h11.DONE:
                        return
                    connection.start_next_cycle()


async def _read(connection: h11.Connection, stream: anyio.abc.ByteStream) -> Received | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return None
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Received(head.target.decode(), headers, body)
        else:
            return None


@asynccontextmanager
async def endpoint(say: Callable[[Received], Say] = lambda _: Say()) -> AsyncIterator[Endpoint]:
    """A server until the block is left."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    server = Endpoint(port, say)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        yield server
        tasks.cancel_scope.cancel()
