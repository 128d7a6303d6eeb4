"""The bridge's sockets: one per caller kind, the peer's OS user checked by the kernel, frames in and out.

Owns     listening, who may connect, flow control per connection, the end of a connection and of the server
Rules    a peer that speaks another protocol, does not read its answers, asks nothing or sends half a frame loses its
         connection and nothing else; a connection with many unanswered requests is not read further; stopping answers
         what was taken on, then closes
         Connections of a caller kind are few, and no process keeps another one out: where there is no room for a new
         one, one of the process that has the most goes, rather one that waits for no answer, the longest. What was
         taken on is answered first; whoever was honest connects anew and asks again (client.py)
Elsewhere: what a request does (service)
"""

import os
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream

from hsm_bridge import clock, frames, wire
from hsm_bridge.service import Peer, Service
from hsm_bridge.wire import Caller

CONNECTIONS_MAX = 64  # per caller kind
UNANSWERED_MAX = 16  # requests per connection
RECEIVE_BYTES = 64 * 1024
SEND_SECONDS_MAX = 5  # a reader slower than this is gone
FRAME_SECONDS_MAX = 5  # from the connection to the end of the first frame; of others, from their first byte
ACCEPT_PAUSE_SECONDS = 0.1  # where no descriptor is free
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
        self._open: dict[Caller, list[_Connection]] = {caller: [] for caller in wire.CALLERS}
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
                while True:
                    try:
                        await listener.serve(serve, connections)
                    except anyio.BrokenResourceError:  # too many files, or a peer that went before it was accepted
                        await anyio.sleep(ACCEPT_PAUSE_SECONDS)
            self._reading.discard(accepting)

    async def _serve(self, caller: Caller, stream: SocketStream) -> None:
        async with stream:
            peer = credentials(stream)
            if self._stopping or peer.uid not in self._uids(caller) or not self._has_room(caller, peer):
                return
            connection = _Connection(self._service, caller, peer, stream)
            self._open[caller].append(connection)
            try:
                await connection.run(self._reading)
            finally:
                self._open[caller].remove(connection)

    def _has_room(self, caller: Caller, newcomer: Peer) -> bool:
        """For one more; makes it where it can."""
        present = [connection for connection in self._open[caller] if not connection.is_leaving]
        if len(present) < CONNECTIONS_MAX:
            return True
        share = Counter(connection.peer.pid for connection in present)
        leaver = max(present, key=lambda each: (share[each.peer.pid], each.is_idle, -each.idle_since))
        if not leaver.is_idle and share[leaver.peer.pid] <= share[newcomer.pid] + 1:
            idle = [connection for connection in present if connection.is_idle]
            if not idle:
                return False
            leaver = min(idle, key=lambda each: each.idle_since)
        leaver.leave()
        return True


class _Connection:
    """One peer. Requests are answered as they finish, in any order; their ids tell which is which."""

    def __init__(self, service: Service, caller: Caller, peer: Peer, stream: SocketStream) -> None:
        self.peer = peer
        self.idle_since = clock.monotonic_seconds()
        self.is_leaving = False
        self._service = service
        self._caller = caller
        self._stream = stream
        self._sending = anyio.Lock()
        self._room = anyio.Semaphore(UNANSWERED_MAX)
        self._unanswered = 0
        self._has_asked = False
        self._scope = anyio.CancelScope()

    @property
    def is_idle(self) -> bool:
        """It waits for no answer. Half a frame is nothing yet."""
        return self._unanswered == 0

    def leave(self) -> None:
        """Makes room: nothing more is read of it."""
        self.is_leaving = True
        self._scope.cancel()

    async def run(self, reading: set[anyio.CancelScope]) -> None:
        """Until the peer goes, breaks the protocol, or the server stops; open requests are answered first."""
        async with anyio.create_task_group() as tasks:
            with self._scope:
                reading.add(self._scope)
                try:
                    await self._read(tasks)
                except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass  # the peer went; what it asked for is still done and recorded
                except TimeoutError:
                    pass  # nothing whole came
                except wire.FAULTS:  # FrameInvalid, and whatever else this peer's bytes led to
                    await self._send(wire.Response(id=0, err=wire.BAD_REQUEST))
            self.is_leaving = True
            reading.discard(self._scope)

    async def _read(self, tasks: anyio.abc.TaskGroup) -> None:
        buffer = frames.FrameBuffer()
        while True:
            await self._read_frame_into(buffer)
            while (body := buffer.next()) is not None:
                request = wire.decode(body, wire.Request)
                await self._room.acquire()
                self._unanswered += 1
                tasks.start_soon(self._answer, request)

    async def _read_frame_into(self, buffer: frames.FrameBuffer) -> None:
        """At least one whole frame; raises TimeoutError when it takes too long, and waits for its first byte only where
        one was whole before."""
        if self._has_asked and not buffer.is_begun:
            buffer.feed(await self._stream.receive(RECEIVE_BYTES))
        with anyio.fail_after(FRAME_SECONDS_MAX):
            while not buffer.is_whole:
                buffer.feed(await self._stream.receive(RECEIVE_BYTES))
        self._has_asked = True

    async def _answer(self, request: wire.Request) -> None:
        try:
            await self._send(await self._service.answer(self._caller, self.peer, request))
        except wire.FAULTS:  # of ours, over what this peer asked: it hears so, and others are not concerned
            await self._send(wire.Response(id=request.id, err=wire.BAD_REQUEST))
        finally:
            self._unanswered -= 1
            self.idle_since = clock.monotonic_seconds()
            self._room.release()

    async def _send(self, response: wire.Response) -> None:
        """A peer that is gone or does not read loses the connection; closing it ends the reading too."""
        body = wire.encode(response)
        if len(body) > wire.FRAME_BYTES_MAX:
            body = wire.encode(wire.Response(id=response.id, err=wire.BAD_REQUEST))
        try:
            with anyio.fail_after(SEND_SECONDS_MAX):
                async with self._sending:
                    await self._stream.send(frames.frame(body))
        except (TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await anyio.aclose_forcefully(self._stream)


def credentials(stream: SocketStream) -> Peer:
    """Process and user at the other end, as they were when it connected."""
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  anyio's, not Django's
    pid, uid, _ = CREDENTIALS.unpack(raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return Peer(pid, uid)
