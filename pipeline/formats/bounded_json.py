"""JSON of strangers: bounded before it is parsed, and read in one way only.

Owns     how much structure a text may have, and what in it has more than one reading
Rules    a few bytes make an object of hundreds: values and nesting are counted in the bytes, before there is any object
         No name twice (readers disagree on which one counts), no number that other readers do not have (NaN, 1e999), no
         half of a surrogate pair, which cannot be written anywhere
Elsewhere: how long a text may be, what must be in it
Source   RFC 8259 sections 4, 6, 8.2 and 9; RFC 7493 (I-JSON)
"""

import json
import math
import re

VALUES_MAX = 8_000  # members and elements; a letter with all that it may have is some 300
DEPTH_MAX = 32  # objects and lists in each other; a letter has 4

# A text, each byte of it once, also one that has no end; or what has a meaning outside texts.
_TOKEN = re.compile(rb'"(?>[^"\\]+|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_QUOTE, _COMMA = b'",'
_CLOSING = b"]}"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(data: bytes, *, values_max: int = VALUES_MAX, depth_max: int = DEPTH_MAX) -> object:
    """The value; raises ValueError, and nothing else, for what is none or has no bounds."""
    check_bounds(data, values_max, depth_max)
    value: object = json.loads(
        data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_float=_number
    )
    if _HALF.search(data):
        json.dumps(value, ensure_ascii=False).encode()  # raises UnicodeEncodeError where a half stands alone
    return value


def check_bounds(data: bytes, values_max: int, depth_max: int) -> None:
    """Raises ValueError for a text with more values, or deeper nesting; whether it is JSON is not looked at.

    Most texts are let pass by three counts. The others are gone through token by token, up to the first too many.
    """
    openings = data.count(b"[") + data.count(b"{")
    if openings <= depth_max and openings + data.count(b",") < values_max:
        return
    texts = depth = 0
    values = 1
    for token in _TOKEN.finditer(data):
        first = data[token.start()]
        if first == _QUOTE:
            texts += 1
        elif first == _COMMA:
            values += 1
        elif first in _CLOSING:
            depth -= 1
        else:
            values, depth = values + 1, depth + 1
        if values > values_max or texts > 2 * values_max:  # a value has a name at most
            raise ValueError(f"more than {values_max} values")
        if depth > depth_max:
            raise ValueError(f"objects and lists are nested more than {depth_max} deep")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("an object has the same name twice")
    return table


def _constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
