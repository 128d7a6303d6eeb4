"""python -m bench.hostile: thousands of connections that mean ill, beside people who do not; on loopback only.

Owns     an installation of its own; a process of crowds from 127.2.0.0/16, of every kind, at both faces and at the
         bridge's sockets; honest requests from 127.1.0.0/16 before and meanwhile; the figures and what they must be
Rules    honest requests are paced, each second one a new connection, so that a closed door is met and not only a slow
         one. The crowds are on the same processors, with less weight: the figures are upper bounds
Exits    0 all figures hold, 1 one does not
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import SocketStream

from bench.installation import Installation, installation
from deploy.local.layout import CHECKOUT
from hsm_bridge import frames, wire
from hsm_bridge.client import BridgeClient

SECONDS = 60.0
CONNECTIONS = 2000
CROWD_NICENESS = 10  # they would be on machines of their own
PAUSE_SECONDS = 1.0  # before somebody who was sent away comes again
QUIET_SECONDS = 15.0  # of honest requests alone
HONEST_EACH_SECOND = 40
HONEST_SECONDS_MAX = 10.0
P99_RATIO_MAX = 4.0
GROWTH_BYTES_MAX = 100 * 1024 * 1024
BRIDGE_CONNECTIONS = 200
PATHS = {"page": ("/fr/verify", "/c/unknown", "/static/style.css"), "api": ("/v1/status", "/v1/problems/not_found")}
JSON = b"Content-Type: application/json\r\n"


# ------------------------------------------------------------------ those who mean ill
async def silent(stream: SocketStream, face: str) -> None:
    await drained(stream)


async def trickling_head(stream: SocketStream, face: str) -> None:
    for byte in b"GET /fr/verify HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 1000:
        await stream.send(bytes([byte]))
        await anyio.sleep(1)


async def trickling_body(stream: SocketStream, face: str) -> None:
    await stream.send(head(face, b"Content-Length: 1000000\r\n"))
    while True:
        await stream.send(b"a")
        await anyio.sleep(1)


async def tiny_chunks(stream: SocketStream, face: str) -> None:
    await stream.send(head(face, b"Transfer-Encoding: chunked\r\n"))
    while True:
        await stream.send(b"1\r\na\r\n" * 5000)


async def deep_json(stream: SocketStream, face: str) -> None:
    body = b'{"a":' * 40_000
    if face == "page":
        body = b'--x\r\nContent-Disposition: form-data; name="proof"; filename="a"\r\n\r\nPK' + body + b"\r\n--x--\r\n"
    await stream.send(head(face, b"Content-Length: %d\r\n" % len(body), b"" if face == "page" else JSON) + body)
    await drained(stream)


async def large_head(stream: SocketStream, face: str) -> None:
    await stream.send(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 200_000 + b"\r\n\r\n")
    await drained(stream)


async def slow_reading(stream: SocketStream, face: str) -> None:
    await stream.send(b"GET /docs HTTP/1.1\r\nHost: a\r\n\r\n" * 10)
    while True:
        await stream.receive(10)
        await anyio.sleep(1)


KINDS: Sequence[Callable[[SocketStream, str], Awaitable[None]]] = (
    silent, trickling_head, trickling_body, tiny_chunks, deep_json, large_head, slow_reading,
)  # fmt: skip


def head(face: str, framing: bytes, kind: bytes = b"") -> bytes:
    if face == "page":
        kind = b"Content-Type: multipart/form-data; boundary=x\r\n"
    path = b"/fr/verify" if face == "page" else b"/v1/deliveries/validate"
    return b"POST " + path + b" HTTP/1.1\r\nHost: a\r\n" + kind + framing + b"\r\n"


async def drained(stream: SocketStream) -> None:
    while True:
        await stream.receive()


async def crowds(port: int, sockets: Path, connections: int, seconds: float) -> None:
    """All of them, for so long."""

    async def one(number: int) -> None:
        dice = random.Random(number)
        kind, face = KINDS[number % len(KINDS)], ("page", "api")[number // len(KINDS) % 2]
        await anyio.sleep(dice.random() * 3)
        while True:
            host = f"127.2.{dice.randrange(256)}.{dice.randrange(1, 255)}"
            try:
                async with await anyio.connect_tcp("127.0.0.1", port, local_host=host) as stream:
                    await kind(stream, face)
            except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
            await anyio.sleep(PAUSE_SECONDS)

    async def at_the_bridge(number: int) -> None:
        hostile = (b"", b"\x00\x00", frames.frame(b"\x91" * 100_000), frames.frame(b"\xdd\xff\xff\xff\xff"))
        while True:
            try:
                caller = wire.CALLERS[number % len(wire.CALLERS)]
                async with await anyio.connect_unix(str(sockets / f"{caller}.sock")) as stream:
                    await stream.send(hostile[number % len(hostile)] or b"\x00")
                    await drained(stream)
            except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
            await anyio.sleep(PAUSE_SECONDS)

    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            for number in range(connections):
                tasks.start_soon(one, number)
            for number in range(BRIDGE_CONNECTIONS):
                tasks.start_soon(at_the_bridge, number)


# ------------------------------------------------------------------ those who do not
@dataclass
class Honest:
    """What they met."""

    seconds: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    bridge_seconds: list[float] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98]


async def honest(place: Installation, seconds: float) -> Honest:
    """Paced requests at both faces, and a question to the bridge each second."""
    met, port = Honest(), place.config.gateway.port
    paths = [path for face in PATHS.values() for path in face]

    async def request(number: int) -> None:
        began, path = time.monotonic(), paths[number % len(paths)]
        try:
            with anyio.fail_after(HONEST_SECONDS_MAX):
                host = f"127.1.{number % 250}.{number % 200 + 1}"
                async with await anyio.connect_tcp("127.0.0.1", port, local_host=host) as stream:
                    await stream.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                    text = b""
                    try:
                        while True:
                            text += await stream.receive()
                    except anyio.EndOfStream:
                        pass
            status = text[9:12].decode()
            if status not in ("200", "404"):
                met.refused[f"{path}: {status or 'nothing'}"] += 1
        except (TimeoutError, OSError, anyio.BrokenResourceError) as error:
            met.refused[f"{path}: {type(error).__name__}"] += 1
        met.seconds.append(time.monotonic() - began)

    async def ask_bridge() -> None:
        async with aclosing(BridgeClient(place.config.bridge.socket_dir / "timestamp.sock")) as client:
            while True:
                began = time.monotonic()
                [answer] = await client.ask([wire.TimeStamp(imprint=bytes(32), event_time=None)])
                if not isinstance(answer, wire.Stamped):
                    met.refused["bridge"] += 1
                met.bridge_seconds.append(time.monotonic() - began)
                await anyio.sleep(1)

    with anyio.move_on_after(seconds + HONEST_SECONDS_MAX):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_bridge)
            async with anyio.create_task_group() as requests:
                for number in range(int(seconds * HONEST_EACH_SECOND)):
                    requests.start_soon(request, number)
                    await anyio.sleep(1 / HONEST_EACH_SECOND)
            tasks.cancel_scope.cancel()
    return met


def resident_bytes(pid: int) -> int:
    """Of a process now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def drill(place: Installation, connections: int, seconds: float) -> bool:
    """Whether all figures hold."""
    gateway, bridge = place.pids()["gateway"], place.pids()["hsm_bridge"]
    anyio.run(honest, place, 3.0)  # warm
    quiet, before = anyio.run(honest, place, QUIET_SECONDS), resident_bytes(gateway)
    arguments = [str(place.config.gateway.port), str(place.config.bridge.socket_dir), str(connections), str(seconds)]
    command = [sys.executable, "-P", "-m", "bench.hostile", "--crowds", *arguments]
    with subprocess.Popen(command, cwd=CHECKOUT, env={"PYTHONPATH": str(CHECKOUT)}) as crowd:
        try:
            time.sleep(3)
            loud, after = anyio.run(honest, place, seconds - 5), resident_bytes(gateway)
        finally:
            crowd.terminate()
    is_same = (gateway, bridge) == (place.pids()["gateway"], place.pids()["hsm_bridge"])
    figures = {
        "honest p99 alone, ms": (quiet.p99 * 1000, True),
        "honest p99 beside the crowds, ms": (loud.p99 * 1000, loud.p99 <= P99_RATIO_MAX * quiet.p99),
        "honest requests": (len(loud.seconds), True),
        "of them refused": (loud.refused.total(), not loud.refused),
        "gateway grew by, MiB": ((after - before) / 2**20, after - before <= GROWTH_BYTES_MAX),
        "bridge, slowest answer, ms": (max(loud.bridge_seconds) * 1000, "bridge" not in loud.refused),
        "same processes": (int(is_same), is_same),
    }
    for name, (value, holds) in figures.items():
        print(f"{name:36} {value:10.1f}  {'' if holds else 'MISSED'}")
    for what, count in loud.refused.items():
        print(f"  refused {count} x {what}")
    return all(holds for _, holds in figures.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description="Hostile load beside honest requests.")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--crowds", nargs=4, metavar=("PORT", "SOCKETS", "COUNT", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.crowds:
        port, sockets, count, seconds = options.crowds
        os.nice(CROWD_NICENESS)
        anyio.run(crowds, int(port), Path(sockets), int(count), float(seconds), backend_options={"use_uvloop": True})
        return 0
    with installation() as place:
        return 0 if drill(place, options.connections, options.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
