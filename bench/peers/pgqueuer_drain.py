"""pgqueuer drains N no-op jobs: python -m bench.peers.pgqueuer_drain N. The server comes from the environment."""

import json
import os
import sys
import time

import anyio
import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

BATCH = 100
ENQUEUE = 1000


async def main(jobs: int) -> None:
    connection = await asyncpg.connect(password=os.environ["PGPASSWORD"])
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    await queries.install()
    await queries.optimize_autovacuum()
    for start in range(0, jobs, ENQUEUE):
        count = min(ENQUEUE, jobs - start)
        await queries.enqueue(["noop"] * count, [None] * count, [0] * count)
    await connection.execute("VACUUM ANALYZE")
    instants: list[float] = []
    queue = PgQueuer(driver)

    @queue.entrypoint("noop")  # type: ignore[untyped-decorator]
    async def noop(_job: Job) -> None:
        instants.append(time.perf_counter())

    await queue.run(batch_size=BATCH, mode=QueueExecutionMode.drain)
    print(json.dumps({"rate": len(instants) / (instants[-1] - instants[0])}))


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), backend_options={"use_uvloop": True})
