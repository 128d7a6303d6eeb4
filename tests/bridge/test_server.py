"""The sockets of a running bridge: who may connect, what it refuses, and that nobody can spoil it for others."""

import os
import select
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import anyio
import msgspec
import pytest

from hsm_bridge import frames, wire
from hsm_bridge.client import BridgeAway, BridgeBusy, BridgeClient, BridgeDenied
from tests.bridge_process import BridgeHome, health, stop

NOBODY = 65534
IMPRINT = wire.TimeStamp(imprint=bytes(32), event_time=None)
SLOW_SECONDS = 12  # above the five seconds that a reader gets

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The client runs on both; the bridge is a process of its own."""
    backend: str = request.param
    return backend


@asynccontextmanager
async def connected(bridge: BridgeHome, caller: str) -> AsyncIterator[BridgeClient]:
    async with aclosing(bridge.client(caller)) as client:
        yield client


def raw(bridge: BridgeHome, caller: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    connection.connect(str(bridge.home / "s" / f"{caller}.sock"))
    return connection


def request(op: str, items: int = 1, deadline_ms: int = 5000, number: int = 1) -> bytes:
    item = wire.encode(IMPRINT if op == "time_stamp" else wire.Describe())
    asked = wire.Request(v=1, id=number, op=op, items=[msgspec.Raw(item)] * items, deadline_ms=deadline_ms)
    return frames.frame(wire.encode(asked))


def answers(connection: socket.socket, count: int) -> list[wire.Response]:
    buffer = frames.FrameBuffer()
    found: list[wire.Response] = []
    while len(found) < count:
        data = connection.recv(65536)
        if not data:
            break
        buffer.feed(data)
        while (body := buffer.next()) is not None:
            found.append(wire.decode(body, wire.Response))
    return found


async def test_many_callers_share_one_connection(bridge: BridgeHome) -> None:
    """Thirty calls at once on one connection each get their own answers, in their own order."""
    got: dict[int, int] = {}

    async with connected(bridge, "timestamp") as client:

        async def call(number: int) -> None:
            items = [wire.TimeStamp(imprint=bytes([number]) * 32, event_time=None)] * (number % 5 + 1)
            stamped = await client.ask(items)
            assert all(isinstance(s, wire.Stamped) and bytes([number]) * 32 in s.token for s in stamped)
            got[number] = len(stamped)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(call, number)
    assert got == {number: number % 5 + 1 for number in range(30)}


async def test_a_cancelled_caller_harms_no_other(bridge: BridgeHome) -> None:
    """Whoever was reading for all hands the reading on when it is cancelled."""
    async with connected(bridge, "timestamp") as client:
        done: list[int] = []

        async def call(scope: anyio.CancelScope) -> None:
            with scope:
                done.append(len(await client.ask([IMPRINT] * 20)))

        scopes = [anyio.CancelScope() for _ in range(20)]
        async with anyio.create_task_group() as tasks:
            for scope in scopes:
                tasks.start_soon(call, scope)
            await anyio.wait_all_tasks_blocked()
            for scope in scopes[::2]:
                scope.cancel()
        assert len(done) >= 10
        assert len(await client.ask([IMPRINT])) == 1


async def test_more_than_a_frame_holds_is_asked_in_parts(bridge: BridgeHome) -> None:
    """A batch above the limit of a frame is split by the client; the answers come back whole and in order."""
    async with connected(bridge, "timestamp") as client:
        stamped = await client.ask([IMPRINT] * (wire.ITEMS_MAX + 3))
    assert len(stamped) == wire.ITEMS_MAX + 3


async def test_a_malformed_item_is_refused_alone(bridge: BridgeHome) -> None:
    """A wrong field, type or length is that item's fault, not its neighbours'."""
    async with connected(bridge, "timestamp") as client:
        good, short = await client.ask([IMPRINT, wire.TimeStamp(imprint=b"short", event_time=None)])
        response = await client.exchange(
            "time_stamp", [wire.encode(IMPRINT), wire.encode(wire.ReportHealth()), b"\x01"]
        )
    assert isinstance(good, wire.Stamped)
    assert isinstance(short, wire.Denied) and short.code == "item_invalid"
    assert response.results is not None
    assert [result.err for result in response.results] == [None, "item_invalid", "item_invalid"]


async def test_a_request_of_another_form_is_refused_whole(bridge: BridgeHome) -> None:
    """Unknown operation, no items, too many items, no deadline: bad_request, and the connection lives."""
    with raw(bridge, "timestamp") as connection:
        bad = [request("sign_anything"), request("time_stamp", 0), request("time_stamp", 513)]
        bad += [request("time_stamp", 1, 0), request("time_stamp", 1, 3_600_000)]
        connection.sendall(b"".join(bad) + request("time_stamp", number=2))
        got = answers(connection, 6)
    assert sorted((response.id, response.err) for response in got) == [(1, wire.BAD_REQUEST)] * 5 + [(2, None)]


async def test_another_protocol_ends_the_connection_and_nothing_else(bridge: BridgeHome) -> None:
    """An oversized announcement, text, or a frame that is no request: bad_request, closed, and the bridge serves on."""
    oversized = (wire.FRAME_BYTES_MAX + 1).to_bytes(4, "big")
    for data in (
        oversized,
        b"GET / HTTP/1.1\r\n\r\n",
        frames.frame(b"\xc1"),
        frames.frame(wire.encode(wire.ReportHealth())),
    ):
        with raw(bridge, "timestamp") as connection:
            connection.sendall(data)
            got = answers(connection, 2)
            assert [response.err for response in got] == [wire.BAD_REQUEST]
    async with connected(bridge, "timestamp") as client:
        assert (await health(client)).token_up


async def test_a_full_queue_says_busy(bridge: BridgeHome) -> None:
    """Beyond the room of a caller kind the answer is busy at once, and other kinds are not concerned."""
    with raw(bridge, "timestamp") as connection:
        connection.sendall(b"".join(request("time_stamp", 512, number=n) for n in range(1, 7)))
        got = answers(connection, 6)
    outcomes = [response.err for response in got]
    assert wire.BUSY in outcomes
    assert outcomes.count(None) >= 4
    async with connected(bridge, "timestamp") as client:
        assert len(await client.ask([IMPRINT])) == 1


async def test_what_cannot_be_done_in_time_is_busy(bridge: BridgeHome) -> None:
    """A deadline that passes while the batch is worked on gives busy, never half a batch."""
    async with aclosing(bridge.client("timestamp", deadline_seconds=0.002)) as client:
        with pytest.raises((BridgeBusy, BridgeAway)):
            await client.ask([IMPRINT] * 512)


async def test_an_operation_of_another_kind_is_denied(bridge: BridgeHome) -> None:
    """Asking what this socket may not is not a refusal of an item: the caller is told at once."""
    async with connected(bridge, "seal") as client:
        with pytest.raises(BridgeDenied):
            await client.ask([wire.Release(wrapped=b"", wrap_key_id="", context=b"", ticket=b"", receipt=b"")])
    audit = (bridge.home / "bridge" / "audit.jsonl").read_text()
    assert '"phase":"denied"' in audit


def test_a_reader_that_does_not_read_loses_its_connection(bridge: BridgeHome) -> None:
    """Answers that nobody takes end the connection after seconds; the bridge serves others meanwhile."""
    with raw(bridge, "timestamp") as slow:
        slow.setblocking(False)
        try:
            for number in range(100_000):
                slow.send(request("describe", number=number))
        except BlockingIOError:
            pass  # it does not read on while we do not read
        with raw(bridge, "timestamp") as other:
            other.sendall(request("time_stamp"))
            assert len(answers(other, 1)) == 1
        waiting = select.poll()
        waiting.register(slow, 0)  # hang-up only
        assert waiting.poll(SLOW_SECONDS * 1000)


async def test_a_bridge_that_restarts_is_found_again(make_home: Callable[[], BridgeHome]) -> None:
    """A killed bridge is BridgeAway; the same client works again when it is back, without being told."""
    home = make_home()
    process = home.start()
    try:
        async with connected(home, "timestamp") as client:
            assert len(await client.ask([IMPRINT])) == 1
            process.kill()
            process.wait()
            with pytest.raises(BridgeAway):
                await client.ask([IMPRINT])
            process = home.start()
            assert len(await client.ask([IMPRINT])) == 1
    finally:
        assert stop(process) == 0


async def test_stopping_answers_what_was_taken_on(make_home: Callable[[], BridgeHome]) -> None:
    """SIGTERM in the middle of a batch: the batch is answered, then the sockets close."""
    home = make_home()
    process = home.start()
    with raw(home, "timestamp") as connection:
        connection.sendall(request("time_stamp", 512) + request("time_stamp", 512, number=2))
        first = connection.recv(1, socket.MSG_PEEK)  # the first answer is on its way
        process.terminate()
        assert first
        assert [len(response.results or []) for response in answers(connection, 2)] == [512, 512]
    assert process.wait(10) == 0


def test_health_is_told_over_http(make_home: Callable[[], BridgeHome]) -> None:
    """Alive, ready and the series of the operating interface, on loopback."""
    home = make_home()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = home.start({**os.environ, "QERDS_HEALTH_PORT": str(port)})
    try:
        texts = {}
        for path in ("healthz", "readyz", "metrics"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as response:
                texts[path] = response.read().decode()
    finally:
        assert stop(process) == 0
    assert (texts["healthz"], texts["readyz"]) == ("alive\n", "ready\n")
    for series in (
        "qerds_bridge_token_up 1.0",
        "qerds_bridge_queue_items 0.0",
        'timestamp_seconds{use="seal"}',
        'config_version="test-1"',
        'qerds_process_resident_bytes{kind="hsm_bridge"}',
    ):
        assert series in texts["metrics"]


TRY = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(sys.argv[1])
    connection.sendall(bytes.fromhex(sys.argv[2]))
    print(len(connection.recv(65536)))
except (PermissionError, ConnectionResetError, BrokenPipeError):
    print(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="two OS users need root")
def test_another_user_gets_only_the_socket_that_lists_it(make_home: Callable[[], BridgeHome]) -> None:
    """The kernel says who connects: a listed user reaches its own socket alone, an unlisted one (even root) none."""
    home = make_home()
    home.allowed_uids = {"gateway": [NOBODY]}
    home.write()
    process = home.start()
    try:
        reached = {}
        for caller in ("gateway", "seal"):
            arguments = [str(home.home / "s" / f"{caller}.sock"), request("describe").hex()]
            done = subprocess.run([sys.executable, "-c", TRY, *arguments], capture_output=True, text=True, check=True)
            reached[caller] = int(done.stdout) > 0
        assert reached == {"gateway": True, "seal": False}
        with raw(home, "gateway") as connection:
            try:
                connection.sendall(request("describe"))
                answer = connection.recv(1)
            except (ConnectionResetError, BrokenPipeError):  # closed before it was read
                answer = b""
            assert answer == b""
    finally:
        assert stop(process) == 0
