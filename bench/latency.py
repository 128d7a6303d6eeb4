"""Scenario latency: from the sender's request to the time-stamped A.1, idle, under load, and beside a bulk flood."""

import time

import anyio

from bench.context import Bench
from bench.feeding import Feeder, feeder, items, open_batch, put_items, submit_batch, text
from bench.results import Plot, Section, Table
from bench.statistics import Percentiles, percentiles, sustained_rate

PAUSES_SECONDS = (
    0.083,
    0.131,
    0.109,
)  # between idle letters: uneven, so that nothing beats in time with a timer of ours
SHARES = (25, 50, 75)  # percent of capacity
CALIBRATION = (400, 1500)  # letters, quick and full
WAIT_SECONDS = 60.0
SHARED_BYTES = 2048
SPANS = """
SELECT regexp_replace(d.client_ref, '-[0-9]+$', '') AS load, count(*) AS letters,
       1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM e.event_time - d.submitted_at)) AS draft,
       1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM s.sealed_at - e.event_time)) AS seal,
       1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM t.stamped_at - s.sealed_at)) AS stamp
FROM qerds.delivery d
JOIN qerds.evidence e ON e.delivery = d.id AND e.event = 'A.1'
JOIN qerds.evidence_seal s ON s.evidence = e.evidence
JOIN qerds.evidence_token t ON t.evidence = e.evidence
WHERE d.client_ref LIKE 'lat-%' GROUP BY 1 ORDER BY 1
"""
FLOOD = (3_000, 20_000)  # letters of one batch


def run(bench: Bench) -> Section:
    """On the shared installation."""
    section = Section("latency", "From the request to the time-stamped A.1")
    anyio.run(_run, bench, section, backend_options={"use_uvloop": True})
    return section


async def _run(bench: Bench, section: Section) -> None:
    async with feeder(bench.installation(), at_once=64) as feed:
        document = await feed.sender.upload(text("latency", 0, SHARED_BYTES), "letter.txt")
        bench.say("idle")
        by_load = {"idle": await _idle(feed, document, "lat-idle", bench.pick(60, 250))}
        section.measures |= {"latency.idle.p50": by_load["idle"].p50, "latency.idle.p99": by_load["idle"].p99}
        capacity = await _capacity(bench, feed)
        section.figure("capacity, letters submitted singly", capacity, "/s", "one content, sustained to C.1")
        for share in SHARES:
            bench.say(f"at {share} % of capacity")
            rate, seconds = capacity * share / 100, bench.pick(5, 20)
            by_load[f"{share} % of capacity"] = await _open_loop(feed, document, f"lat-{share}", rate, seconds)
        bench.say("interactive letters beside a bulk flood")
        flood = await _flood(bench, section, feed, document)
        by_load["beside a bulk flood"] = flood
        section.measures |= {"latency.flood.p99": flood.p99, "latency.flood.ratio": flood.p99 / by_load["idle"].p99}
        spans = await _spans(feed)
        section.tables.append(spans)
        beside = next((row for row in spans.rows if row[0] == "lat-beside"), None)
        if beside is not None:
            text_of_beside = f"medians: to the draft {beside[2]}, to the seal {beside[3]}, to the token {beside[4]}"
            section.remarks |= dict.fromkeys(("latency.flood.p99", "latency.flood.ratio"), text_of_beside)
    rows = [[name, *(f"{value:.1f} ms" for value in values)] for name, values in by_load.items()]
    section.tables.append(Table("Submission to stamped A.1", ["load", "p50", "p95", "p99", "largest"], rows))
    series = {name: [getattr(values, name) for values in by_load.values()] for name in ("p50", "p95", "p99")}
    section.plots.append(Plot("Submission to stamped A.1", "bars", "ms", list(by_load), series, is_logarithmic=True))


async def _idle(feed: Feeder, document: dict[str, str], tag: str, count: int) -> Percentiles:
    """One letter at a time, each long after the one before it was stamped."""
    sent: dict[str, float] = {}
    for number in range(count):
        reference = f"{tag}-{number}"
        sent[reference] = time.time()
        await feed.submit(reference, document)
        await anyio.sleep(PAUSES_SECONDS[number % len(PAUSES_SECONDS)])
    return await _latencies(feed, tag, sent)


async def _open_loop(feed: Feeder, document: dict[str, str], tag: str, rate: float, seconds: float) -> Percentiles:
    """Letters at a fixed rate, whether or not the ones before are done: what waits is counted from when it was due."""
    sent: dict[str, float] = {}
    began, count = time.time(), int(rate * seconds)
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            due = began + number / rate
            await anyio.sleep(max(due - time.time(), 0))
            sent[f"{tag}-{number}"] = due
            tasks.start_soon(feed.submit, f"{tag}-{number}", document)
    return await _latencies(feed, tag, sent)


async def _latencies(feed: Feeder, tag: str, sent: dict[str, float]) -> Percentiles:
    stamped = await feed.wait(tag, "A.1", len(sent), min(sent.values()), WAIT_SECONDS)
    return percentiles([(stamped[reference] - at) * 1000 for reference, at in sent.items()])


async def _spans(feed: Feeder) -> Table:
    """Where the time goes: medians of what lies between a letter's instants."""
    rows = [
        [row["load"], f"{row['letters']:,}", *(f"{row[name]:.1f} ms" for name in ("draft", "seal", "stamp"))]
        for row in await feed.database.fetch(SPANS)
    ]
    columns = ["load", "letters", "row to draft (ingest, encrypt)", "draft to seal", "seal to token"]
    return Table("Where the time goes, medians", columns, rows)


async def _capacity(bench: Bench, feed: Feeder) -> float:
    """What the machine does with letters as the levels send them: one by one, the sender's work included."""
    bench.say("measuring the capacity")
    count, began = bench.pick(*CALIBRATION), time.time()
    await feed.one_by_one("lat-capacity", count, SHARED_BYTES)
    stamped = await feed.wait("lat-capacity", "C.1", count, began, WAIT_SECONDS * 4)
    return sustained_rate(list(stamped.values()), began)


async def _flood(bench: Bench, section: Section, feed: Feeder, document: dict[str, str]) -> Percentiles:
    """Interactive letters for as long as a batch is drawn and worked on."""
    batch = await open_batch(feed.sender, "lat-flood")
    count = bench.pick(*FLOOD)
    content = items("lat-bulk", [document] * count)
    digests = await put_items(feed.sender, batch, content)
    began = time.time()
    await submit_batch(feed.sender, batch, digests, content.lines)
    sent: dict[str, float] = {}
    while len(sent) < bench.pick(60, 250) and await _is_flooded(feed, began, count):
        reference = f"lat-beside-{len(sent)}"
        sent[reference] = time.time()
        await feed.submit(reference, document)
        await anyio.sleep(PAUSES_SECONDS[len(sent) % len(PAUSES_SECONDS)])
    beside = await _latencies(feed, "lat-beside", sent)
    bulk = await feed.wait("lat-bulk", "C.1", count, began, bench.pick(60, 300))
    section.figure(
        "bulk letters meanwhile", sustained_rate(list(bulk.values()), began), "/s", f"{count:,} in one batch"
    )
    section.figure("interactive letters beside them", len(sent), "letters")
    return beside


async def _is_flooded(feed: Feeder, began: float, count: int) -> bool:
    """Whether most of the batch still waits."""
    return await feed.reached("lat-bulk", "C.1", began) < count * 0.9
