"""The client of the bridge, for whoever has a socket of it.

Owns     one connection, its reconnects, pipelining by request id, deadlines
Rules    needs no task of its own: whichever caller waits reads for all, and hands the reading on when it has its
         answer, so cancelling any caller harms no other; every operation may be repeated, so a connection found dead is
         replaced once, silently. Runs on asyncio and on trio
Elsewhere: retries over time, translation into the pipeline's errors (pipeline/adapters/bridge.py)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Never, TypeVar

import anyio
import msgspec
from anyio.abc import ByteStream

from hsm_bridge import frames, wire
from hsm_bridge.errors import BridgeError

DEADLINE_SECONDS = 10.0
GRACE_SECONDS = 1.0  # the bridge says busy at the deadline; this is for the way back
RECEIVE_BYTES = 64 * 1024
CODE = re.compile("[a-z][a-z0-9_]{0,39}")
REQUEST_BYTES_MAX = wire.FRAME_BYTES_MAX - 4096  # room for the head of a request

Answer = TypeVar("Answer", bound=msgspec.Struct)


class BridgeBusy(BridgeError):
    """The bridge has no room now; ask again later."""


class BridgeAway(BridgeError):
    """The bridge, its token or its clock is away; ask again later."""


class BridgeClockAway(BridgeAway):
    """The bridge's clock cannot be read or is apart from the database's; ask again later, it is no fault of an item."""


class BridgeDenied(BridgeError):
    """This caller may not ask this at all, or asks in a form the bridge does not know: a fault of the installation."""


class _Lost(Exception):
    """The connection ended before the answer came."""


@dataclass(slots=True)
class _Waiter:
    """One request on its way."""

    woken: anyio.Event = field(default_factory=anyio.Event)
    response: wire.Response | None = None
    lost: bool = False


@dataclass(slots=True)
class _Connection:
    """One socket and who waits for what on it."""

    stream: ByteStream
    buffer: frames.FrameBuffer = field(default_factory=frames.FrameBuffer)
    sending: anyio.Lock = field(default_factory=anyio.Lock)
    waiters: dict[int, _Waiter] = field(default_factory=dict)
    has_reader: bool = False
    alive: bool = True


class BridgeClient:
    """Asks over one socket. Raises BridgeBusy and BridgeAway, after which the same call may be repeated, and
    BridgeDenied."""

    def __init__(self, socket_path: Path, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._path = socket_path
        self._deadline_seconds = deadline_seconds
        self._connection: _Connection | None = None
        self._connecting = anyio.Lock()
        self._last_id = 0

    async def aclose(self) -> None:
        """Ends the connection; a later call makes a new one."""
        if self._connection is not None:
            await self._end(self._connection)

    async def ask(self, items: Sequence[wire.Item[Answer, Never]]) -> list[Answer | wire.Denied]:
        """One answer or Denied per item, in order; no items, no call. What is too much for one frame is split, and the
        parts are asked one after the other. ValueError: items of more than one operation."""
        kinds = {type(item) for item in items}
        if len(kinds) > 1:
            raise ValueError("one call asks one operation")
        answers: list[Answer | wire.Denied] = []
        for kind in kinds:
            for part in split([wire.encode(item) for item in items]):
                answers += await self._asked(kind, part)
        return answers

    async def _asked(self, kind: wire.ItemType, items: list[bytes]) -> list[Any]:
        response = await self.exchange(kind.op, items)
        if response.err is not None:
            raise _error(response.err, kind.op)
        results = response.results or []
        if len(results) != len(items):
            raise BridgeAway(f"{kind.op} answered {len(results)} of {len(items)} items")
        return [_read(result, kind.answer) for result in results]

    async def exchange(self, op: str, items: list[bytes]) -> wire.Response:
        """One request and its response; raises BridgeAway. The one method that a stand-in replaces."""
        try:
            with anyio.fail_after(self._deadline_seconds + GRACE_SECONDS):
                try:
                    return await self._exchange_once(op, items)
                except _Lost:
                    return await self._exchange_once(op, items)
        except TimeoutError as error:
            raise BridgeAway(f"{op}: no answer in {self._deadline_seconds:g} s") from error
        except (_Lost, OSError) as error:
            raise BridgeAway(f"{op}: the bridge is not there") from error

    async def _exchange_once(self, op: str, items: list[bytes]) -> wire.Response:
        connection = await self._connected()
        self._last_id += 1
        request = wire.Request(
            v=wire.VERSION,
            id=self._last_id,
            op=op,
            items=[msgspec.Raw(item) for item in items],
            deadline_ms=int(self._deadline_seconds * 1000),
        )
        waiter = connection.waiters[request.id] = _Waiter()
        try:
            await self._send(connection, frames.frame(wire.encode(request)))
            return await self._await_answer(connection, waiter)
        finally:
            del connection.waiters[request.id]
            if not connection.has_reader:  # woken to read on, and cancelled before it could: somebody else has to
                _hand_on(connection, waiter)

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.alive:
                self._connection = _Connection(await anyio.connect_unix(str(self._path)))
            return self._connection

    async def _send(self, connection: _Connection, frame: bytes) -> None:
        """A frame that was cancelled half-way leaves a connection that nobody can use."""
        async with connection.sending:
            whole = False
            try:
                await connection.stream.send(frame)
                whole = True
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise _Lost from error
            finally:
                if not whole:
                    await self._end(connection)

    async def _await_answer(self, connection: _Connection, waiter: _Waiter) -> wire.Response:
        """Reads for all while nobody does, else waits to be woken: by the answer, or to take the reading over."""
        while waiter.response is None:
            if waiter.lost or not connection.alive:
                raise _Lost
            if connection.has_reader:
                await waiter.woken.wait()
                waiter.woken = anyio.Event()
                continue
            connection.has_reader = True
            try:
                await self._read_until(connection, waiter)
            finally:
                connection.has_reader = False
                _hand_on(connection, waiter)
        return waiter.response

    async def _read_until(self, connection: _Connection, waiter: _Waiter) -> None:
        try:
            while waiter.response is None:
                while (body := connection.buffer.next()) is not None:
                    response = wire.decode(body, wire.Response)
                    other = connection.waiters.get(response.id)
                    if other is not None:  # None: its caller gave up
                        other.response = response
                        other.woken.set()
                if waiter.response is None:
                    connection.buffer.feed(await connection.stream.receive(RECEIVE_BYTES))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            await self._end(connection)
            raise _Lost from error
        except wire.FrameInvalid as error:
            await self._end(connection)
            raise BridgeAway("the bridge speaks another protocol") from error

    async def _end(self, connection: _Connection) -> None:
        connection.alive = False
        for waiter in connection.waiters.values():
            waiter.lost = True
            waiter.woken.set()
        await anyio.aclose_forcefully(connection.stream)


def split(items: Sequence[bytes]) -> list[list[bytes]]:
    """Groups within the limits of a frame, in order."""
    groups: list[list[bytes]] = []
    room = 0
    for item in items:
        if not groups or len(groups[-1]) >= wire.ITEMS_MAX or len(item) > room:
            groups.append([])
            room = REQUEST_BYTES_MAX
        groups[-1].append(item)
        room -= len(item)
    return groups


def _hand_on(connection: _Connection, done: _Waiter) -> None:
    """Wakes one who still waits, to read on."""
    for waiter in connection.waiters.values():
        if waiter is not done and waiter.response is None:
            waiter.woken.set()
            return


def _read(result: wire.ItemResult, kind: type[Answer]) -> Answer | wire.Denied:
    if isinstance(result.ok, msgspec.UnsetType):
        return wire.Denied(_word(result.err), result.detail)
    try:
        return wire.decode(result.ok, kind)
    except wire.FrameInvalid as error:
        raise BridgeAway("the bridge speaks another protocol") from error


def _error(code: str, op: str) -> BridgeError:
    if code == wire.BUSY:
        return BridgeBusy(f"{op}: the bridge has no room now")
    if code in (wire.DENIED, wire.BAD_REQUEST):
        return BridgeDenied(f"{op}: {code}")
    kind = BridgeClockAway if code == wire.CLOCK_AWAY else BridgeAway
    return kind(f"{op}: {_word(code)}")


def _word(code: str | None) -> str:
    """A code as it came: it will stand in logs, so it is a word or nothing that we know."""
    return code if code is not None and CODE.fullmatch(code) else "unknown"
