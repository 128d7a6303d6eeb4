"""JSON of strangers: bounded before it is parsed, read in one way, and refused by ValueError and nothing else."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.formats.bounded_json import DEPTH_MAX, VALUES_MAX, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
MEGABYTES = 8 * 1024 * 1024


@given(VALUES, st.booleans())
def test_what_others_write_is_read_as_it_was_meant(value: object, is_ascii: bool) -> None:
    """Every value with a reading that all share; escaped or not."""
    text = json.dumps(value, ensure_ascii=is_ascii).encode()
    assert read_json(text) == value


@settings(max_examples=500)
@given(st.binary() | st.text(alphabet='[]{}",:\\u0dDe8+-. 1tnNI').map(str.encode))
def test_nothing_but_a_value_error(data: bytes) -> None:
    """Whatever the bytes are."""
    try:
        value = read_json(data)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 1_000_000,
        b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1),
        b'{"a":' * 100_000,
        b"[" + b"[]," * (MEGABYTES // 3) + b"[]]",
        b"[" + b"0," * (MEGABYTES // 2) + b"0]",
        b"[" + b'{"":0},' * (MEGABYTES // 7) + b"0]",
        b"{" + b",".join(b'"%d":0' % n for n in range(VALUES_MAX)) + b',"a":0}',
        b'"\\"' * (MEGABYTES // 3),
        b'"' + b'\\"' * (MEGABYTES // 2),
        b'["' + b"[" * MEGABYTES,
        b"9" * MEGABYTES,
        b'{"a":1,"a":2}', b'{"a":{"b":1,"\\u0062":2}}',
        b"NaN", b"[-Infinity]", b"1e999", b"[-1e400]", b"1" * 5000,
        b'"\\ud800"', b'{"\\udfff":1}', b'["\\udc00\\ud800"]', b'"\\uD800x"',
        b'"\xed\xa0\x80"', b"\xff", b"\xef\xbb\xbf{}", b"", b"{", b'"\x00"',
    ],
)  # fmt: skip
def test_what_is_refused_costs_little(data: bytes) -> None:
    """Depth, members, duplicates, huge numbers, half pairs, no text: ValueError, in little time and memory."""
    started = time.process_time()
    with pytest.raises(ValueError):
        read_json(data)
    assert time.process_time() - started < 1.0
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            read_json(data)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(data) + 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_what_stands_in_a_text_is_no_structure() -> None:
    """A text may have any number of brackets and commas."""
    text = "[{," * VALUES_MAX + '\\"'
    assert read_json(json.dumps({"a": text, "pair": "\U0001f600"}).encode()) == {"a": text, "pair": "\U0001f600"}
    assert read_json(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX) is not None
