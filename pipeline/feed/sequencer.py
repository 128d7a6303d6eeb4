"""The sequencer: gives each committed event its place, and wakes the webhooks that want it.

Owns     the rhythm: election, sequencing until nothing is left, waking, forgetting
Rules    any number of these processes may run; one is elected by a lock that its session holds, the others look again
         each second. Everything is done on the session that holds the lock: who loses it has done nothing since
Crash    each step is one statement: all or nothing, and the next elected one goes on
Elsewhere: what a place is (schemas/migrations/0009_feed.sql), the statements (adapters/postgres/sql/feed.sql)
"""

import anyio

from pipeline.errors import Transient
from pipeline.feed.ports import EventLog
from pipeline.ports.outside import Randomness
from pipeline.process.backoff import retry_seconds
from pipeline.process.measures import ELECTIONS_LOST, EVENTS_FORGOTTEN, EVENTS_SEQUENCED, WEBHOOKS_WOKEN
from pipeline.process.recorder import Recorder

SEQUENCED_AT_ONCE = 1000
POLL_SECONDS = 0.5  # how long a lost ring can go unnoticed
STANDBY_SECONDS = 1.0
WAKE_SECONDS = 1.0  # tries of webhooks come due without any event
FORGET_SECONDS = 3600.0
FORGOTTEN_AT_ONCE = 5000
PAUSE_SECONDS_MAX = 5.0


async def run(log: EventLog, draining: anyio.Event, randomness: Randomness, recorder: Recorder) -> None:
    """Until `draining`; survives a database that goes and comes back."""
    lost = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_awake_when_draining, log, draining)
        while not draining.is_set():
            try:
                is_elected = await log.elect()
                recorder.is_ready = True
                recorder.ready.set()
                lost = 0
                if is_elected:
                    await _lead(log, draining, recorder)
                else:
                    await _pause(STANDBY_SECONDS, draining)
            except (Transient, TimeoutError):
                recorder.count(ELECTIONS_LOST)
                recorder.is_ready = False
                lost += 1
                await _pause(min(retry_seconds(lost, randomness.unit()), PAUSE_SECONDS_MAX), draining)
        tasks.cancel_scope.cancel()
    await log.stop()


async def _lead(log: EventLog, draining: anyio.Event, recorder: Recorder) -> None:
    """While elected. Leaves by Transient, or when draining."""
    next_wake = next_forget = anyio.current_time()
    while not draining.is_set():
        count = await log.sequence(SEQUENCED_AT_ONCE)
        recorder.count(EVENTS_SEQUENCED, by=count)
        now = anyio.current_time()
        if count or now >= next_wake:
            recorder.count(WEBHOOKS_WOKEN, by=await log.wake())
            next_wake = now + WAKE_SECONDS
        if now >= next_forget:
            forgotten = await log.forget(FORGOTTEN_AT_ONCE)
            recorder.count(EVENTS_FORGOTTEN, by=forgotten)
            next_forget = now if forgotten else now + FORGET_SECONDS
        if count < SEQUENCED_AT_ONCE:
            await log.doorbell(POLL_SECONDS)


async def _awake_when_draining(log: EventLog, draining: anyio.Event) -> None:
    await draining.wait()
    log.awake()


async def _pause(seconds: float, draining: anyio.Event) -> None:
    with anyio.move_on_after(seconds):
        await draining.wait()
