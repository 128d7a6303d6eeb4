"""A process for the tests of pipeline/process/life.py: `living.py BEHAVIOUR`. It prints what happens to it."""

import sys

import anyio

from pipeline.errors import Invariant
from pipeline.process import life
from pipeline.process.life import Life
from pipeline.process.recorder import Recorder

DRAIN_SECONDS = 0.2


def say(text: str) -> None:
    print(text, flush=True)


class Refused(Exception):
    """What this process says of itself."""


async def drains(own: Life) -> None:
    """Finishes what it has in hands."""
    recorder = Recorder("living")
    async with own.watched(recorder):
        recorder.ready.set()
        await own.draining.wait()
        say("finished")


async def stays(own: Life) -> None:
    """Drains for longer than it may."""
    own.ready()
    try:
        await anyio.sleep_forever()
    finally:
        say("cut")


async def hangs(own: Life) -> None:
    """Its loop turns no more, once it drains."""
    own.ready()
    await own.draining.wait()
    say("hangs")
    while True:
        pass


async def breaks(_own: Life) -> None:
    """A promise does not hold."""
    async with anyio.create_task_group():
        raise Invariant("the seal of 7 does not verify")


async def refuses(_own: Life) -> None:
    """Cannot go on, for a reason that a person understands."""
    async with anyio.create_task_group():
        raise Refused("the PIN is wrong")


async def fails(_own: Life) -> None:
    """In a way that nobody expected."""
    raise ZeroDivisionError


WORK = {work.__name__: work for work in (drains, stays, hangs, breaks, refuses, fails)}

if __name__ == "__main__":
    sys.exit(life.run("living", WORK[sys.argv[1]], DRAIN_SECONDS, {Refused: 4}))
