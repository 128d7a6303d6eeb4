"""Scenario backlog: does a hop slow down when a million messages wait?"""

from statistics import median

from bench import hop_stage
from bench.context import Bench
from bench.results import Plot, Section
from bench.server import can_emulate, server
from bench.statistics import ratio_of_runs

FEW, MANY = 1_000, 1_000_000
MOVED = (10_000, 40_000)  # quick and full
BATCH = 100


def run(bench: Bench) -> Section:
    """Interleaved: as many messages are moved while at least a thousand, and while a million wait."""
    section = Section("backlog", "A hop with a million messages waiting")
    rates: dict[int, list[float]] = {FEW: [], MANY: []}
    moved = bench.pick(*MOVED)
    with server(emulated_flush=can_emulate()) as on:
        for number in range(bench.pick(3, 5)):
            for waiting in (FEW, MANY):
                bench.say(f"run {number + 1}: {moved:,} of {waiting + moved:,} rows moved")
                hop_stage.fill(on, "ingest", waiting + moved)
                rates[waiting].append(hop_stage.drain_rate(on, moved, BATCH))
    few, many = rates[FEW], rates[MANY]
    section.measures["backlog.rate"] = ratio_of_runs(many, few)
    section.figure(f"hops a second, {FEW:,} waiting", median(few), "/s")
    section.figure(f"hops a second, {MANY:,} waiting", median(many), "/s")
    rates_of_both = {"rate": [median(few), median(many)]}
    section.plots.append(
        Plot(
            "Hops a second by backlog, batch 100",
            "bars",
            "hops/s",
            [f"{FEW:,} waiting", f"{MANY:,} waiting"],
            rates_of_both,
        )
    )
    return section
