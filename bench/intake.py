"""Scenario intake: how fast lines of a batch are accepted and durable, their processing aside."""

import time
from statistics import median

import anyio

from bench.context import Bench
from bench.feeding import feeder, items, open_batch, put_items, text
from bench.results import Section

LINES = (20_000, 100_000)  # quick, full


def run(bench: Bench) -> Section:
    """Parts of 10,000 lines, one after the other; a part is durable when it is answered."""
    section = Section("intake", "Lines of a batch, accepted and durable, shared content")
    anyio.run(_run, bench, section, backend_options={"use_uvloop": True})
    return section


async def _run(bench: Bench, section: Section) -> None:
    count = bench.pick(*LINES)
    rates = []
    async with feeder(bench.installation()) as feed:
        document = await feed.sender.upload(text("intake", 0, 2048), "letter.txt")
        for number in range(3):
            bench.say(f"{count:,} lines, run {number + 1}")
            batch = await open_batch(feed.sender, f"intake-{number}")
            content = items(f"intake-{number}", [document] * count)
            before = await feed.installation.usage(feed.database)
            began = time.perf_counter()
            await put_items(feed.sender, batch, content)
            rates.append(count / (time.perf_counter() - began))
            used = (await feed.installation.usage(feed.database)).since(before)
            await feed.sender.call("POST", f"/v1/batches/{batch}/cancel")
    section.measures["intake.lines"] = median(rates)
    section.figure("lines a second", median(rates), "/s", f"{count:,} lines in {len(content.parts)} parts, median of 3")
    section.figure("CPU of the gateway", used.cpu["gateway"] / count * 1_000_000, "us/line")
    section.figure("CPU of PostgreSQL", used.cpu["postgres"] / count * 1_000_000, "us/line")
    section.figure("WAL", used.written.wal_bytes / count, "B/line")
