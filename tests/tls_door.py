"""PostgreSQL's TLS on 127.0.0.1, in front of a test's server: the wheel that it comes from was built without TLS.

Owns     SSLRequest and its answer, the handshake, and passing bytes on to the server's socket
Rules    who does not ask for TLS gets no further, so a session that the server has came through a handshake
"""

import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import anyio
import anyio.abc
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipeline.formats.configuration import DatabaseSettings
from tests.fakes.pki import Signer

SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL protocol, "SSLRequest": length 8, code 80877103
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError, ssl.SSLError)


@dataclass(slots=True)
class Door:
    """Open on this port of 127.0.0.1; `knocks` asked for TLS, `handshakes` of them got it."""

    port: int
    knocks: int = 0
    handshakes: int = 0


@contextmanager
def open_door(database: DatabaseSettings, server: Signer | None) -> Iterator[Door]:
    """A door with the certificate of `server`; None: it declines TLS, as a server does that has none."""
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(_door(database, server)) as door:
        yield door


@asynccontextmanager
async def _door(database: DatabaseSettings, server: Signer | None) -> AsyncIterator[Door]:
    context = None if server is None else context_of(server)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    door = Door(listener.extra(anyio.abc.SocketAttribute.local_port))

    async def exchange(stream: anyio.abc.SocketStream) -> None:
        with suppress(*GONE):
            async with stream:
                await _let_in(stream, door, context, f"{database.socket_dir}/.s.PGSQL.{database.port}")

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, exchange)
        yield door
        tasks.cancel_scope.cancel()


def context_of(server: Signer) -> ssl.SSLContext:
    """Its certificate and key; the standard library takes them from a file only."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile() as file:
        file.write(server.pem + server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def _let_in(stream: anyio.abc.SocketStream, door: Door, context: ssl.SSLContext | None, server: str) -> None:
    """One session, until either side ends it."""
    if await BufferedByteReceiveStream(stream).receive_exactly(len(SSL_REQUEST)) != SSL_REQUEST:
        return
    door.knocks += 1
    await stream.send(b"N" if context is None else b"S")
    if context is None:
        return
    client = await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)
    door.handshakes += 1
    async with await anyio.connect_unix(server) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(_pass_on, client, session, tasks.cancel_scope.cancel)
        tasks.start_soon(_pass_on, session, client, tasks.cancel_scope.cancel)


async def _pass_on(source: anyio.abc.ByteStream, target: anyio.abc.ByteStream, ended: Callable[[], None]) -> None:
    with suppress(*GONE):
        while True:
            await target.send(await source.receive())
    ended()
