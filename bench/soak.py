"""Scenario soak: minutes of steady load. Rate, memory, dead rows and table sizes are to stay as they are."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import anyio

from bench.context import Bench
from bench.feeding import Feeder, feeder, text
from bench.installation import Installation
from bench.processes import memory_bytes
from bench.results import Plot, Section, Table
from bench.wire import Answered

SECONDS = (60, 600)  # quick, full
SPANS = 10  # the run is looked at in tenths; of a full one each is a minute
SAMPLES_A_SPAN = 6
DEAD_SPANS = 3  # dead rows rise for some seconds and fall with each vacuum: only the mean of many looks tells a trend
AT_ONCE = 6  # letters under way at the sender
WAIT_SECONDS = 60.0
TOO_MANY, FULL_SECONDS = 429, 0.5
# Without the deadlines of the law: an open letter has one each, so that table grows with the letters.
HOT = """
SELECT coalesce(sum(s.n_dead_tup), 0)::bigint AS dead,
       coalesce(sum(pg_total_relation_size(s.relid)), 0)::bigint AS bytes
FROM pg_stat_user_tables s WHERE s.schemaname = 'outbox' AND s.relname <> 'legal_timer'
"""
MEBIBYTE = 2**20
OUTSIDE = frozenset({"smtp_sink", "identity_provider"})


@dataclass(frozen=True, slots=True)
class SoakSample:
    """One look."""

    at: float
    memory: Mapping[str, int]
    dead: int
    table_bytes: int


def run(bench: Bench) -> Section:
    """On the shared installation."""
    seconds = bench.pick(*SECONDS)
    section = Section("soak", f"{seconds} s of steady load")
    samples, instants = anyio.run(_soak, bench, bench.installation(), seconds, backend_options={"use_uvloop": True})
    tell(section, seconds / SPANS, samples, instants)
    if bench.is_quick:
        section.notes.append(f"a quick soak has spans of {seconds / SPANS:.0f} s where a full one has minutes")
    return section


async def _soak(bench: Bench, it: Installation, seconds: float) -> tuple[list[SoakSample], list[float]]:
    async with feeder(it, AT_ONCE) as feed:
        began, samples = time.time(), list[SoakSample]()
        sent = [0]
        async with anyio.create_task_group() as tasks:
            document = await feed.sender.upload(text("soak", 0, 2048), "letter.txt")
            for _ in range(AT_ONCE):
                tasks.start_soon(_send_until, feed, document, began + seconds, sent)
            pause = seconds / SPANS / SAMPLES_A_SPAN
            while time.time() < began + seconds:
                row = await feed.database.fetchrow(HOT)
                if row is not None:
                    memory = await anyio.to_thread.run_sync(memory_bytes, it.pids())
                    samples.append(SoakSample(time.time() - began, memory, row["dead"], row["bytes"]))
                bench.say(f"{time.time() - began:.0f} of {seconds:.0f} s, {sent[0]:,} letters sent")
                await anyio.sleep(pause)
        stamped = await feed.wait("soak", "C.1", sent[0], began, WAIT_SECONDS)
        return samples, [at - began for at in stamped.values() if at < began + seconds]


async def _send_until(feed: Feeder, document: dict[str, str], end: float, sent: list[int]) -> None:
    while time.time() < end:
        sent[0] += 1
        reference = f"soak-{sent[0]}"
        while not await _is_taken(feed, reference, document):  # noqa: ASYNC110 - only the service knows when
            await anyio.sleep(FULL_SECONDS)


async def _is_taken(feed: Feeder, reference: str, document: dict[str, str]) -> bool:
    """Whether the service took it; not while more waits than it works off in some seconds (429)."""
    try:
        await feed.submit(reference, document)
    except Answered as answered:
        if answered.status != TOO_MANY:
            raise
        return False
    return True


def tell(section: Section, span: float, samples: Sequence[SoakSample], instants: Sequence[float]) -> None:
    """Last span against the second; the first one warms up."""
    rates = [sum(span * n <= at < span * (n + 1) for at in instants) / span for n in range(SPANS)]
    second = [s for s in samples if span <= s.at < 2 * span]
    last = [s for s in samples if s.at >= span * (SPANS - 1)]
    early = [s for s in samples if span <= s.at < span * (1 + DEAD_SPANS)]
    late = [s for s in samples if s.at >= span * (SPANS - DEAD_SPANS)]
    names = [n for n in samples[-1].memory if n not in OUTSIDE]
    stages = [n for n in names if n != "postgres"]

    def memory(part: Sequence[SoakSample], of: Sequence[str]) -> float:
        return sum(sum(s.memory.get(n, 0) for n in of) for s in part) / len(part) / MEBIBYTE

    def dead(part: Sequence[SoakSample]) -> float:
        return mean(s.dead for s in part)

    section.measures |= {
        "soak.rate": rates[-1] / rates[1],
        "soak.dead": dead(late) / max(dead(early), 1000.0),
        "soak.memory": memory(last, stages) / memory(second, stages),
    }
    section.figure("letters a second, second span", rates[1], "/s")
    section.figure("letters a second, last span", rates[-1], "/s")
    largest = f"mean; largest of the whole run {max(s.dead for s in samples):,}"
    section.figure(f"dead rows of the mailboxes, spans 2 to {1 + DEAD_SPANS}", dead(early), "rows", largest)
    section.figure(f"dead rows of the mailboxes, last {DEAD_SPANS} spans", dead(late), "rows", "mean")
    section.figure("tables of the mailboxes, second span", max(s.table_bytes for s in second) / MEBIBYTE, "MiB")
    section.figure("tables of the mailboxes, last span", max(s.table_bytes for s in last) / MEBIBYTE, "MiB")
    rows = [[n, f"{memory(second, [n]):.1f} MiB", f"{memory(last, [n]):.1f} MiB"] for n in names]
    section.tables.append(Table("Memory (proportional)", ["process", "second span", "last span"], rows))
    ats = [round(s.at, 1) for s in samples]
    section.plots.append(
        Plot("Memory", "lines", "MiB", ats, {"our processes": [memory([s], stages) for s in samples]}, "s")
    )
    section.plots.append(
        Plot("Dead rows of the mailboxes", "lines", "rows", ats, {"dead": [s.dead for s in samples]}, "s")
    )
    section.plots.append(
        Plot("Letters a second", "lines", "letters/s", [span * n for n in range(SPANS)], {"rate": rates}, "s")
    )
    section.notes.append("memory is that of our processes; PostgreSQL's grows until it has touched its buffers")
