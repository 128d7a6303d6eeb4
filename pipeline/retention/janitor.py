"""Remove from the store what nobody can use any more.

Owns     what goes, in which order, how much at a time
Rules    rows first, objects after: a crash between leaves objects without a row, which a later round finds by listing.
         An object is removed only when no row names it, a day after it could last have been on its way to one. A pack
         goes when the last of its contents has gone. Any number of processes may do this at once
         when more objects are without a row than with one, none is removed: then the store belongs to another database,
         or the database was restored from before, and a person has to look
Crash    anywhere: the next round begins anew
Elsewhere: which rows those are (adapters/postgres/sql/garbage.sql); letters, their contents and proofs: they stay
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Protocol
from uuid import UUID

import anyio

from pipeline.errors import Transient
from pipeline.ports.outside import Objects
from pipeline.process.measures import CLEANED_OBJECTS
from pipeline.process.recorder import Recorder

REST_SECONDS = 3600.0
GRACE_SECONDS = 24 * 3600.0  # no request lasts for so long: what has no row by then will have none
BATCH_MAX = 500  # uploads, packs or names in one statement
ROUND_BATCHES_MAX = 1000  # a backlog goes in several rounds, and nobody waits for it
LISTING_ROUNDS = 24  # the whole store is listed once a day
STRAYS_MAX = 1000  # in one round
STRAYS_FEW = 100  # crashes leave that many in a store that holds nothing else yet


@dataclass(frozen=True, slots=True)
class CleanedThrough:
    """A place in the order in which uploads are over. One that was passed need not be looked at again: what was in use
    a day after its time is in use for ever."""

    expires_at: datetime
    upload: UUID


BEGINNING = CleanedThrough(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Dropped:
    """What became of a page of uploads: how many were looked at and removed, the objects that nothing names now."""

    examined: int
    uploads: int
    objects: tuple[str, ...]
    last: CleanedThrough


class Garbage(Protocol):
    """The rows of what may go. Every method is durable on return, may be called twice and raises Transient."""

    async def drop_uploads(self, after: CleanedThrough, older_seconds: float, limit: int) -> Dropped:
        """Looks at the next `limit` uploads that are over for so long, and removes those that no letter names."""

    async def drop_packs(self, older_seconds: float, limit: int) -> Sequence[str]:
        """Removes packs, at least so old, of which no content is left: their objects."""

    async def unnamed(self, objects: Sequence[str]) -> frozenset[str]:
        """Those of these objects that no row of any table names."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round removed. refused: objects without a row that are too many to be believed, and were left."""

    uploads: int
    packs: int
    objects: int
    strays: int = 0
    refused: int = 0
    reached: CleanedThrough = BEGINNING


async def keep_clean(garbage: Garbage, objects: Objects, recorder: Recorder) -> None:
    """For ever: a round, then a rest. Trouble ends the round and is told; the next one begins anew."""
    reached = BEGINNING
    for number in count():
        try:
            done = await clean(garbage, objects, listing=number % LISTING_ROUNDS == 0, after=reached)
        except (Transient, TimeoutError) as error:
            recorder.error("cleaning", error)
        else:
            reached = done.reached
            counts = {"uploads": done.uploads, "packs": done.packs, "objects": done.objects}
            recorder.note("cleaned", **counts, strays=done.strays, refused=done.refused)
            recorder.count(CLEANED_OBJECTS, by=done.objects + done.strays)
        await anyio.sleep(REST_SECONDS)


async def clean(
    garbage: Garbage,
    objects: Objects,
    *,
    listing: bool,
    after: CleanedThrough = BEGINNING,
    batch_max: int = BATCH_MAX,
    batches_max: int = ROUND_BATCHES_MAX,
) -> Round:
    """One round. Steps: 1 uploads, 2 packs, 3 with `listing` objects that nobody names."""
    uploads = removed = 0
    for _ in range(batches_max):  # 1
        page = await garbage.drop_uploads(after, GRACE_SECONDS, batch_max)
        uploads += page.uploads
        removed += await _delete(objects, page.objects)
        after = page.last
        if page.examined < batch_max:
            break
    packs = await garbage.drop_packs(GRACE_SECONDS, batch_max)  # 2
    removed += await _delete(objects, packs)
    done = Round(uploads, len(packs), removed, reached=after)
    if not listing:
        return done
    strays, named = await _strays(garbage, objects)  # 3
    if len(strays) > max(STRAYS_FEW, named):
        return replace(done, refused=len(strays))
    return replace(done, strays=await _delete(objects, strays))


async def _strays(garbage: Garbage, objects: Objects) -> tuple[list[str], int]:
    """Objects that nobody names, at most STRAYS_MAX, and how many somebody names."""
    strays: list[str] = []
    named = 0
    names: list[str] = []
    async with aclosing(objects.list(GRACE_SECONDS)) as listing:
        async for entry in listing:
            names.append(entry.name)
            if len(names) >= BATCH_MAX:
                unnamed = await garbage.unnamed(names)
                strays = [*strays, *sorted(unnamed)][:STRAYS_MAX]
                named, names = named + len(names) - len(unnamed), []
    unnamed = await garbage.unnamed(names) if names else frozenset()
    return [*strays, *sorted(unnamed)][:STRAYS_MAX], named + len(names) - len(unnamed)


async def _delete(objects: Objects, names: Sequence[str]) -> int:
    for name in names:
        await objects.delete(name)
    return len(names)
