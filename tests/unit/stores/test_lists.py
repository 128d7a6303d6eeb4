"""Lists: places, where each state begins, and pages of what was found."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from pipeline.delivery.states import STATES
from pipeline.stores.lists import (
    EPOCH,
    FIRST_ID,
    LAST_ID,
    LOOKED_AT_MAX,
    UNDEPOSITED,
    Filter,
    ListPlace,
    Start,
    beginning,
    looked_at,
    page_of,
    place_of,
    starts,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BATCH = UUID(int=77)


@dataclass(frozen=True)
class Letter:
    """What a place is made of."""

    id: UUID
    state: str = "deposited"
    client_ref: str | None = None
    batch: UUID | None = None
    submitted_at: datetime = NOON
    settled_at: datetime | None = None
    changed_at: datetime = NOON


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_place_is_the_deposit_or_comes_after_all_deposits() -> None:
    """Submitted and rejected ones last, each by the time it has; by change there are no last ones."""
    deposited = Letter(UUID(int=1), settled_at=at(9), changed_at=at(10))
    rejected = Letter(UUID(int=2), "rejected", settled_at=at(1), changed_at=at(2))
    submitted = Letter(UUID(int=3), "submitted")
    places = [place_of(x, Filter()) for x in (deposited, submitted, rejected)]
    assert places == sorted(places)
    by_change = [place_of(x, Filter(changed_after=EPOCH)) for x in (submitted, rejected, deposited)]
    assert by_change == sorted(by_change)
    assert {p.is_undeposited for p in by_change} == {False}


def test_the_beginning_comes_before_all_of_the_list() -> None:
    """By change: the instant itself is not after it, whatever the id."""
    assert beginning(Filter()) < ListPlace(False, at(0), UUID(int=0))
    start = beginning(Filter(changed_after=NOON))
    assert ListPlace(False, NOON, LAST_ID) <= start < ListPlace(False, at(1), FIRST_ID)


def test_a_list_begins_in_every_state_that_can_still_come() -> None:
    """Among the deposited ones those without a deposit are still to come; after them no deposited one is."""
    deposited = starts(Filter(), ListPlace(False, NOON, UUID(int=5)))
    assert {s.state for s in deposited} == STATES
    for start in deposited:
        expected = (EPOCH, FIRST_ID) if start.state in UNDEPOSITED else (NOON, UUID(int=5))
        assert (start.at, start.delivery) == expected
    assert starts(Filter(), ListPlace(True, NOON, UUID(int=5))) == [
        Start("rejected", NOON, UUID(int=5)),
        Start("submitted", NOON, UUID(int=5)),
    ]
    assert starts(Filter(state="notified"), ListPlace(True, NOON, UUID(int=5))) == []


def test_a_page_goes_on_after_its_last_letter() -> None:
    """When there is one more; in the list's order, whatever the order in which they were found."""
    letters = [Letter(UUID(int=n), settled_at=at(n)) for n in (3, 1, 2)]
    page, goes_on = page_of(letters, Filter(), beginning(Filter()), 2, is_cut=False)
    assert [x.id.int for x in page] == [1, 2]
    assert goes_on == ListPlace(False, at(2), UUID(int=2))
    assert page_of(letters, Filter(), goes_on, 2, is_cut=False) == ([letters[0]], None)


@pytest.mark.parametrize("which", [{"state": "notified"}, {"batch": BATCH}, {"client_ref": "r-1"}])
def test_a_short_page_of_a_long_look_goes_on_where_it_looked_last(which: dict[str, object]) -> None:
    """Nothing wanted among what was found, and perhaps more behind it."""
    wanted = Filter(changed_after=EPOCH, **which)  # type: ignore[arg-type]
    letters = [Letter(UUID(int=n), changed_at=at(n)) for n in range(4)]
    assert page_of(letters, wanted, beginning(wanted), 9, is_cut=True) == ([], ListPlace(False, at(3), UUID(int=3)))
    assert page_of(letters, wanted, beginning(wanted), 9, is_cut=False) == ([], None)


def test_how_many_are_looked_at() -> None:
    """A page and one more, or a fixed number when only some of them may be wanted."""
    assert looked_at(Filter(changed_after=NOON), 20) == 21
    assert looked_at(Filter(changed_after=NOON, batch=BATCH), 20) == LOOKED_AT_MAX
    assert looked_at(Filter(changed_after=NOON, state="notified"), 1000) == 1001
