"""The bridge's sockets: one per caller kind, the peer's OS user checked by the kernel, frames in and out.

Owns     listening, who may connect, flow control per connection, the end of a connection and of the server
Rules    a peer that speaks another protocol, or does not read its answers, loses its connection and nothing else; a
         connection with many unanswered requests is not read further; stopping answers what was taken on, then closes
Elsewhere: what a request does (service)
"""

import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream

from hsm_bridge import wire
from hsm_bridge.service import Peer, Service
from hsm_bridge.wire import Caller

CONNECTIONS_MAX = 64  # per caller kind
UNANSWERED_MAX = 16  # requests per connection
RECEIVE_BYTES = 64 * 1024
SEND_SECONDS_MAX = 5  # a reader slower than this is gone
OWN_GROUP_MODE = 0o660
EVERY_USER_MODE = 0o666  # when another user may connect: the list of users decides, not the file
CREDENTIALS = struct.Struct("3i")  # struct ucred of SO_PEERCRED: pid, uid, gid


class Server:
    """All listeners of one bridge."""

    def __init__(self, service: Service, socket_dir: Path, allowed_uids: Mapping[Caller, tuple[int, ...]]) -> None:
        self._service = service
        self._socket_dir = socket_dir
        self._allowed_uids = allowed_uids
        self._reading: set[anyio.CancelScope] = set()
        self._open: dict[Caller, int] = dict.fromkeys(wire.CALLERS, 0)
        self._stopping = False

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serves until stop(), then returns when all that was taken on is answered. Signals when it listens."""
        self._socket_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        async with anyio.create_task_group() as tasks:
            for caller in wire.CALLERS:
                listener = await self._listen(caller)
                tasks.start_soon(self._accept, caller, listener)
            task_status.started()

    def stop(self) -> None:
        """No new connection, no new request; those taken on are answered."""
        self._stopping = True
        for scope in self._reading:
            scope.cancel()

    async def _listen(self, caller: Caller) -> SocketListener:
        path = self._socket_dir / f"{caller}.sock"
        path.unlink(missing_ok=True)  # of an earlier life; anyio would do it only for a socket nobody serves
        others = set(self._uids(caller)) - {os.geteuid()}
        return await anyio.create_unix_listener(path, mode=EVERY_USER_MODE if others else OWN_GROUP_MODE)

    def _uids(self, caller: Caller) -> tuple[int, ...]:
        return self._allowed_uids.get(caller, (os.geteuid(),))

    async def _accept(self, caller: Caller, listener: SocketListener) -> None:
        async def serve(stream: SocketStream) -> None:
            await self._serve(caller, stream)

        async with listener, anyio.create_task_group() as connections:
            with anyio.CancelScope() as accepting:
                self._reading.add(accepting)
                if self._stopping:  # a signal came while the token was opened
                    accepting.cancel()
                await listener.serve(serve, connections)
            self._reading.discard(accepting)

    async def _serve(self, caller: Caller, stream: SocketStream) -> None:
        async with stream:
            peer = credentials(stream)
            if self._stopping or peer.uid not in self._uids(caller) or self._open[caller] >= CONNECTIONS_MAX:
                return
            self._open[caller] += 1
            try:
                await _Connection(self._service, caller, peer, stream).run(self._reading)
            finally:
                self._open[caller] -= 1


class _Connection:
    """One peer. Requests are answered as they finish, in any order; their ids tell which is which."""

    def __init__(self, service: Service, caller: Caller, peer: Peer, stream: SocketStream) -> None:
        self._service = service
        self._caller = caller
        self._peer = peer
        self._stream = stream
        self._sending = anyio.Lock()
        self._room = anyio.Semaphore(UNANSWERED_MAX)

    async def run(self, reading: set[anyio.CancelScope]) -> None:
        """Until the peer goes, breaks the protocol, or the server stops; open requests are answered first."""
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                reading.add(scope)
                try:
                    await self._read(tasks)
                except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass  # the peer went; what it asked for is still done and recorded
                except wire.FrameInvalid:
                    await self._send(wire.Response(id=0, err=wire.BAD_REQUEST))
            reading.discard(scope)

    async def _read(self, tasks: anyio.abc.TaskGroup) -> None:
        buffer = wire.FrameBuffer()
        while True:
            buffer.feed(await self._stream.receive(RECEIVE_BYTES))
            while (body := buffer.next()) is not None:
                request = wire.decode(body, wire.Request)
                await self._room.acquire()
                tasks.start_soon(self._answer, request)

    async def _answer(self, request: wire.Request) -> None:
        try:
            await self._send(await self._service.answer(self._caller, self._peer, request))
        finally:
            self._room.release()

    async def _send(self, response: wire.Response) -> None:
        """A peer that is gone or does not read loses the connection; closing it ends the reading too."""
        body = wire.encode(response)
        if len(body) > wire.FRAME_BYTES_MAX:
            body = wire.encode(wire.Response(id=response.id, err=wire.BAD_REQUEST))
        try:
            with anyio.fail_after(SEND_SECONDS_MAX):
                async with self._sending:
                    await self._stream.send(wire.frame(body))
        except (TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await anyio.aclose_forcefully(self._stream)


def credentials(stream: SocketStream) -> Peer:
    """Process and user at the other end, as they were when it connected."""
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  anyio's, not Django's
    pid, uid, _ = CREDENTIALS.unpack(raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return Peer(pid, uid)
