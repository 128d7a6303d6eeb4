"""Periods by which the demo clock may be moved."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.intake.period import AHEAD_MAX, period


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("P16D", timedelta(days=16)),
        ("PT1H", timedelta(hours=1)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("PT90M", timedelta(minutes=90)),
        ("PT0H1S", timedelta(seconds=1)),
        ("P3650D", AHEAD_MAX),
    ],
)
def test_periods_are_read_as_written(text: str, length: timedelta) -> None:
    """ISO 8601 as people write it, up to the bound."""
    assert period(text) == length


@pytest.mark.parametrize(
    "text",
    [
        *("", "P", "PT", "P1DT", "16D", "p16d", "P16", " P16D", "P16D\n", "P1H", "P1D2H"),
        *("-P1D", "P-1D", "+P1D", "P1M", "P1Y", "P1W", "P1.5D", "P1,5D", "P1e3D", "P١D", "P16D/P17D"),
        *("P0D", "PT0S", "P3650DT1S", "P9999D", "PT999999999H", "P99999D"),
    ],
)
def test_nothing_else_is_a_period(text: str) -> None:
    """No sign, no fraction, no month, nothing that is empty or too long; the reason is said."""
    with pytest.raises(ValueError, match=r"is no period|must be longer than nothing"):
        period(text)


@given(st.text(alphabet="PTDHMS0123456789", max_size=24))
def test_what_is_read_is_forward_and_bounded(text: str) -> None:
    """Whatever is written, the answer is a length within the bounds or a refusal."""
    try:
        assert timedelta() < period(text) <= AHEAD_MAX
    except ValueError as refused:
        assert "period" in str(refused) or "longer" in str(refused)
