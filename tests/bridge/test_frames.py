"""Frames that nobody should send, at every socket: whoever sends one may lose its connection, nobody else anything.

A failure names its seed and round; SEED is the one that runs every time.
"""

import random
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import msgspec
import pytest

from hsm_bridge import frames, server, wire
from hsm_bridge.operations.table import OPERATIONS
from tests.bridge_process import BridgeHome, stop

SEED = 20260311
ROUNDS = 40  # frames of each kind of wrong, over all sockets
DEEP = 100_000
HONEST = wire.Request(
    v=wire.VERSION,
    id=7,
    op="time_stamp",
    items=[msgspec.Raw(wire.encode(wire.TimeStamp(imprint=bytes(32), event_time=None)))],
    deadline_ms=5000,
)
DESCRIBE = frames.frame(wire.encode(msgspec.structs.replace(HONEST, op="describe", items=[msgspec.Raw(b"\x80")])))


def connect(home: BridgeHome, caller: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    connection.connect(str(home.home / "s" / f"{caller}.sock"))
    return connection


def answer(connection: socket.socket) -> wire.Response | None:
    """The first one, None when the connection ends without."""
    buffer = frames.FrameBuffer()
    while (body := buffer.next()) is None:
        try:
            data = connection.recv(65536)
        except ConnectionResetError:
            return None
        if not data:
            return None
        buffer.feed(data)
    return wire.decode(body, wire.Response)


def is_answered(home: BridgeHome, caller: str = "timestamp") -> bool:
    with connect(home, caller) as connection:
        connection.sendall(DESCRIBE)
        response = answer(connection)
        return response is not None and response.err is None


def text(value: str | bytes) -> bytes:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return b"\xdb" + struct.pack(">I", len(data)) + data


def table(*members: tuple[bytes, bytes]) -> bytes:
    return b"\xdf" + struct.pack(">I", len(members)) + b"".join(name + value for name, value in members)


def request(**changed: bytes) -> bytes:
    """A request whose fields are these bytes."""
    fields = {
        "v": b"\x01",
        "id": b"\x07",
        "op": text("time_stamp"),
        "items": b"\x91\x80",
        "deadline_ms": b"\xcd\x13\x88",
    }
    return table(*((text(name), value) for name, value in {**fields, **changed}.items()))


def odd_values() -> dict[str, bytes]:
    """What may stand where something else is meant."""
    deep_table = (b"\x81" + text("a")) * DEEP + b"\xc0"
    return {
        "nested arrays": b"\x91" * DEEP + b"\xc0",
        "nested arrays without an end": b"\x91" * DEEP,
        "nested tables": deep_table,
        "nested tables as names": b"\x81" * DEEP + b"\xc0" * (DEEP + 1),
        "an array of all the numbers": b"\xdd\xff\xff\xff\xff",
        "a table of all the numbers": b"\xdf\xff\xff\xff\xff",
        "bytes without end": b"\xc6\xff\xff\xff\xff",
        "a text without end": b"\xdb\xff\xff\xff\xff",
        "an extension without end": b"\xc9\xff\xff\xff\xff\xff",
        "a million members": b"\xdd" + struct.pack(">I", 900_000) + b"\xc0" * 900_000,
        "a million empty tables": b"\xdd" + struct.pack(">I", 900_000) + b"\x80" * 900_000,
        "a huge number": b"\xcf" + b"\xff" * 8,
        "a huge negative number": b"\xd3\x80" + bytes(7),
        "infinite": b"\xcb\x7f\xf0" + bytes(6),
        "not a number": b"\xcb\x7f\xf8" + bytes(6),
        "a surrogate": text("\ud800"),
        "no text": text(b"\xff\xfe\xfd"),
        "a NUL": text("a\x00b"),
        "a time in another age": b"\xc7\x0c\xff" + b"\xff" * 12,
        "an unknown extension": b"\xd4\x05\x00",
        "nothing": b"\xc0",
        "reserved": b"\xc1",
        "true": b"\xc3",
        "an empty table": b"\x80",
        "a duplicate name": table((text("a"), b"\x01"), (text("a"), b"\x02")),
    }


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body[: wire.FRAME_BYTES_MAX]


def wrong_frames() -> Iterator[tuple[str, bytes]]:
    """One of each: each value in each place of a request, alone, as an item of each operation, cut short."""
    for name, value in odd_values().items():
        yield f"{name} alone", framed(value)
        for field in ("v", "id", "op", "items", "deadline_ms"):
            yield f"{name} as {field}", framed(request(**{field: value}))
        yield f"{name} as another field", framed(request(other=value))
        yield f"{name} cut short", framed(request(items=value))[:-3]
        for op, operation in OPERATIONS.items():
            yield f"{name} as an item of {op}", framed(request(op=text(op), items=b"\x91" + value))
            for field in operation.item.__struct_fields__:
                item = table((text(field), value))
                yield f"{name} as {field} of {op}", framed(request(op=text(op), items=b"\x91" + item))
    yield "the same field twice", framed(table(*((text(n), b"\x01") for n in ("v", "id", "id", "op"))))
    yield "no bytes", framed(b"")
    yield "half a length", b"\x00\x00"


@pytest.fixture(scope="module")
def running(make_home: Callable[[], BridgeHome]) -> Iterator[tuple[BridgeHome, "subprocess.Popen[bytes]"]]:
    home = make_home()
    process = home.start()
    try:
        yield home, process
    finally:
        assert stop(process) == 0, (home.home / "bridge.log").read_text()


def test_no_frame_ends_the_bridge(running: tuple[BridgeHome, "subprocess.Popen[bytes]"]) -> None:
    """Every wrong frame at a socket of some kind, and the worst at each: who asks meanwhile is answered, by the same
    process."""
    home, process = running
    dice = random.Random(SEED)
    wrong = list(wrong_frames())
    worst = [frame for name, frame in wrong if name.startswith("nested") and "as items" in name]
    tries = [(dice.choice(wire.CALLERS), name, frame) for name, frame in wrong]
    tries += [(caller, "nested", frame) for caller in wire.CALLERS for frame in worst]
    with connect(home, "timestamp") as honest:
        for number, (caller, name, frame) in enumerate(tries):
            with connect(home, caller) as hostile:
                try:
                    hostile.sendall(frame)
                    hostile.shutdown(socket.SHUT_WR)
                    answer(hostile)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it did not wait for the end
            if number % 20 == 0:
                honest.sendall(frames.frame(wire.encode(HONEST)))
                response = answer(honest)
                assert response is not None and response.results is not None, (caller, name)
                assert response.results[0].err is None, (caller, name, response.results)
            assert process.poll() is None, (caller, name, (home.home / "bridge.log").read_text())


def test_random_bytes_and_altered_requests_end_nothing(
    running: tuple[BridgeHome, "subprocess.Popen[bytes]"],
) -> None:
    """Bytes by chance, and requests with some bytes changed, at every socket."""
    home, process = running
    dice = random.Random(SEED)
    good = request(op=text("describe"), items=b"\x92\x80\x80")
    for number in range(ROUNDS * len(wire.CALLERS)):
        caller = wire.CALLERS[number % len(wire.CALLERS)]
        body = bytearray(dice.randbytes(dice.randrange(200)) if number % 2 else good)
        for _ in range(dice.randrange(4)):
            if body:
                body[dice.randrange(len(body))] = dice.randrange(256)
        with connect(home, caller) as hostile:
            hostile.sendall(framed(bytes(body)) * dice.randint(1, 3))
            hostile.shutdown(socket.SHUT_WR)
            answer(hostile)
        assert process.poll() is None, (SEED, number)
    assert all(is_answered(home, caller) for caller in wire.CALLERS)


def test_idle_connections_keep_nobody_out(running: tuple[BridgeHome, "subprocess.Popen[bytes]"]) -> None:
    """Silent, half-framed and satisfied peers fill a socket; a newcomer is answered all the same, and again."""
    home, _ = running
    with ExitStack() as stack:
        for number in range(3 * server.CONNECTIONS_MAX):
            hostile = stack.enter_context(connect(home, "operator"))
            if number % 3 == 1:
                hostile.sendall(DESCRIBE[:-1])
            if number % 3 == 2:
                hostile.sendall(DESCRIBE)
                assert answer(hostile) is not None
        assert is_answered(home, "operator")
        assert is_answered(home, "operator")


def test_half_a_frame_loses_its_place_in_time(running: tuple[BridgeHome, "subprocess.Popen[bytes]"]) -> None:
    """A peer that says nothing, or begins a frame and stops, is let go; one that was answered may rest."""
    home, _ = running
    with connect(home, "seal") as silent, connect(home, "seal") as half, connect(home, "seal") as resting:
        half.sendall(DESCRIBE[:-1])
        resting.sendall(DESCRIBE)
        assert answer(resting) is not None
        for connection in (silent, half):
            connection.settimeout(server.FRAME_SECONDS_MAX + 5)
            assert connection.recv(1) == b""
        resting.sendall(DESCRIBE)
        assert answer(resting) is not None
