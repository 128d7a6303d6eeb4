"""What is wrong with something that a sender sent: the words that the gateway answers and a batch's results repeat.

Owns     the two ways of being wrong: a field of it (Mistake), the whole of it (Unreadable)
Elsewhere: how a face says it (gateway/problems.py), the table of codes (gateway/problem_codes.py)
"""

from collections.abc import Sequence
from dataclasses import dataclass

MISTAKES_MAX = 50  # told at once; a sender corrects these first


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with a request. pointer: RFC 6901 into the body, or the name of a header or parameter."""

    code: str
    pointer: str
    detail: str


class Unreadable(ValueError):
    """Not even an object: code is invalid_encoding or malformed_json."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def summary(mistakes: Sequence[Mistake]) -> tuple[str, str, tuple[Mistake, ...]]:
    """One code and detail for one or several mistakes: their common code, or the general one; and those to be told."""
    codes = {mistake.code for mistake in mistakes}
    code = codes.pop() if len(codes) == 1 else "field_invalid"
    count = len(mistakes) if len(mistakes) <= MISTAKES_MAX else f"more than {MISTAKES_MAX}"
    detail = mistakes[0].detail if len(mistakes) == 1 else f"{count} fields have to be corrected"
    return code, detail, tuple(mistakes[:MISTAKES_MAX])
