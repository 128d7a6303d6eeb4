"""Lists of letters: which ones, in which order, and where a page goes on.

Owns     the two orders and the places in them
         by deposit: by (deposited_at, id); then those without a deposit, by the time of rejection or submission
         by change (asked for with changed_after): by (changed_at, id)
Rules    a place is made of times and an id, so that it holds whatever becomes of the letter it was taken from
         a letter moves to the end of the order of change with every change, and once, when it is deposited, in that of
         deposit: from those without a deposit to its place among the others
         a page costs a page: by deposit an index has the places of each state, and a list begins in each state where
         it goes on; by change it is looked through LOOKED_AT_MAX letters, so a page may be short and yet not the last
         by deposit the statement has to filter: it reads a page and one more, and what is sorted out here is taken for
         the end of the list
Elsewhere: SQL (adapters/postgres/sql/senders.sql), parameters and cursors (gateway/sender/delivery_list.py), what is
         shown of a letter (gateway/sender/presentation.py)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar
from uuid import UUID

from pipeline.delivery.states import REJECTED, STATES, SUBMITTED

LOOKED_AT_MAX = 1000  # for one page, when only some of them may be wanted
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # before every letter
UNDEPOSITED = frozenset({SUBMITTED, REJECTED})


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries a list holds. changed_after also chooses its order."""

    client_ref: str | None = None
    state: str | None = None
    batch: UUID | None = None
    changed_after: datetime | None = None


@dataclass(frozen=True, slots=True, order=True)
class ListPlace:
    """Where a delivery stands in a list; its fields in the order in which they count."""

    is_undeposited: bool  # never in the order of change
    at: datetime
    delivery: UUID


@dataclass(frozen=True, slots=True)
class Start:
    """Where a list begins among the deliveries of one state: after (at, delivery)."""

    state: str
    at: datetime
    delivery: UUID


class Listed(Protocol):
    """What a place is made of."""

    @property
    def id(self) -> UUID: ...
    @property
    def client_ref(self) -> str | None: ...
    @property
    def state(self) -> str: ...
    @property
    def batch(self) -> UUID | None: ...
    @property
    def submitted_at(self) -> datetime: ...
    @property
    def settled_at(self) -> datetime | None: ...
    @property
    def changed_at(self) -> datetime: ...


Some = TypeVar("Some", bound=Listed)


def place_of(delivery: Listed, which: Filter) -> ListPlace:
    """Its place in the order of this list."""
    if which.changed_after is not None:
        return ListPlace(False, delivery.changed_at, delivery.id)
    return ListPlace(delivery.state in UNDEPOSITED, delivery.settled_at or delivery.submitted_at, delivery.id)


def beginning(which: Filter) -> ListPlace:
    """The place that all of the list comes after."""
    if which.changed_after is not None:
        return ListPlace(False, which.changed_after, LAST_ID)
    return ListPlace(False, EPOCH, FIRST_ID)


def starts(which: Filter, after: ListPlace) -> list[Start]:
    """Of a list by deposit, for each state that can still come: where to begin."""
    states = STATES if which.state is None else {which.state}
    return [
        Start(state, after.at, after.delivery)
        if (state in UNDEPOSITED) == after.is_undeposited
        else Start(state, EPOCH, FIRST_ID)
        for state in sorted(states)
        if (state in UNDEPOSITED) >= after.is_undeposited
    ]


def page_of(
    candidates: Sequence[Some], which: Filter, after: ListPlace, limit: int, *, is_cut: bool
) -> tuple[list[Some], ListPlace | None]:
    """Those of the candidates that the filter wants, in order, and where the next page goes on; None: there is none.

    is_cut: more may follow after the last candidate.
    """
    places = {d.id: place_of(d, which) for d in candidates}
    page = sorted((d for d in candidates if _is_in(d, which) and places[d.id] > after), key=lambda d: places[d.id])
    if len(page) > limit:
        return page[:limit], places[page[limit - 1].id]
    return page, places[candidates[-1].id] if is_cut else None


def looked_at(which: Filter, limit: int) -> int:
    """How many letters to read in the order of change for a page."""
    is_selective = which.state is not None or which.batch is not None
    return max(limit + 1, LOOKED_AT_MAX) if is_selective else limit + 1


def _is_in(delivery: Listed, which: Filter) -> bool:
    return (
        which.client_ref in (None, delivery.client_ref)
        and which.state in (None, delivery.state)
        and which.batch in (None, delivery.batch)
    )
