"""procrastinate drains N no-op jobs: python -m bench.peers.procrastinate_drain N. The server: from the environment."""

import json
import sys
import time

import anyio
import procrastinate

CONCURRENCY = 10
DEFER = 1000


async def main(jobs: int) -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector())
    instants: list[float] = []

    @app.task(name="noop")  # type: ignore[untyped-decorator]
    async def noop(number: int) -> None:
        instants.append(time.perf_counter())

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for start in range(0, jobs, DEFER):
            await noop.batch_defer_async(*({"number": n} for n in range(start, min(start + DEFER, jobs))))
        await app.connector.execute_query_async("ANALYZE")
        await app.run_worker_async(
            wait=False,
            concurrency=CONCURRENCY,
            delete_jobs="successful",
            listen_notify=False,
            install_signal_handlers=False,
        )
    print(json.dumps({"rate": len(instants) / (instants[-1] - instants[0])}))


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), backend_options={"use_uvloop": True})
