"""oban drains N no-op jobs: python oban_drain.py N, in an environment of its own. The server: from the environment."""

import asyncio
import json
import os
import sys
import time

import uvloop
from oban import Oban, worker
from oban.schema import install

LIMIT = 100
ENQUEUE = 1000
instants: list[float] = []


@worker(queue="bench")
class Noop:
    async def process(self, _job: object) -> None:
        instants.append(time.perf_counter())


async def main(jobs: int) -> None:
    pool = await Oban.create_pool(f"dbname={os.environ['PGDATABASE']}", min_size=2, max_size=10)
    await install(pool)
    client = Oban(pool=pool, name="client")
    for start in range(0, jobs, ENQUEUE):
        numbers = range(start, min(start + ENQUEUE, jobs))
        await client.enqueue_many([Noop.new({"number": n}) for n in numbers])  # type: ignore[attr-defined]
    async with pool.connection() as connection:
        await connection.execute("ANALYZE")
    async with Oban(pool=pool, queues={"bench": LIMIT}):
        while len(instants) < jobs:  # noqa: ASYNC110 - its worker cannot be told of an event
            await asyncio.sleep(0.02)
    await pool.close()
    print(json.dumps({"rate": len(instants) / (instants[-1] - instants[0])}))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
