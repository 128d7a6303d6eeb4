"""The limits of a hop: the same move as one SQL statement, from the same driver and from pgbench.

Owns     the fused statement, the limit that every hop is measured against
Rules    same tables, same columns, same server; it reads through the same watermark as the mailbox, so that dead rows
         cost it nothing either, and it tells the mover what it moved, since a stage could do nothing without
"""

import re
import subprocess
import time
from pathlib import Path

import anyio

from bench.server import DatabaseServer

FUSED = """
WITH got AS (
    DELETE FROM outbox.ingest r WHERE r.ctid = ANY (ARRAY(
        SELECT w.ctid FROM outbox.ingest w WHERE w.lane = 2::smallint AND w.id >= {low} ORDER BY w.id LIMIT {limit}
        FOR UPDATE SKIP LOCKED))
    RETURNING r.id, r.lane, r.subject, r.evidence, r.ordinal, r.traceparent),
moved AS (
    INSERT INTO outbox.encrypt (lane, kind, subject, evidence, ordinal, traceparent)
    SELECT g.lane, 'checked', g.subject, g.evidence, g.ordinal, g.traceparent FROM got g ORDER BY g.id)
SELECT g.id, g.subject FROM got g
"""
AS_OUR_ROLES = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan"
PGBENCH_SECONDS_MAX = 120
PGBENCH_RATE = re.compile(r"tps = ([0-9.]+) \(without initial connection time\)")


def fused_rate(server: DatabaseServer, rows: int, batch_max: int) -> float:
    """Rows a second moved by one connection of the driver, one statement a batch."""

    async def live() -> float:
        connection = await server.connect()
        try:
            await connection.execute(AS_OUR_ROLES)
            move = await connection.prepare(FUSED.format(low="$1::bigint", limit="$2::integer"))
            low, moved, before_last = 0, 0, 0
            last_at = first_at = time.perf_counter()
            while moved < rows:
                batch = await move.fetch(low, batch_max)
                if moved == 0:
                    first_at = time.perf_counter()  # the first one also plans
                    before_last = -len(batch)
                moved += len(batch)
                low = max(row["id"] for row in batch)
                last_at = time.perf_counter()
            return (moved + before_last) / (last_at - first_at)
        finally:
            await connection.close()

    return anyio.run(live, backend_options={"use_uvloop": True})


def pgbench_rate(server: DatabaseServer, rows: int, batch_max: int) -> float:
    """Rows a second moved by pgbench, one client, prepared."""
    script = Path(server.home) / "move.sql"
    script.write_text(FUSED.format(low="0", limit=batch_max) + ";\n")
    transactions = rows // batch_max
    command = [str(server.cluster.binaries / "pgbench"), "-n", "-c", "1", "-M", "prepared"]
    command += ["-t", str(transactions), "-f", str(script)]
    environment = {**server.environment(), "PGOPTIONS": "-c enable_seqscan=off -c enable_bitmapscan=off -c jit=off"}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=PGBENCH_SECONDS_MAX
    )
    match = PGBENCH_RATE.search(result.stdout)
    if match is None:
        raise RuntimeError(f"pgbench said no rate: {result.stdout}")
    return float(match[1]) * batch_max
