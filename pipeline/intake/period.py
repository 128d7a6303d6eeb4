"""A period as people write it: ISO 8601 with days, hours, minutes and seconds. Pure.

Owns     by how much the demo clock may be moved: by a sender's program in a sandbox, by an operator's verb
Rules    forward. No months and years, which have no fixed length; no fractions and no signs
Elsewhere: moving the clock, and that it stays within what keys and certificates live (0019_clock_end.sql)
"""

import re
from datetime import datetime, timedelta

from pipeline.formats.instants import time_text

PERIOD = re.compile(
    r"P(?:(?P<days>\d{1,4})D)?(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.ASCII,
)
AHEAD_MAX = timedelta(days=3650)


def period(text: str) -> timedelta:
    """P16D, PT36H, P1DT30M. Raises ValueError, which says what is wrong."""
    match = PERIOD.fullmatch(text)
    if match is None or text.endswith("T") or not any(match.groupdict().values()):
        raise ValueError("is no period such as P16D or PT90M")
    length = timedelta(**{unit: int(number) for unit, number in match.groupdict(default="0").items()})
    if not timedelta() < length <= AHEAD_MAX:
        raise ValueError(f"must be longer than nothing and at most {AHEAD_MAX.days} days")
    return length


def clock_bound(end: datetime) -> str:
    """Why the clock cannot be moved so far. end: when its keys do, less a month for the letters under way."""
    return f"the clock goes to {time_text(end)} at most: keys and certificates must not end before what was begun"
