"""Run a coroutine on trio with a virtual clock and a schedule that a seed decides: the same seed, the same run.

Owns     the one use of trio's private hook for deterministic scheduling (trio's own tests have it, too);
         trio is pinned in pyproject.toml for it
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from trio._core import _run
from trio.testing import MockClock

T = TypeVar("T")


def run_seeded(seed: int, main: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """The result of `main`. Virtual time jumps as soon as everybody waits."""
    hook: Any = _run
    before = hook._ALLOW_DETERMINISTIC_SCHEDULING
    hook._ALLOW_DETERMINISTIC_SCHEDULING = True
    hook._r.seed(seed)
    try:
        return anyio.run(main, *arguments, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    finally:
        hook._ALLOW_DETERMINISTIC_SCHEDULING = before
