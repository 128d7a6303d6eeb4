"""Scenario scale: one, two and four processes of a stage on one mailbox."""

import time
from statistics import median

from bench import hop_stage, hop_worker
from bench.context import Bench
from bench.processes import cpu_seconds
from bench.results import Plot, Section, Table
from bench.server import DatabaseServer, can_emulate, server

PROCESSES = (1, 2, 4)
ROWS = {10: (6_000, 60_000), 100: (40_000, 300_000)}  # by batch; quick, full
EMPTY_SECONDS_MAX = 120.0
POLL_SECONDS = 0.05
RING = "SELECT pg_notify('doorbell', 'ingest');"


def run(bench: Bench) -> Section:
    """At an emulated flush: what more processes buy is the time that one spends waiting for it."""
    section = Section("scale", "Processes of one stage on one mailbox, no-op work")
    rates: dict[int, list[float]] = {}
    rows = []
    with server(emulated_flush=can_emulate()) as on:
        for batch, sizes in ROWS.items():
            rates[batch] = []
            for processes in PROCESSES:
                bench.say(f"{processes} processes, batch {batch}")
                runs = [_rate(on, processes, batch, bench.pick(*sizes)) for _ in range(bench.pick(1, 3))]
                rates[batch].append(median(rate for rate, _ in runs))
                cpu = median(seconds for _, seconds in runs)
                gain = rates[batch][-1] / rates[batch][0]
                cells = [f"{rates[batch][-1]:,.0f}/s", f"{gain:.2f}", f"{cpu * 1_000_000:.0f} ms"]
                rows.append([str(batch), str(processes), *cells])
    columns = ["batch", "processes", "hops a second", "against one", "CPU of 1,000 hops, stage alone"]
    section.tables.append(Table("Hops a second, 1 ms flush", columns, rows))
    series = {f"batch {batch}": values for batch, values in rates.items()}
    section.plots.append(
        Plot(
            "Hops a second by processes, 1 ms flush", "bars", "hops/s", [str(n) for n in PROCESSES], series, "processes"
        )
    )
    section.notes.append(
        "on two cores server and stage share the cores: more processes gain only while one of them waits"
    )
    return section


def _rate(on: DatabaseServer, processes: int, batch: int, rows: int) -> tuple[float, float]:
    """Hops a second until the mailbox is empty, and CPU-seconds of a hop in the stage's processes."""
    hop_stage.fill(on, "ingest", 0)
    with hop_worker.workers(on, ["ingest"] * processes, batch) as pids:
        named = {str(pid): pid for pid in pids}
        before = sum(cpu_seconds(named).values())
        hop_stage.fill(on, "ingest", rows)
        began = time.monotonic()
        on.psql(RING)
        while int(on.psql("SELECT count(*) FROM outbox.encrypt")) < rows:
            if time.monotonic() - began > EMPTY_SECONDS_MAX:
                raise RuntimeError("the mailbox did not get empty")
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - began
        return rows / seconds, (sum(cpu_seconds(named).values()) - before) / rows
