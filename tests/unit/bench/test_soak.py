"""What a soak calls flat."""

import pytest

from bench.results import Section
from bench.soak import SAMPLES_A_SPAN, SPANS, SoakSample, tell

SPAN = 60.0


def judged(dead: list[int], memory: list[int]) -> dict[str, float]:
    """The measures of ten minutes, a look every ten seconds, four letters a second."""
    seconds = SPAN / SAMPLES_A_SPAN
    samples = [
        SoakSample(number * seconds, {"seal": size, "postgres": size * 9}, rows, 2**20)
        for number, (rows, size) in enumerate(zip(dead, memory, strict=True))
    ]
    section = Section("soak", "soak")
    tell(section, SPAN, samples, [number / 4 for number in range(int(SPAN * SPANS * 4))])
    return section.measures


LOOKS = SPANS * SAMPLES_A_SPAN
SAW = [1_500 + 2_500 * (number % 7) for number in range(LOOKS)]  # rises until a vacuum comes


def test_rows_that_rise_and_fall_with_each_vacuum_are_flat() -> None:
    """Whichever look happens to fall before a vacuum."""
    measures = judged(SAW, [2**26] * LOOKS)
    assert measures["soak.dead"] == pytest.approx(1.0, abs=0.2)
    assert measures["soak.memory"] == measures["soak.rate"] == 1.0


def test_what_no_vacuum_takes_away_is_seen() -> None:
    """Rows that pile up below the saw, and memory that grows."""
    measures = judged(
        [rows + 400 * number for number, rows in enumerate(SAW)], [2**26 + n * 2**20 for n in range(LOOKS)]
    )
    assert measures["soak.dead"] > 1.5
    assert measures["soak.memory"] > 1.1
