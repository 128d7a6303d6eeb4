"""The only places where a test lets time pass: looking at another process again, and choosing the instant of a fault.

Everything else waits on a signal (tests/tidy/test_house_style.py sees to it).
"""

from collections.abc import Awaitable, Callable

import anyio

LOOK_SECONDS = 0.02


async def until(holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Asks another process again and again, as nothing here hears of its change; TimeoutError after `seconds`."""
    with anyio.fail_after(seconds):
        while not await holds():  # noqa: ASYNC110
            await anyio.sleep(LOOK_SECONDS)


async def instant(seconds: float) -> None:
    """The fault, or the work under it, falls `seconds` from now: what is tested is that any instant will do."""
    await anyio.sleep(seconds)
