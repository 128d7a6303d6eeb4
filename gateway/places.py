"""Room for what costs much while it lasts: so many at once, and nobody takes the last place.

Owns     how places are shared among whoever asks for them
Rules    a sender waits better at its own side: who finds no place is told so at once, and when to come again. Whoever
         has none gets any free place; whoever has some leaves at least half as many free as it has, however few ask.
         Shares are by sender, or by prefix and region of addresses where nobody has said who he is
Elsewhere: how much there is room for (whoever makes the places), how often somebody may ask (rates.py)
Source   Choudhury and Hahne, Dynamic queue length thresholds for shared-memory packet switches (1998)
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager

from gateway.callers import Caller
from gateway.problems import Problem

RETRY_SECONDS = 5


class Places:
    """Of one process. what: the plural of what takes them, for people."""

    def __init__(self, at_once: int, what: str) -> None:
        self._free = at_once
        self._what = what
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def held(self, *owners: Hashable) -> Iterator[None]:
        """While it lasts, for each of these: Problem unavailable when there is no place, rate_limited when there is
        none for them."""
        again = {"Retry-After": str(RETRY_SECONDS)}
        if not self._free:
            raise Problem("unavailable", f"too many {self._what} at once", headers=again)
        if not all(self._may_have(owner) for owner in owners):
            raise Problem("rate_limited", f"too many {self._what} of yours at once", headers=again)
        self._free -= 1
        self._held.update(owners)
        try:
            yield
        finally:
            self._free += 1
            for owner in owners:
                self._held[owner] -= 1
                if not self._held[owner]:
                    del self._held[owner]

    def held_by(self, caller: Caller) -> AbstractContextManager[None]:
        """The same for clients of whom only the address is known."""
        return self.held(("region", caller.region), ("prefix", caller.prefix))

    def _may_have(self, owner: Hashable) -> bool:
        held = self._held.get(owner, 0)
        return held == 0 or held + 1 <= 2 * (self._free - 1)
