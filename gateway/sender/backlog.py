"""Not more than can be worked off: 429 before anything degrades.

Owns     the limits on what may wait, asked at most once a second
Rules    a letter on its own is refused when letters on their own are too many at all stages up to the notice: nothing
         else holds them back; bulk, when anything is too much for `ingest`. What is refused was not stored, and
         Retry-After says when to come again
Elsewhere: how `ingest` holds batches back while the stages after it are full (pipeline/stages/ingest.py)
"""

import time

from gateway.problems import Problem
from pipeline.stores.batches import BatchStore

WAITING_MAX = 2000  # messages: some seconds of work
REMEMBERED_SECONDS = 1.0
RETRY_SECONDS = 5


class Backlog:
    """How deep the mailboxes are."""

    def __init__(self, batches: BatchStore) -> None:
        self._batches = batches
        self._known: dict[bool, tuple[float, int]] = {}  # interactive only? -> asked at, how many

    async def check(self, *, interactive: bool) -> None:
        """Raises Problem backlog_full."""
        now = time.monotonic()
        asked_at, waiting = self._known.get(interactive, (float("-inf"), 0))
        if now - asked_at >= REMEMBERED_SECONDS:
            waiting = await self._batches.backlog(interactive_only=interactive, at_most=WAITING_MAX)
            self._known[interactive] = (now, waiting)
        if waiting >= WAITING_MAX:
            raise Problem("backlog_full", headers={"Retry-After": str(RETRY_SECONDS)})
