"""The states of a delivery as a function of its stamped evidence."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery import states
from pipeline.delivery.states import FINAL, STATES, SUBMITTED, TRANSITIONS, EvidenceStanding, advance

BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LIVES = {
    ("A.2",): states.REJECTED,
    ("A.1",): states.DEPOSITED,
    ("A.1", "C.1"): states.NOTIFIED,
    ("A.1", "C.2"): states.NOTICE_FAILED,
    ("A.1", "C.1", "C.2"): states.NOTICE_FAILED,
    ("A.1", "C.1", "C.3"): states.NOTIFIED,  # without D.1 nothing was made available
    ("A.1", "C.1", "C.3", "D.1"): states.ACCEPTED,
    ("A.1", "C.1", "C.4"): states.REFUSED,
    ("A.1", "C.1", "C.5"): states.UNCLAIMED,
    ("A.1", "C.1", "C.3", "D.1", "E.1"): states.RECEIVED,
    ("A.1", "C.1", "C.3", "D.1", "E.2"): states.UNCOLLECTED,
}


def life(events: tuple[str, ...], stamped: set[int] | None = None) -> list[EvidenceStanding]:
    return [
        EvidenceStanding(n, event, 0, at := BEGAN + timedelta(hours=n), at if stamped is None or n in stamped else None)
        for n, event in enumerate(events, start=1)
    ]


@pytest.mark.parametrize("events", LIVES)
def test_each_life_ends_where_the_table_says(events: tuple[str, ...]) -> None:
    """The state is what the stamped events say, and the prefix is all of them."""
    result = advance(SUBMITTED, 0, life(events))
    assert (result.state, result.stamped_through) == (LIVES[events], len(events))
    assert [s.event for s in result.reached] == list(events)


@pytest.mark.parametrize("events", LIVES)
def test_tokens_may_come_in_any_order(events: tuple[str, ...]) -> None:
    """Whatever order the tokens come in, each evidence is reached once, in sequence, and the end is the same."""
    for order in permutations(range(1, len(events) + 1)):
        state, through, reached = SUBMITTED, 0, []
        for count in range(1, len(order) + 1):
            step = advance(state, through, life(events, set(order[:count])))
            state, through = step.state, step.stamped_through
            reached += [s.sequence for s in step.reached]
        assert (state, reached) == (LIVES[events], list(range(1, len(events) + 1)))


@given(st.sampled_from(sorted(LIVES)), st.sets(st.integers(1, 5)))
def test_a_gap_stops_the_prefix(events: tuple[str, ...], stamped: set[int]) -> None:
    """An evidence stamped before its predecessor waits; the state never skips one without a token."""
    whole = 0
    while whole + 1 in stamped and whole < len(events):
        whole += 1
    result = advance(SUBMITTED, 0, life(events, stamped))
    assert result.stamped_through == whole == len(result.reached)
    assert result == advance(SUBMITTED, 0, life(events[:whole]))


@pytest.mark.parametrize("events", LIVES)
def test_an_evidence_that_is_missing_stops_the_prefix(events: tuple[str, ...]) -> None:
    """Whichever it is, and however well the ones after it are stamped."""
    for missing in range(1, len(events) + 1):
        rest = [e for e in life(events) if e.sequence != missing]
        assert advance(SUBMITTED, 0, rest) == advance(SUBMITTED, 0, life(events[: missing - 1]))


def test_nothing_leaves_a_final_state() -> None:
    """Final means final; every other state has a way on, and only known states are reached."""
    assert not {before for before, _ in TRANSITIONS} & FINAL
    assert {before for before, _ in TRANSITIONS} | FINAL == STATES
    assert set(TRANSITIONS.values()) | {SUBMITTED} == STATES


def test_an_advance_without_news_changes_nothing() -> None:
    """Asked again, it answers the same state and reaches nothing."""
    again = advance(states.NOTIFIED, 2, life(("A.1", "C.1")))
    assert (again.state, again.stamped_through, again.reached) == (states.NOTIFIED, 2, ())
