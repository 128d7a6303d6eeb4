"""How often: so many in so long, told in every answer that counts.

Owns     the count, the fields RateLimit and RateLimit-Policy, the problem rate_limited with Retry-After
Rules    a rate is of one process and in its memory: it slows guessing and floods down, it is no account. It fills
         continuously, so that nobody waits for the end of a window. Whoever asks is known by the prefix of his address,
         or by what else `by` finds; what is remembered has a bound, and the oldest is forgotten first
Elsewhere: how many at once (places.py), which address has which rate (`routes` of each face)
Source   draft-ietf-httpapi-ratelimit-headers-10; RFC 6585 section 4
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from starlette.types import Scope

from gateway.callers import caller_of
from gateway.problems import Problem

REMEMBERED_MAX = 20_000  # some 4 MB


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one who asks: what is left, and in how many seconds all of it is there again."""

    left: int
    full_seconds: float


def by_prefix(scope: Scope) -> Hashable | None:
    """Of a request's caller."""
    return caller_of(scope).prefix


def by_region(scope: Scope) -> Hashable | None:
    """Of a request's caller, and all that his provider has beside him."""
    return caller_of(scope).region


class Rate:
    """count in `seconds`, for each who asks. by: who that is; None is not counted."""

    def __init__(
        self,
        name: str,
        count: int,
        seconds: int,
        by: Callable[[Scope], Hashable | None] = by_prefix,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.owner = by
        self._name = name
        self._count = count
        self._seconds = seconds
        self._now = now
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()  # when all of it is there again

    def take(self, owner: Hashable) -> dict[str, str]:
        """Counts one more; the header fields. Raises Problem rate_limited when nothing is left."""
        standing = self.standing(owner)
        if standing.left < 1:
            seconds = max(1, math.ceil(standing.full_seconds - self._seconds * (self._count - 1) / self._count))
            headers = {**self._fields(standing), "Retry-After": str(seconds)}
            raise Problem("rate_limited", f"at most {self._count} in {self._seconds} s", headers=headers)
        self._full_at[owner] = self._now() + standing.full_seconds + self._seconds / self._count
        self._full_at.move_to_end(owner)
        if len(self._full_at) > REMEMBERED_MAX:
            self._full_at.popitem(last=False)
        return self._fields(self.standing(owner))

    def require(self, owner: Hashable) -> None:
        """Raises Problem rate_limited when nothing is left, and counts nothing: for what only failures count in."""
        if self.standing(owner).left < 1:
            self.take(owner)

    def standing(self, owner: Hashable) -> Standing:
        """Without counting."""
        full_seconds = max(0.0, self._full_at.get(owner, 0.0) - self._now())
        left = self._count - full_seconds * self._count / self._seconds
        return Standing(math.floor(left + 1e-9), full_seconds)

    def _fields(self, standing: Standing) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"{self._name}";q={self._count};w={self._seconds}',
            "RateLimit": f'"{self._name}";r={max(0, standing.left)};t={math.ceil(standing.full_seconds)}',
        }
