"""Room for bodies under way.

Owns     how many contents may be on their way into the store at once, whichever request brings them
Rules    a sender waits better at its own side: who finds no room is told so at once
"""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from gateway.problems import Problem

UPLOADS_AT_ONCE = 32  # each holds some three segments of 1 MiB


class UploadLimit:
    """Of one process."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(UPLOADS_AT_ONCE)

    @contextmanager
    def held(self) -> Iterator[None]:
        """While one is on its way; Problem unavailable at once when there is no room."""
        holder = object()
        try:
            self._limiter.acquire_on_behalf_of_nowait(holder)
        except anyio.WouldBlock as error:
            raise Problem("unavailable", "too many uploads at once") from error
        try:
            yield
        finally:
            self._limiter.release_on_behalf_of(holder)
