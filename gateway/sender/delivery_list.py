"""The parameters and cursors of GET /v1/deliveries.

Owns     what a query may say, and the text of a cursor: a place, base64; opaque to whoever gets it
Rules    every mistake is named; a cursor of one order is refused in the other
Elsewhere: the orders and their places (pipeline/stores/lists.py)
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Invalid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from gateway.limits import LIST_DEFAULT, LIST_MAX
from gateway.problems import problem_of
from pipeline.delivery.states import STATES
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import identifier, instant
from pipeline.intake.submission import CLIENT_REF
from pipeline.stores.lists import EPOCH, Filter, ListPlace

CURSOR_CHARACTERS_MAX = 120
MICROSECOND = timedelta(microseconds=1)
YEAR_2200 = datetime(2200, 1, 1, tzinfo=EPOCH.tzinfo)
DEPOSITED, UNDEPOSITED, CHANGED = "d", "u", "c"  # in a cursor
Value = TypeVar("Value")


def list_query(query: Mapping[str, str]) -> tuple[Filter, ListPlace | None, int]:
    """What to list, after which place, and how many; a problem names every mistake."""
    read = _Read(query)
    limit = read.value("limit", _limit, f"must be a number from 1 to {LIST_MAX}")
    which = Filter(
        client_ref=read.value("client_ref", _client_ref, "is no reference"),
        state=read.value("state", _state, f"must be one of {', '.join(sorted(STATES))}"),
        batch=read.value("batch_id", identifier, "must be the id of a batch"),
        changed_after=read.value("changed_after", instant, "must be a time, RFC 3339 with a zone"),
    )
    after = read.value("cursor", lambda text: _place(which, text), "must be a next_cursor of this list")
    read.end()
    return which, after, LIST_DEFAULT if limit is None else limit


def cursor_of(which: Filter, place: ListPlace) -> str:
    """A place as text."""
    text = f"{_kind(which, place.is_undeposited)} {(place.at - EPOCH) // MICROSECOND} {place.delivery}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


class _Read:
    """Reads parameters and keeps what is wrong with them."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self._query = query
        self._known: set[str] = set()
        self._mistakes: list[Mistake] = []

    def value(self, name: str, parse: Callable[[str], Value], must: str) -> Value | None:
        """None when it is not there, or is wrong."""
        self._known.add(name)
        try:
            return parse(self._query[name]) if name in self._query else None
        except ValueError:
            self._mistakes.append(Mistake("field_invalid", name, must))
            return None

    def end(self) -> None:
        """Raises the problem, if there is one."""
        for name in sorted(set(self._query) - self._known):
            self._mistakes.append(Mistake("field_unknown", name[:100], "is no parameter of this list"))
        if self._mistakes:
            raise problem_of(self._mistakes)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= LIST_MAX):
        raise ValueError("not a number of items")
    return int(text)


def _client_ref(text: str) -> str:
    if not CLIENT_REF.fullmatch(text):
        raise ValueError("not a reference")
    return text


def _state(text: str) -> str:
    if text not in STATES:
        raise ValueError("not a state")
    return text


def _kind(which: Filter, is_undeposited: bool) -> str:
    if which.changed_after is not None:
        return CHANGED
    return UNDEPOSITED if is_undeposited else DEPOSITED


def _place(which: Filter, cursor: str) -> ListPlace:
    if len(cursor) > CURSOR_CHARACTERS_MAX:
        raise ValueError("too long")
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except (Base64Invalid, UnicodeError) as error:
        raise ValueError("not base64") from error
    kind, microseconds, delivery = text.split(" ")
    if kind not in {_kind(which, is_undeposited) for is_undeposited in (False, True)}:
        raise ValueError("of another order")
    if not (microseconds.isdigit() and int(microseconds) < (YEAR_2200 - EPOCH) // MICROSECOND):
        raise ValueError("not a time of this service")
    return ListPlace(kind == UNDEPOSITED, EPOCH + int(microseconds) * MICROSECOND, identifier(delivery))
