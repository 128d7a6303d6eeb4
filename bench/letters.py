"""Scenario letters: end to end, from the sender's request to the time-stamped C.1, against a loop without any queue."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from bench.context import Bench
from bench.feeding import (
    AT_ONCE,
    INLINE_BYTES_MAX,
    Feeder,
    Unfinished,
    feeder,
    inline,
    items,
    open_batch,
    put_items,
    submit_batch,
    text,
)
from bench.installation import Installation, Usage
from bench.results import Plot, Section, Table
from bench.statistics import rates_by_second, sustained_rate
from deploy.local.layout import CHECKOUT
from deploy.local.softhsm import prepare_token

STAND_INS = frozenset({"smtp_sink", "identity_provider"})
WAIT_SECONDS_MAX = (60, 240)  # for one kind of letter, quick and full
BARE_SECONDS_MAX = 120
SHARED_BYTES = 2048
UPLOADS_A_BATCH = 250
EVIDENCES = 2  # of a letter that gets as far as its notice: A.1 and C.1
TOKENS = "SELECT count(*) FROM qerds.evidence_token"


@dataclass(frozen=True, slots=True)
class Kind:
    """What is sent. content_bytes 0: one content to all."""

    key: str
    what: str
    content_bytes: int
    letters: tuple[int, int]  # quick, full


KINDS = (
    Kind("one", "one content to many", 0, (1_500, 12_000)),
    Kind("4k", "distinct 4 KiB", 4096, (250, 3_000)),
    Kind("100k", "distinct 100 KiB", 100 * 1024, (250, 3_000)),
    Kind("5m", "distinct 5 MiB", 5 * 1024 * 1024, (12, 100)),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of letter. seconds: from the first request to the last token.

    rate: of the tokens of A.1 and C.1 together, two a letter. The C.1 alone come late and then fast, because at each
    stage the A.1 of a batch wait before them.
    """

    kind: Kind
    count: int
    seconds: float
    rate: float
    instants: Sequence[float]
    used: Usage
    operations: dict[str, int]
    tokens: int
    bare: dict[str, float]

    @property
    def cpu_ms(self) -> float:
        """CPU of a letter, without what stands in for the outside."""
        return sum(v for name, v in self.used.cpu.items() if name not in STAND_INS) / self.count * 1000

    @property
    def bare_cpu_ms(self) -> float:
        """The same of the bare loop, its database included."""
        return (self.bare["cpu_seconds"] + self.bare["database_cpu_seconds"]) / self.bare["letters"] * 1000


def run(bench: Bench) -> Section:
    """Kind after kind on one installation."""
    section = Section("letters", "Letters, end to end to the time-stamped C.1")
    installation = bench.installation()
    measured = []
    for kind in KINDS:
        count = bench.pick(*kind.letters)
        bench.say(f"{count:,} letters, {kind.what}")
        try:
            measurement = anyio.run(_measure, bench, installation, kind, count, backend_options={"use_uvloop": True})
        except Unfinished as why:
            section.notes.append(f"{kind.what}: {why}")
            continue
        measured.append(measurement)
        _tell(section, measurement)
    _tables(section, measured)
    return section


async def _measure(bench: Bench, it: Installation, kind: Kind, count: int) -> Measured:
    async with feeder(it) as feed:
        tag = f"letters-{kind.key}"
        before, tokens = await it.usage(feed.database), await feed.database.fetchval(TOKENS)
        audited = _audited(it)
        began = time.time()
        await _send(feed, kind, tag, count)
        stamped = await feed.wait(tag, "C.1", count, began, bench.pick(*WAIT_SECONDS_MAX))
        instants = sorted([*stamped.values(), *(await feed.stamped(tag, "A.1")).values()])
        await anyio.sleep(1.2)  # backends tell their statistics once a second
        used = (await it.usage(feed.database)).since(before)
        tokens = await feed.database.fetchval(TOKENS) - tokens
        bench.say(f"bare loop, {kind.what}")
        bare = await _bare(it, min(count, 60 if kind.key == "5m" else bench.pick(300, 1500)), kind.content_bytes)
        return Measured(
            kind=kind,
            count=count,
            seconds=instants[-1] - began,
            rate=sustained_rate(instants, began) / EVIDENCES,
            instants=instants,
            used=used,
            operations={op: items_ - audited.get(op, 0) for op, items_ in _audited(it).items()},
            tokens=tokens,
            bare=bare,
        )


async def _send(feed: Feeder, kind: Kind, tag: str, count: int) -> None:
    """By batches: one content named by every line, small ones inside their lines, others uploaded before.

    Uploads go on while the batch before is worked on, as a sender of many does it.
    """
    if kind.content_bytes == 0:
        await _push(feed, tag, 0, [await feed.sender.upload(text(tag, 0, SHARED_BYTES), "letter.txt")] * count)
    elif kind.content_bytes <= INLINE_BYTES_MAX:
        await _push(feed, tag, 0, [inline(text(tag, number, kind.content_bytes)) for number in range(count)])
    else:
        for first in range(0, count, UPLOADS_A_BATCH):
            numbers = range(first, min(first + UPLOADS_A_BATCH, count))
            await _push(feed, tag, first, await feed.uploads(tag, numbers, kind.content_bytes))


async def _push(feed: Feeder, tag: str, first: int, documents: Sequence[dict[str, str]]) -> None:
    content = items(tag, documents, first)
    batch = await open_batch(feed.sender, f"{tag}-{first}")
    digests = await put_items(feed.sender, batch, content)
    await submit_batch(feed.sender, batch, digests, content.lines)


def _audited(it: Installation) -> dict[str, int]:
    """Items the bridge worked on, by operation, as its record has them: the file in use and those before it."""
    counts: dict[str, int] = {}
    for path in it.config.bridge.data_dir.glob("audit*.jsonl"):
        with path.open("rb") as file:
            for line in file:
                entry = json.loads(line)
                if entry.get("phase") == "intent":
                    counts[entry["op"]] = counts.get(entry["op"], 0) + entry.get("items", 1)  # its own: one
    return counts


async def _bare(it: Installation, count: int, content_bytes: int) -> dict[str, float]:
    """The bare loop beside an idle installation, with its token and its database."""
    environment = {
        **os.environ,
        "QERDS_CONFIG": str(it.layout.config),
        "SOFTHSM2_CONF": str(prepare_token(it.layout.state, it.layout.secrets).conf),
        "PYTHONPATH": str(CHECKOUT),
    }
    command = [sys.executable, "-P", "-m", "bench.bare_loop", str(count), str(content_bytes)]
    result = await anyio.to_thread.run_sync(
        lambda: subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=BARE_SECONDS_MAX
        )
    )
    if result.returncode != 0:
        raise RuntimeError(f"the bare loop failed: {result.stderr[-1500:]}")
    answer: dict[str, float] = json.loads(result.stdout)
    return answer


def _tell(section: Section, measurement: Measured) -> None:
    """Measures of the targets, and the curve."""
    section.measures[f"letters.{measurement.kind.key}.rate"] = measurement.rate
    section.measures[f"letters.{measurement.kind.key}.cpu"] = measurement.cpu_ms / measurement.bare_cpu_ms
    rates = [count / EVIDENCES for count in rates_by_second(measurement.instants)]
    section.remarks |= dict.fromkeys(
        (f"letters.{measurement.kind.key}.rate", f"letters.{measurement.kind.key}.cpu"), _costs(measurement)
    )
    if len(rates) > 4:
        title = f"Tokens a second, by two a letter: {measurement.kind.what}"
        section.plots.append(Plot(title, "lines", "letters/s", list(range(len(rates))), {"letters": rates}, "s"))


def _costs(measurement: Measured) -> str:
    """The largest costs, in words."""
    own = {name: seconds for name, seconds in measurement.used.cpu.items() if name not in STAND_INS}
    largest = sorted(own, key=lambda name: -own[name])[:4]
    return "CPU of a letter: " + ", ".join(f"{name} {own[name] / measurement.count * 1000:.2f} ms" for name in largest)


def _tables(section: Section, measured: Sequence[Measured]) -> None:
    columns = ["letters", "count", "sustained", "whole run", "bare loop", "CPU a letter", "bare CPU", "ratio"]
    rows = []
    for measurement in measured:
        whole, bare_rate = (
            measurement.count / measurement.seconds,
            measurement.bare["letters"] / measurement.bare["seconds"],
        )
        cpu = [
            f"{measurement.cpu_ms:.2f} ms",
            f"{measurement.bare_cpu_ms:.2f} ms",
            f"{measurement.cpu_ms / measurement.bare_cpu_ms:.2f}",
        ]
        rates = [f"{measurement.rate:,.0f}/s", f"{whole:,.0f}/s", f"{bare_rate:,.0f}/s"]
        rows.append([measurement.kind.what, f"{measurement.count:,}", *rates, *cpu])
    section.tables.append(Table("Rates, and CPU of a letter against the loop without a queue", columns, rows))
    names = sorted({name for measurement in measured for name in measurement.used.cpu})
    section.tables.append(
        Table(
            "CPU-seconds of 1,000 letters by process",
            ["process", *(measurement.kind.what for measurement in measured)],
            [
                [n, *(f"{measurement.used.cpu.get(n, 0) / measurement.count * 1000:.2f}" for measurement in measured)]
                for n in names
            ],
        )
    )
    section.tables.append(
        Table(
            "A letter's cost",
            ["", *(measurement.kind.what for measurement in measured)],
            [
                [
                    "WAL",
                    *(f"{measurement.used.written.wal_bytes / measurement.count:,.0f} B" for measurement in measured),
                ],
                [
                    "flushes of PostgreSQL",
                    *(f"{measurement.used.written.fsyncs / measurement.count:.2f}" for measurement in measured),
                ],
                ["time-stamp tokens", *(f"{measurement.tokens / measurement.count:.2f}" for measurement in measured)],
                [
                    "requests to the bridge",
                    *(f"{_per(measurement, measurement.used.requests):.2f}" for measurement in measured),
                ],
                ["items in them", *(f"{_per(measurement, measurement.operations):.2f}" for measurement in measured)],
            ],
        )
    )
    if measured:
        first = measured[0]
        names = [n for n in first.used.cpu if n not in STAND_INS]
        values = [first.used.cpu[n] / first.count * 1000 for n in names]
        section.plots.append(
            Plot(f"CPU-seconds of 1,000 letters, {first.kind.what}", "bars", "s", names, {"CPU": values})
        )
    section.notes.append(
        f"100 KiB and 5 MiB: {AT_ONCE} uploads at once, in batches of {UPLOADS_A_BATCH}; the others as one batch"
    )


def _per(measurement: Measured, counts: "dict[str, int] | object") -> float:
    return sum(counts.values()) / measurement.count if isinstance(counts, dict) else 0.0
