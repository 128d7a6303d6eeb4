"""Pure decisions about batches: defaults under a line, identities, how long it will take."""

import json
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sender.batch_view import eta_seconds
from pipeline.delivery.number import is_number
from pipeline.intake import batches
from pipeline.stores.batches import OPEN, PROCESSING, BatchProgress, BatchSeen, Draw, LineCursor, StoredLine

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def test_a_line_lies_over_the_defaults() -> None:
    """Objects field by field; lists and plain values as a whole; null takes a default away. Neither side is changed."""
    defaults = {
        "subject": "a",
        "recipient": {"kind": "professional", "language": "fr"},
        "documents": [{"a": 1}, {"b": 2}],
    }
    line = {
        "subject": None,
        "recipient": {"language": "en", "email": "x"},
        "documents": [{"c": 3}],
        "metadata": {"k": "v"},
    }
    assert batches.merged(defaults, line) == {
        "subject": None,
        "recipient": {"kind": "professional", "language": "en", "email": "x"},
        "documents": [{"c": 3}],
        "metadata": {"k": "v"},
    }
    assert defaults["recipient"] == {"kind": "professional", "language": "fr"}


JSON = st.recursive(
    st.none() | st.text(max_size=3), lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


@given(OBJECTS)
def test_defaults_of_nothing_change_nothing(line: dict[str, object]) -> None:
    """Without defaults a line is what it is, and without a line the defaults are."""
    assert batches.merged({}, line) == line == batches.merged(line, {}) == batches.merged(line, line)


MOMENTS = st.integers(0, 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds))


@given(st.binary(min_size=batches.IDENTITY_BYTES, max_size=batches.IDENTITY_BYTES), MOMENTS)
def test_an_identity_is_a_version_7_uuid_and_a_number(random: bytes, moment: datetime) -> None:
    """Its first 48 bits are the time, so that an index grows at its end; the number has its check digit."""
    delivery, number = batches.delivery_identity(moment, random)
    assert (delivery.version, delivery.variant) == (7, UUID(int=0x8 << 60).variant)
    assert delivery.int >> 80 == int(moment.timestamp() * 1000)
    assert is_number(number)


@pytest.mark.parametrize("body", [b"\xff", b"{", b"[]"])
def test_a_line_that_cannot_be_read_any_more_has_a_result(body: bytes) -> None:
    """What another version let in is a rejected line, not a dead letter."""
    judged = batches.read_line({}, StoredLine(1, 1, body))
    assert judged.letter is None
    assert judged.mistakes[0].code in ("invalid_encoding", "malformed_json")


def test_a_draw_goes_on_from_where_it_read() -> None:
    """Under the lock: of a running batch, at the same cursor, and no other."""
    draw = Draw(UUID(int=1), UUID(int=2), PROCESSING, {}, LineCursor(1, 5), 9, 5, (), NOW)
    assert batches.goes_on((PROCESSING, LineCursor(1, 5)), draw)
    assert not batches.goes_on((PROCESSING, LineCursor(1, 6)), draw)
    assert not batches.goes_on(("cancelled", LineCursor(1, 5)), draw)
    assert batches.lines_are_missing(draw)


def batch(state: str, lines: int, rejected: int = 0) -> BatchSeen:
    began = NOW - timedelta(seconds=100)
    return BatchSeen(
        UUID(int=1), "n", "ndjson", {}, {}, state, 1, lines, 0, rejected, began, began, began, None, NOW
    )  # fmt: skip


def test_how_long_it_will_take() -> None:
    """At the pace since it was submitted: a quarter in 100 s leaves 300 s; nothing done, not running: nobody knows."""
    assert (
        eta_seconds(batch(PROCESSING, 400), BatchProgress({"deposited": 60, "submitted": 9, "notified": 40}, 0)) == 300
    )
    assert eta_seconds(batch(PROCESSING, 400, rejected=100), BatchProgress({}, 0)) == 300
    assert eta_seconds(batch(PROCESSING, 400), BatchProgress({"submitted": 400}, 0)) is None
    assert eta_seconds(batch(OPEN, 400), BatchProgress({}, 0)) is None


HOSTILE = {
    "a text of marks in the wrong order": json.dumps({"subject": "\u0315\u0300" * 16_000}, ensure_ascii=False),
    "marks in every field of a letter": json.dumps(
        {
            "subject": "\u0315\u0300" * 390,
            "metadata": {f"k{n}": "\u0315\u0300" * 390 for n in range(10)},
            "documents": [{"file_name": "\u0315\u0300" * 500} for _ in range(20)],
        },
        ensure_ascii=False,
    ),
    "fields that nobody knows": json.dumps({f"{n:x}": 0 for n in range(6_000)}),
    "objects that are no documents": json.dumps({"documents": [{}] * 16_000}),
    "an object in an object": '{"a":' * 10_000 + "0" + "}" * 10_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_line_costs_little_whatever_it_says(what: str) -> None:
    """Two hundred are judged in one go, while a heartbeat waits; what is wrong with them is held until it is stored."""
    body = HOSTILE[what].encode()
    assert 20_000 < len(body) <= 64 * 1024
    batches.read_line({}, StoredLine(1, 1, body))
    tracemalloc.start()
    began = time.process_time()
    judged = batches.read_line({}, StoredLine(1, 1, body))
    seconds, held_bytes = time.process_time() - began, tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert judged.mistakes
    assert (seconds < 0.1, held_bytes < 200_000) == (True, True), (seconds, held_bytes)


def test_more_mistakes_than_are_told() -> None:
    """Their number is not counted either."""
    judged = batches.read_line({}, StoredLine(1, 1, HOSTILE["fields that nobody knows"].encode()))
    told = batches.problem(judged.mistakes)
    assert (told["detail"], len(told["errors"])) == ("more than 50 fields have to be corrected", 50)
