"""Contexts: one encoding per value."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID

import msgspec
import pytest

from pipeline.formats.context import (
    AddresseeRecord,
    ContentContext,
    ContextInvalid,
    WrapContext,
    content_context,
    intake_info,
    pack_info,
    packed_key_data,
    parse_content_context,
    parse_wrap_context,
    person_sha256,
    wrap_context,
)

CONTEXT = WrapContext(
    UUID(int=5),
    ((b"a" * 32, b"b" * 32, 10), (b"c" * 32, b"d" * 32, 0)),
    AddresseeRecord("consumer", "Zoé", "Lefèvre", None, date(1980, 5, 17)),
    "substantial",
)


def test_a_context_comes_back_and_has_one_encoding() -> None:
    """What is written is read again; the same values in another encoding, or with bytes after them, are refused."""
    data = wrap_context(CONTEXT)
    assert parse_wrap_context(data) == CONTEXT
    loose = b"\x01" + msgspec.msgpack.encode(
        [CONTEXT.delivery.bytes, [list(p) for p in CONTEXT.parts], ["consumer", "Zoé", "Lefèvre", None], "substantial"]
    )
    padded = data[:-12] + b"\xd9\x0bsubstantial"  # str 8 instead of fixstr
    for other in (loose, padded, data + b"\x00", data[:-1], b"\x02" + data[1:], b"", b"\x01", b"x" * 70_000):
        with pytest.raises(ContextInvalid):
            parse_wrap_context(other)


def test_every_value_of_a_context_changes_it() -> None:
    """Nothing that binds a letter to its addressee is left out of the associated data."""
    who = CONTEXT.addressee
    others = [
        replace(CONTEXT, delivery=UUID(int=6)),
        replace(CONTEXT, minimum_level="high"),
        replace(CONTEXT, parts=CONTEXT.parts[:1]),
        replace(CONTEXT, parts=((b"a" * 32, b"b" * 32, 11), CONTEXT.parts[1])),
        *(
            replace(CONTEXT, addressee=changed)
            for changed in (
                replace(who, kind="professional"),
                replace(who, given_names="Zoe"),
                replace(who, birth_name="Lefevre"),
                replace(who, usage_name="Martin"),
                replace(who, birth_date=None),
            )
        ),
    ]
    assert len({wrap_context(c) for c in (CONTEXT, *others)}) == len(others) + 1


@pytest.mark.parametrize(
    "wrong",
    [
        replace(CONTEXT, parts=()),
        replace(CONTEXT, parts=CONTEXT.parts * 101),
        replace(CONTEXT, parts=((b"short", b"b" * 32, 1),)),
        replace(CONTEXT, parts=((b"a" * 32, b"b" * 32, -1),)),
        replace(CONTEXT, addressee=replace(CONTEXT.addressee, given_names="")),
        replace(CONTEXT, addressee=replace(CONTEXT.addressee, birth_name="Lefe\u0300vre")),
        replace(CONTEXT, addressee=replace(CONTEXT.addressee, birth_name="x" * 401)),
    ],
)
def test_a_context_that_would_be_refused_is_not_written(wrong: WrapContext) -> None:
    """The writer refuses what the reader would."""
    with pytest.raises(ContextInvalid):
        wrap_context(wrong)


def test_upload_information_binds_every_field() -> None:
    """A key moved to another sender, upload, segment, object, format or length does not open."""
    base = (UUID(int=1), UUID(int=2), 0, "object", "format", 10)
    others = [(UUID(int=3), *base[1:]), (*base[:2], 1, *base[3:]), (*base[:3], "o", *base[4:]), (*base[:5], 11)]
    others += [(base[0], UUID(int=4), *base[2:]), (*base[:4], "f", 10)]
    assert len({intake_info(*values) for values in (base, *others)}) == 7


def test_a_person_is_named_by_every_part_of_the_identity() -> None:
    """Same name, another subject: another person. Composed and decomposed letters: the same person."""
    base = person_sha256("Zoé", "Lefèvre", date(1980, 5, 17), "subject-1")
    assert base == person_sha256("Zoe\u0301", "Lefe\u0300vre", date(1980, 5, 17), "subject-1")
    assert base != person_sha256("Zoé", "Lefèvre", date(1980, 5, 17), "subject-2")
    assert base != person_sha256("Zoé", "Lefèvre", None, "subject-1")
    assert base != person_sha256("Zo", "éLefèvre", date(1980, 5, 17), "subject-1")


CONTENT = ContentContext(UUID(int=7), b"a" * 32, b"b" * 32, 10, datetime(2026, 6, 1, tzinfo=UTC))


def test_a_content_s_context_comes_back_and_has_one_encoding() -> None:
    """What is written is read again, and nothing else is; the zone in which the time was given does not matter."""
    data = content_context(CONTENT)
    assert parse_content_context(data) == CONTENT
    paris = CONTENT.open_until.astimezone(timezone(timedelta(hours=2)))
    assert content_context(replace(CONTENT, open_until=paris)) == data
    values = ["content", CONTENT.upload.bytes, CONTENT.sha256, CONTENT.sha3_256, CONTENT.content_bytes]
    for other in (
        data + b"\x00",
        data[:-1],
        b"\x02" + data[1:],
        b"",
        b"\x01",
        b"\x01" + msgspec.msgpack.encode([*values, 2**62]),
        b"\x01" + msgspec.msgpack.encode([*values, -(2**62)]),
        b"\x01" + msgspec.msgpack.encode([*values, 1.5]),
        b"\x01" + msgspec.msgpack.encode(["letter", *values[1:], 1]),
        b"\x01" + msgspec.msgpack.encode([*values[:4], -1, 1]),
    ):
        with pytest.raises(ContextInvalid):
            parse_content_context(other)


def test_a_content_and_a_letter_are_never_taken_for_each_other() -> None:
    """The two contexts are associated data under one key: neither parses as the other."""
    with pytest.raises(ContextInvalid):
        parse_wrap_context(content_context(CONTENT))
    with pytest.raises(ContextInvalid):
        parse_content_context(wrap_context(CONTEXT))


@pytest.mark.parametrize(
    "wrong",
    [
        replace(CONTENT, sha256=b"short"),
        replace(CONTENT, content_bytes=-1),
        replace(CONTENT, open_until=datetime(2026, 6, 1)),  # noqa: DTZ001 - no zone is what is wrong
        replace(CONTENT, open_until=CONTENT.open_until.replace(microsecond=1)),
    ],
)
def test_a_content_s_context_that_would_be_refused_is_not_written(wrong: ContentContext) -> None:
    """The writer refuses what the reader would."""
    with pytest.raises(ContextInvalid):
        content_context(wrong)


def test_every_value_of_a_content_changes_what_binds_it() -> None:
    """Upload, digests, length and time in a wrap's context; upload, object, place, format and length in a pack."""
    changed = (
        replace(CONTENT, upload=UUID(int=8)),
        replace(CONTENT, sha256=b"c" * 32),
        replace(CONTENT, sha3_256=b"c" * 32),
        replace(CONTENT, content_bytes=11),
        replace(CONTENT, open_until=CONTENT.open_until + timedelta(seconds=1)),
    )
    assert len({content_context(c) for c in (CONTENT, *changed)}) == 6
    place = (UUID(int=1), UUID(int=2), 1, "name", 5, "format", 9)
    others = [
        (*place[:at], value, *place[at + 1 :])
        for at, value in enumerate((UUID(int=3), UUID(int=3), 2, "other", 6, "other", 8))
    ]
    bound = {packed_key_data(*values) for values in (place, *others)}  # type: ignore[arg-type]
    bound |= {pack_info("name"), pack_info("other"), intake_info(UUID(int=1), UUID(int=2), 1, "name", "format", 9)}
    assert len(bound) == 8 + 3
