"""Scenario hop: one mailbox hop of the real runtime against the machine's limit and against peers."""

from collections import defaultdict
from statistics import median

from bench import hop_bounds, hop_conditions, hop_profile, hop_stage, peers
from bench.context import Bench
from bench.results import Plot, Section, Table
from bench.server import DatabaseServer, can_emulate, server
from bench.statistics import medians, percentiles, ratio_of_runs

BATCHES = (1, 10, 100)
ROWS = {1: (300, 600), 10: (3_000, 6_000), 100: (20_000, 40_000)}  # quick, full: a second or so each
OURS, ALONE, FUSED, PGBENCH = "hop", "one connection", "fused statement", "pgbench"
CONTESTANTS = {
    OURS: hop_stage.drain_rate,  # as the stages run: the next batch is taken while this one commits
    ALONE: hop_stage.one_connection_rate,
    FUSED: hop_bounds.fused_rate,
    PGBENCH: hop_bounds.pgbench_rate,
}


def run(bench: Bench) -> Section:
    """At an emulated flush, then on the real disk."""
    section = Section("hop", "One mailbox hop, no-op work, one process")
    with server(emulated_flush=can_emulate()) as emulated:
        if not can_emulate():
            section.notes.append("no file system in memory: the emulated flush was measured on the real disk instead")
        _bounds(bench, section, emulated, "1 ms flush", "hop.fused")
        _peers(bench, section, emulated)
        _profile(bench, section, emulated)
        _conditions(bench, section, emulated)
    with server(emulated_flush=False) as disk:
        _bounds(bench, section, disk, "real disk", None)
    return section


def _bounds(bench: Bench, section: Section, on: DatabaseServer, where: str, key: str | None) -> None:
    """Interleaved runs of the hop, both ways, the fused statement and pgbench, by batch. One connection is compared."""
    runs: dict[int, dict[str, list[float]]] = {batch: defaultdict(list) for batch in BATCHES}
    for number in range(5 if key else bench.pick(1, 5)):
        for batch in BATCHES:
            for name, rate in CONTESTANTS.items():
                if name == PGBENCH and number >= bench.pick(1, 5):
                    continue
                bench.say(f"{where}, run {number + 1}, batch {batch}: {name}")
                rows = bench.pick(*ROWS[batch])
                hop_stage.fill(on, "ingest", rows)
                runs[batch][name].append(rate(on, rows, batch))
    rows_of_table = []
    for batch in BATCHES:
        middle = medians(runs[batch])
        against_fused = ratio_of_runs(runs[batch][ALONE], runs[batch][FUSED])
        against_pgbench = middle[ALONE] / middle[PGBENCH]
        if key:
            section.measures[f"{key}.{batch}"] = against_fused
        cells = [f"{middle[name]:,.0f}/s" for name in CONTESTANTS]
        rows_of_table.append([str(batch), *cells, f"{against_fused:.2f}", f"{against_pgbench:.2f}"])
    columns = ["batch", *CONTESTANTS, "one connection / fused", "one connection / pgbench"]
    section.tables.append(Table(f"Hops a second, {where}", columns, rows_of_table))
    section.plots.append(
        Plot(
            f"Hops a second, {where}",
            "bars",
            "hops/s",
            [f"batch {batch}" for batch in BATCHES],
            {name: [median(runs[batch][name]) for batch in BATCHES] for name in CONTESTANTS},
            is_logarithmic=True,
        )
    )


def _peers(bench: Bench, section: Section, on: DatabaseServer) -> None:
    """Our batch of 100 before and after each run of a peer; the ratio is taken run by run."""
    rows = bench.pick(*ROWS[100])

    def own_rate() -> float:
        hop_stage.fill(on, "ingest", rows)
        return hop_stage.drain_rate(on, rows, 100)

    own_rates: dict[str, list[float]] = defaultdict(list)
    peer_rates: dict[str, list[float]] = defaultdict(list)
    before = own_rate()
    for _ in range(bench.pick(1, 3)):
        for peer in peers.PEERS:
            bench.say(f"peer {peer.name}")
            try:
                rate = peers.rate(peer, on, bench)
            except peers.Absent as why:
                section.notes.append(f"{peer.name} took no part: {why}")
                continue
            after = own_rate()
            own_rates[peer.name].append((before + after) / 2)
            peer_rates[peer.name].append(rate)
            before = after
    rows_of_table = []
    for peer in (p for p in peers.PEERS if p.name in peer_rates):
        ratio = ratio_of_runs(own_rates[peer.name], peer_rates[peer.name])
        section.measures[f"hop.{peer.name.removesuffix('-worker')}"] = ratio
        rates = [f"{median(own_rates[peer.name]):,.0f}/s", f"{median(peer_rates[peer.name]):,.0f}/s"]
        rows_of_table.append([peer.name, *rates, f"{ratio:.1f}", peer.settings])
    title = "Peers, no-op jobs, 1 ms flush (they finish the job; our hop also fills the next mailbox)"
    section.tables.append(Table(title, ["peer", "our hop", "peer", "ratio", "its settings"], rows_of_table))
    named = [p.name for p in peers.PEERS if p.name in peer_rates]
    if named:
        rates_of_all = [median(own_rates[named[0]]), *(median(peer_rates[n]) for n in named)]
        section.plots.append(
            Plot("No-op jobs a second, 1 ms flush", "bars", "jobs/s", ["our hop", *named], {"rate": rates_of_all})
        )


def _profile(bench: Bench, section: Section, on: DatabaseServer) -> None:
    """What a batch of 100 waits for; the explanation of every ratio above."""
    bench.say("where the time of a batch goes")
    runs = [hop_profile.profile(on, bench.pick(*ROWS[100]), 100) for _ in range(3)]
    steps = {name: median(run[name] for run in runs) for name in runs[0]}
    rows = [[name, f"{ms:.2f} ms"] for name, ms in steps.items()]
    section.tables.append(Table("Where a batch of 100 goes, 1 ms flush", ["step", "of one batch"], rows))
    words = "a batch of 100: " + ", ".join(f"{n} {ms:.2f} ms" for n, ms in steps.items())
    section.remarks |= dict.fromkeys(("hop.graphile", "hop.oban", "hop.pgqueuer", "hop.fused.100"), words)


def _conditions(bench: Bench, section: Section, on: DatabaseServer) -> None:
    pinned_seconds = bench.pick(10, 30)
    bench.say(f"take under a snapshot pinned for {pinned_seconds} s")
    before, after, dead = hop_conditions.pinned(on, bench.pick(5, 10), pinned_seconds)
    section.measures["hop.pinned"] = after / before
    section.figure("take p50 before the snapshot was pinned", before, "ms", "2,000 messages/s")
    section.figure(f"take p50 after {pinned_seconds} s of it", after, "ms", f"{dead:,} dead rows")

    seconds = bench.pick(2, 4)
    rung, silent = [], []
    for number in range(bench.pick(3, 5)):
        bench.say(f"16 writers, run {number + 1}")
        silent.append(hop_conditions.writers_rate(on, seconds, is_ringing=False))
        rung.append(hop_conditions.writers_rate(on, seconds, is_ringing=True))
    section.measures["hop.doorbells"] = ratio_of_runs(rung, silent)
    section.figure("16 writers without doorbells", median(silent), "commits/s")
    section.figure("16 writers with doorbells", median(rung), "commits/s")

    bench.say("five hops in five processes, idle")
    five = percentiles(hop_conditions.five_hops(on, bench.pick(100, 400)))
    section.measures |= {"hop.five.p50": five.p50, "hop.five.p99": five.p99}
    section.figure("five hops, idle, p50", five.p50, "ms")
    section.figure("five hops, idle, p99", five.p99, "ms", f"largest {five.largest:.1f} ms")

    for batch in BATCHES:
        bench.say(f"WAL of a hop, batch {batch}")
        wal = hop_conditions.wal_bytes_of_a_hop(on, bench.pick(*ROWS[batch]), batch)
        section.figure(f"WAL of a hop, batch {batch}", wal, "B")
        if batch == 100:
            section.measures["hop.wal"] = wal
