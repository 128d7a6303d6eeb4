"""The sequencer: gives each committed event its place, and wakes the webhooks that want it.

Owns     the rhythm: sequencing until nothing is left, waking, forgetting
Rules    an elected process (pipeline/process/elected.py). Everything is done over the elected session: who loses it has
         done nothing since
Crash    each step is one statement: all or nothing, and the next elected one goes on
Elsewhere: what a place is (schemas/migrations/0009_feed.sql), the statements (adapters/postgres/sql/feed.sql)
"""

from functools import partial

import anyio

from pipeline.feed.ports import EventLog
from pipeline.ports.outside import Randomness
from pipeline.process import elected
from pipeline.process.elected import Term
from pipeline.process.measures import EVENTS_FORGOTTEN, EVENTS_SEQUENCED, WEBHOOKS_WOKEN
from pipeline.process.recorder import Recorder

SEQUENCED_AT_ONCE = 1000
POLL_SECONDS = 0.5  # how long a lost ring can go unnoticed
WAKE_SECONDS = 1.0  # tries of webhooks come due without any event
FORGET_SECONDS = 3600.0
FORGOTTEN_AT_ONCE = 5000


async def run(log: EventLog, draining: anyio.Event, randomness: Randomness, recorder: Recorder) -> None:
    """Until `draining`; survives a database that goes and comes back."""
    await elected.run(log, partial(sequence_events, log, recorder), draining, randomness.unit, recorder)


async def sequence_events(log: EventLog, recorder: Recorder, _term: Term) -> None:
    """While elected. Leaves by Transient."""
    next_wake = next_forget = anyio.current_time()
    while True:
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
