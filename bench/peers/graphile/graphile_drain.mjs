// graphile-worker drains N no-op jobs: node graphile_drain.mjs N. The server comes from the environment.
import { EventEmitter } from "node:events";
import { makeWorkerUtils, run, Logger } from "graphile-worker";

const jobs = Number(process.argv[2]);
const enqueue = 1000;
const quiet = new Logger(() => () => {});
const connectionString = `postgres:///${process.env.PGDATABASE}?host=${process.env.PGHOST}&user=${process.env.PGUSER}`;

const utils = await makeWorkerUtils({ connectionString, logger: quiet });
await utils.migrate();
for (let start = 0; start < jobs; start += enqueue) {
  const count = Math.min(enqueue, jobs - start);
  await utils.addJobs(Array.from({ length: count }, (_, n) => ({ identifier: "noop", payload: { n } })));
}
await utils.withPgClient((client) => client.query("ANALYZE"));

// Counted when the database has it that the job is done, as our hop is counted when it is committed.
let done = 0, first = 0, last = 0, finished;
const all = new Promise((resolve) => { finished = resolve; });
const events = new EventEmitter();
events.on("job:complete", () => {
  last = performance.now();
  if (done === 0) first = last;
  done += 1;
  if (done === jobs) finished();
});
const runner = await run({
  connectionString, logger: quiet, noHandleSignals: true, events, taskList: { noop: async () => {} },
  preset: { worker: {
    concurrentJobs: 24, maxPoolSize: 26, pollInterval: 2000,
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0, failJobBatchDelay: 0,
  } },
});
await all;
await runner.stop();
await utils.release();
console.log(JSON.stringify({ rate: jobs / ((last - first) / 1000) }));
