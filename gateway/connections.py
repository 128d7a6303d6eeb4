"""The gateway's connections: how many, whose, and how long each may take for what it is doing.

Owns     who gets in when there is little room; the deadlines of heads, the least rates of bodies and answers; what a
         client hears whose connection ends before the application knows of it
Rules    a connection is bounded by what it is doing; none costs a timer of its own, each second all are looked at
         Room is shared by region and prefix of addresses: where it ends, the connection goes that waits longest without
         a request, in the largest region, its largest prefix first; the largest makes room for others and never the
         other way round. Connections of named proxies are nobody's: their clients have shares by request
         What an application hears of a connection that ends here is what it hears of any client that went
Elsewhere: framing of requests (framing.py), shares of what is scarce behind this (places.py), deadlines of requests
         (addresses.py)
Source   RFC 9112 sections 9.5 and 9.6
"""

import asyncio  # noqa: TID251  what uvicorn calls is asyncio's
import time
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import anyio
import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.callers import Caller, Proxies, caller_of_peer
from gateway.framing import Framing, FramingRefused
from pipeline.process.measures import CONNECTIONS_ENDED
from pipeline.process.recorder import Recorder

CONNECTIONS_MAX = 1024
HEAD_SECONDS_MAX = 10  # to the first byte and to the end of the head; of a later request, from its first byte
RATE_SECONDS = 20  # a train passes a tunnel within
RATE_BYTES_MIN = 2048  # a second, of a body that comes or an answer that goes: GPRS has ten times as much
LINGER_SECONDS_MAX = 5  # for what is left to be sent, once all is said
PASS_OVER_SECONDS_MAX = 30  # for the rest of a body whose answer is out: many clients read it only then
PASS_OVER_BYTES_MAX = 128 * 1024 * 1024
LOOK_SECONDS = 1.0
BUSY_SECONDS = 5  # when somebody who found no room may try again
PROXY = Caller("proxy", "proxy")
ROOM_MADE = 32  # at once, where there are so many: looking for them costs as much as for one
GIVEN = 2  # as many times more than the newcomer's a group must have before work of it is broken off


class Doing(Enum):
    """What a connection is doing."""

    RESTING = auto()  # between two requests
    ASKING = auto()  # a head is on its way, or nothing has come yet
    SENDING = auto()  # a body is on its way
    WORKING = auto()  # we are at work
    READING = auto()  # an answer is on its way
    PASSING_OVER = auto()  # the rest of a body whose answer is out
    ENDING = auto()  # all is said


class Door:
    """All connections of the process."""

    def __init__(self, proxies: Proxies, recorder: Recorder, connections_max: int = CONNECTIONS_MAX) -> None:
        self._proxies = proxies
        self._recorder = recorder
        self._connections_max = connections_max
        self._groups: dict[
            str, dict[str, dict[ClientConnection, None]]
        ] = {}  # by region, by prefix, in order of coming
        self._count = 0

    def protocol(self) -> type[asyncio.Protocol]:
        """What uvicorn makes for each connection."""
        door = self

        class _Here(ClientConnection):
            def __init__(
                self,
                config: Config,
                server_state: ServerState,
                app_state: dict[str, Any],
                _loop: asyncio.AbstractEventLoop | None = None,
            ) -> None:
                super().__init__(door, config, server_state, app_state, _loop)

        return _Here

    async def watch(self) -> None:
        """For ever."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """At every connection once. now: time.monotonic()."""
        for connection in [each for group in self._groups.values() for each in _members(group)]:
            if (reason := connection.overdue(now)) is not None:
                self._end(connection, reason)

    def group_of(self, peer: object) -> Caller:
        """Where a connection from this address is counted."""
        return PROXY if self._proxies.is_peer(peer) else caller_of_peer(peer)

    def enter(self, newcomer: "ClientConnection") -> bool:
        """Whether there is room, or could be made."""
        if self._count >= self._connections_max and not self._makes_room(newcomer.caller):
            self._recorder.count(CONNECTIONS_ENDED, "no_room")
            return False
        group = self._groups.setdefault(newcomer.caller.region, {})
        group.setdefault(newcomer.caller.prefix, {})[newcomer] = None
        self._count += 1
        return True

    def leave(self, connection: "ClientConnection") -> None:
        """It is closed. Said again, nothing changes."""
        group = self._groups.get(connection.caller.region, {})
        members = group.get(connection.caller.prefix, {})
        if connection not in members:
            return
        del members[connection]
        self._count -= 1
        if not members:
            del group[connection.caller.prefix]
        if not group:
            del self._groups[connection.caller.region]

    def _makes_room(self, newcomer: Caller) -> bool:
        sizes = {region: sum(map(len, group.values())) for region, group in self._groups.items()}
        sizes.pop(PROXY.region, None)
        if not sizes:
            return False
        region = max(sizes, key=lambda name: sizes[name])
        group = self._groups[region]
        idle = [each for each in _members(group) if each.is_idle]
        if idle:
            idle.sort(key=lambda each: (-len(group[each.caller.prefix]), each.since))
            for each in idle[: min(ROOM_MADE, 1 + len(idle) // 4)]:
                self._end(each, "room_made")
            return True
        prefix = max(group, key=lambda name: len(group[name]))
        if region == newcomer.region:
            is_larger = len(group[prefix]) > GIVEN * (len(group.get(newcomer.prefix, {})) + 1)
        else:
            is_larger = sizes[region] > GIVEN * (sizes.get(newcomer.region, 0) + 1)
        if is_larger:
            self._end(next(iter(group[prefix])), "room_made")
        return is_larger or (region != newcomer.region and self._ends_any_idle())

    def _ends_any_idle(self) -> bool:
        groups = [group for region, group in self._groups.items() if region != PROXY.region]
        idle = [each for group in groups for each in _members(group) if each.is_idle]
        if not idle:
            return False
        self._end(min(idle, key=lambda each: each.since), "room_made")
        return True

    def _end(self, connection: "ClientConnection", reason: str) -> None:
        self._recorder.count(CONNECTIONS_ENDED, reason)
        connection.end(reason)
        if reason == "room_made":
            self.leave(connection)

    def refused(self, status: int) -> None:
        """Counts a connection that did not speak HTTP as it is spoken here."""
        self._recorder.count(CONNECTIONS_ENDED, f"status_{status}")


def _members(group: "dict[str, dict[ClientConnection, None]]") -> "list[ClientConnection]":
    return [each for members in group.values() for each in members]


class ClientConnection(H11Protocol):
    """One of them."""

    def __init__(
        self,
        door: Door,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self.caller = Caller("", "")
        self.since = 0.0
        self._door = door
        self._framing = Framing()
        self._doing = Doing.ASKING
        self._received_bytes = 0
        self._passed_over_bytes = 0
        self._mark_bytes = 0
        self._is_over = False  # nothing that comes now is looked at

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes it in, or sends it away."""
        counted = _Counted(transport)
        super().connection_made(counted)
        self.since = time.monotonic()
        peer = transport.get_extra_info("peername")
        self.caller = self._door.group_of(peer)
        if not self._door.enter(self):
            self._say(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is no more."""
        self._is_over = True
        self._door.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What came, framed, to the parser."""
        if self._is_over:
            return
        self._received_bytes += len(data)
        if self._is_answered and self._framing.is_in_body:
            self._passed_over_bytes += len(data)
            if self._passed_over_bytes > PASS_OVER_BYTES_MAX:
                self.transport.abort()
                return
        try:
            pieces = self._framing.feed(data)
        except FramingRefused as refused:
            self._door.refused(refused.status)
            self._say(refused.status)
            return
        if not pieces:
            self._unset_keepalive_if_required()
            return
        for piece in pieces[:-1]:
            self.conn.receive_data(piece)
        super().data_received(pieces[-1])

    def shutdown(self) -> None:
        """The process drains."""
        if not self._is_over:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """What the parser refused."""
        self._door.refused(400)
        self._say(400)

    @property
    def is_idle(self) -> bool:
        """Nobody is at work for it, nor has it asked for anything whole."""
        return self._doing_now() in (Doing.RESTING, Doing.ASKING, Doing.ENDING)

    def overdue(self, now: float) -> str | None:
        """Why it has to end; called each second."""
        doing = self._doing_now()
        if doing is not self._doing:
            self._begin(doing, now)
            return None
        elapsed = now - self.since
        if doing is Doing.ASKING and elapsed > HEAD_SECONDS_MAX:
            return "head_late"
        if doing is Doing.ENDING and elapsed > LINGER_SECONDS_MAX:
            return "not_leaving"
        if doing is Doing.PASSING_OVER and elapsed > PASS_OVER_SECONDS_MAX:
            return "body_slow"
        if doing in (Doing.SENDING, Doing.READING) and elapsed >= RATE_SECONDS:
            if self._progress_bytes(doing) - self._mark_bytes < RATE_BYTES_MIN * elapsed:
                return "body_slow" if doing is Doing.SENDING else "reader_slow"
            self._begin(doing, now)
        return None

    def end(self, reason: str) -> None:
        """Now; with a word where one can be heard."""
        is_late = reason in ("body_slow", "head_late") and self._received_bytes > 0
        if is_late and self._doing in (Doing.ASKING, Doing.SENDING) and not self.transport.is_closing():
            self._say(408)
        else:
            self._is_over = True
            self.transport.abort()

    def _begin(self, doing: Doing, now: float) -> None:
        self._doing, self.since, self._mark_bytes = doing, now, self._progress_bytes(doing)

    def _progress_bytes(self, doing: Doing) -> int:
        return self._received_bytes if doing is Doing.SENDING else self._counted.taken_bytes

    @property
    def _counted(self) -> "_Counted":
        transport = self.transport
        if not isinstance(transport, _Counted):
            raise TypeError("a connection that was not made")
        return transport

    @property
    def _newest(self) -> RequestResponseCycle | None:
        """The newest request; uvicorn has none before the first."""
        return self.cycle

    @property
    def _is_answered(self) -> bool:
        cycle = self._newest
        return cycle is not None and cycle.response_complete

    def _doing_now(self) -> Doing:
        if self._is_over or self.transport.is_closing():
            return Doing.ENDING
        cycle, is_reading = self._newest, self.transport.get_write_buffer_size() > 0
        if cycle is None:
            return Doing.ASKING
        if not cycle.response_complete:
            is_sending = cycle.more_body and not self.flow.read_paused and not cycle.waiting_for_100_continue
            return Doing.SENDING if is_sending else Doing.READING if is_reading else Doing.WORKING
        if is_reading:
            return Doing.READING
        if self._framing.is_in_body:
            return Doing.PASSING_OVER
        return Doing.ASKING if self._framing.is_in_head else Doing.RESTING

    def _say(self, status: int) -> None:
        """The last word on this connection; nothing where an answer is on its way already."""
        self._is_over = True
        self._unset_keepalive_if_required()
        cycle = self._newest
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(LAST_WORDS[status])
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state is not h11.ERROR:
            self.conn.send_failed()
        self.transport.close()


class _Counted(asyncio.Transport):
    """A transport that knows how much of what it was given has gone."""

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self._inner = inner
        self._given_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """By the other end, or by the kernel for it."""
        return self._given_bytes - self._inner.get_write_buffer_size()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._given_bytes += len(data)
        self._inner.write(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._inner.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._inner.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def close(self) -> None:
        self._inner.close()

    def abort(self) -> None:
        self._inner.abort()

    def pause_reading(self) -> None:
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        self._inner.resume_reading()


def _last_word(status: int) -> bytes:
    phrase = HTTPStatus(status).phrase
    again = f"Retry-After: {BUSY_SECONDS}\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n{again}"
        f"Content-Length: {len(phrase)}\r\nConnection: close\r\n\r\n{phrase}"
    ).encode()


LAST_WORDS = {status: _last_word(status) for status in (400, 408, 431, 501, 503)}
