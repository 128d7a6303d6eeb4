"""What strangers write where something else is meant: values, places for them, and requests made of both.

Owns     the odd values; seeds: the rounds of a test are the same each time, and QERDS_FUZZ_SECONDS lets them go on
"""

import json
import os
import random
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any
from urllib.parse import quote

from gateway.callers import CALLER, caller_of_peer

FUZZ_SECONDS = "QERDS_FUZZ_SECONDS"  # how long a fuzzer goes on after its fixed rounds; a failure names seed and round

TEXTS = [
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\ufffe", "\u202e", "e\u0301" * 40, "\u0315" * 200,
    "a" * 70_000, "9" * 5000, "-1", "0", "+5", "1e999", "NaN", "Infinity", "\u0663", "\u00b2", "0x10", "1_0",
    "true", "null", "{}", "[]", "../../etc/passwd", "..", "/", "\\", "%00", "%ff", "%", "a%", "'", '"', "';--",
    "<b>", "\r\nX: y", "\n", "\x7f", "\x85", "2026-02-30", "0000-00-00", "9999-12-31T23:59:60Z",
    "0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00.0000001Z", "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-fffffffffff", "=" * 64, "A" * 64, "?" * 44, "a@b", "@", "a" * 300 + "@example.org",
    "\u00e9@example.org", "a@\u00e9.example", "a@[127.0.0.1]", "a@b..c", "https://[::1", "https://a:99999/",
    "http://\u2024/", "P99999999999D", "P1Y", "\U0001f600", "\U000e0041",
]  # fmt: skip
VALUES: list[Any] = [
    *TEXTS, None, True, False, 0, -1, 1.5, 1e308, -1e308, 10**30, -(10**400), 2**31, 2**63, 2**64, [], {}, [[]], [{}],
    [None], {"": None}, {"a": {"b": {"c": []}}}, [1, "a", None], ["\ud800"], {"\ud800": "\udfff"}, {"\x00": "\x00"},
]  # fmt: skip
RAW_BODIES = [
    b"", b"\x00", b"\xff\xfe", b"{", b"[]", b"null", b'"a"', b"{}{}", b"\xef\xbb\xbf{}", b"{" * 100_000, b"[" * 100_000,
    b'{"a":' * 50_000, b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e999}', b'{"a":' + b"9" * 5000 + b"}", b'{"\\ud800":1}',
    b'{"a":"\\udfff"}', b'{"a":"\xed\xa0\x80"}', b"{" + b'"a":{},' * 40_000 + b'"b":0}', b"[" + b"[]," * 60_000 + b"0]",
    b"a=%ed%a0%80", b"a=%00&b=%ff&a=1", b"=&&=&", b"a" * 20_000, b"%" * 500, b"--x\r\n\r\n", b"grant_type=\xff",
]  # fmt: skip
NAMES = ["", "a", "\ud800", "\x00", "a/b", "~", "~0", "\u202e", "n" * 5000, "__proto__", "constructor"]


class Elsewhere:
    """An application each of whose requests comes from another address: what is tried is behind the rates."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._number = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._number += 1
        client = (f"10.{self._number >> 8 & 255}.{self._number & 255}.1", 1)
        await self._inner({**scope, "client": client, CALLER: caller_of_peer(client)}, receive, send)


def rounds(count: int, seed: int) -> Iterator[tuple[str, random.Random]]:
    """Names of rounds with their dice: `count` of them, and then as many as there is time for."""
    ends_at = time.monotonic() + float(os.environ.get(FUZZ_SECONDS, "0"))
    number = 0
    while number < count or time.monotonic() < ends_at:
        yield f"seed {seed}, round {number}", random.Random(seed * 1_000_003 + number)
        number += 1


def bent(value: Any, dice: random.Random) -> Any:
    """The same JSON with one to three things in it changed: a value, a name, one more, one less."""
    whole = {"": deepcopy(value)}
    for _ in range(dice.randint(1, 3)):
        holder, key = dice.choice([*_places(whole)])
        change = dice.randrange(4)
        if change == 0 and isinstance(holder[key], dict):
            holder[key][dice.choice(NAMES)] = dice.choice(VALUES)
        elif change == 1 and isinstance(holder, dict) and len(holder) > 1:
            del holder[key]
        elif change == 2 and isinstance(holder[key], list):
            holder[key] *= dice.choice([0, 2, 500])
        else:
            holder[key] = deepcopy(dice.choice(VALUES))
    return whole.get("", {})


def json_bytes(value: Any) -> bytes:
    """With surrogates and infinite numbers as JSON would spell them."""
    return json.dumps(value).encode()


def in_address(text: str) -> str:
    """One segment of a path or one value of a query, as bytes that nobody decoded yet."""
    return quote(text.encode("utf-8", "surrogatepass")[:4000], safe="")


def in_header(text: str) -> bytes:
    """As far as a head can carry it: the framing refuses the rest."""
    data = text.encode("utf-8", "surrogatepass").translate(None, b"\r\n\x00")
    return data.strip()[:4000] or b"?"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(min(len(value), 20)) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])
