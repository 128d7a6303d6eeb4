"""Framing of requests: what is passed on, in whatever pieces it comes, and what ends the connection."""

import random
import time

import h11
import pytest

from gateway.framing import (
    CHUNK_BYTES_MEAN_MIN,
    CHUNKS_FREE,
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    PIPELINED_MAX,
    TRAILER_BYTES_MAX,
    Framing,
    FramingRefused,
)

SEED = 20260312
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    lines = [b"POST /a HTTP/" + version, b"Host: a", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def bodies(stream: bytes, dice: random.Random | None = None) -> list[bytes]:
    """The bodies that a parser reads behind the framing, of a stream that is cut by chance."""
    framing, parser, found = Framing(), h11.Connection(h11.SERVER), []
    while stream:
        size = dice.randint(1, 40) if dice else len(stream)
        for piece in framing.feed(stream[:size]):
            parser.receive_data(piece)
        stream = stream[size:]
        while (event := parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                found.append(b"")
            elif isinstance(event, h11.Data):
                found[-1] += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                parser.send(h11.EndOfMessage())
                parser.start_next_cycle()
    assert not framing.is_in_body and not framing.is_in_head
    return found


def refused(stream: bytes) -> int:
    with pytest.raises(FramingRefused) as error:
        Framing().feed(stream)
    return error.value.status


def test_requests_pass_as_they_are_however_they_are_cut() -> None:
    """A row of requests of every framing: the same bodies, whole or byte by byte."""
    dice = random.Random(SEED)
    contents = [dice.randbytes(length) for length in (0, 1, 300, 20_000)]
    stream, expected = b"", []
    for content in contents:
        cuts = [content[at : at + 77] for at in range(0, len(content), 77)]
        stream += GET + post(b"Content-Length: %d" % len(content), body=content)
        stream += post(b"Transfer-Encoding: Chunked", body=chunked(*[cut for cut in cuts if cut]))
        stream += post(b"transfer-encoding: chunked", body=b"1;a=b\r\nx\r\n0\r\nTrailer: 1\r\nOther: 2\r\n\r\n")
        expected += [b"", content, content, b"x"]
    assert bodies(stream) == expected
    assert bodies(stream, dice) == expected


def test_a_row_of_requests_has_an_end() -> None:
    """What arrives at once is no more than some requests: each would be worked on before its client reads."""
    assert len(Framing().feed(GET * PIPELINED_MAX)) == PIPELINED_MAX
    assert refused(GET * (PIPELINED_MAX + 1)) == 400


@pytest.mark.parametrize(
    "fields",
    [
        (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        (b"Content-Length: 5", b"Content-Length: 5"),
        (b"Content-Length: 5", b"content-length: 6"),
        (b"Content-Length: 5, 5",),
        (b"Content-Length: +5",),
        (b"Content-Length: 0x5",),
        (b"Content-Length: 5 5",),
        (b"Content-Length: -1",),
        (b"Content-Length:",),
        (b"Content-Length: \xb2",),
        (b"Content-Length: 1234567890123456",),
        (b"Content-Length : 5",  b"Transfer-Encoding : chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"A: b\r\n Content-Length: 5",),
        (b"A: b\nContent-Length: 5",),
        (b"A: b\rContent-Length: 5",),
        (b"A: b\x00",),
    ],
)  # fmt: skip
def test_a_request_has_one_end(fields: tuple[bytes, ...]) -> None:
    """Two lengths, or none that every reader reads alike: 400, and nothing of it reaches the parser."""
    assert refused(post(*fields, body=b"hello")) == 400


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked", b""])
def test_other_transfer_codings_are_not_taken(coding: bytes) -> None:
    """chunked alone is understood."""
    assert refused(post(b"Transfer-Encoding: " + coding)) == 501


def test_chunks_are_of_http_1_1() -> None:
    """A proxy that speaks 1.0 would pass them on as the body."""
    assert refused(post(b"Transfer-Encoding: chunked", version=b"1.0")) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"+5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"5_0\r\n", b"\r\n",
        b"5\nhello\n\r\n", b"5\r\nhello!\r\n", b"5\r\nhello0\r\n", b"-1\r\n", b"fffffffff\r\n", b"g\r\n",
        b"5;a=\x00\r\nhello\r\n", b"5;" + b"a" * 300, b"a" * 300,
    ],
)  # fmt: skip
def test_chunks_have_one_spelling(body: bytes) -> None:
    """A size that readers read differently, or an end that is none."""
    assert refused(post(b"Transfer-Encoding: chunked", body=body)) == 400


def test_a_head_has_a_bound_however_it_arrives() -> None:
    """Too long or of too many fields: 431, at once as in pieces, whole or without an end; also as a later request."""
    long = post(b"A: " + b"a" * HEAD_BYTES_MAX)
    many = post(*[b"A: b"] * (HEADERS_MAX + 1))
    assert {refused(head) for head in (long, many, long[:-4], GET * 3 + long, GET + many)} == {431}
    framing = Framing()
    with pytest.raises(FramingRefused):
        for at in range(len(long)):
            framing.feed(long[at : at + 1])
    assert len(Framing().feed(post(*[b"A: " + b"a" * 250] * (HEADERS_MAX - 2)))) == 1


def test_a_trailer_has_a_bound() -> None:
    """Fields behind the last chunk are read over, so many and no more."""
    assert refused(post(b"Transfer-Encoding: chunked", body=b"0\r\n" + b"A: b\r\n" * TRAILER_BYTES_MAX)) == 400


def test_small_chunks_cost_little_and_are_not_without_end() -> None:
    """Short chunks are put together; beyond the free ones they have a least mean length."""
    head = post(b"Transfer-Encoding: chunked")
    pieces = Framing().feed(head + chunked(*[b"a"] * CHUNKS_FREE)[:-5])
    assert [len(piece) for piece in pieces[1:]] == [CHUNKS_FREE + len(b"%x\r\n\r\n" % CHUNKS_FREE)]
    assert refused(head + chunked(*[b"a"] * (CHUNKS_FREE + 100))) == 400
    framing, line = Framing(), chunked(b"a" * CHUNK_BYTES_MEAN_MIN)[:-5]
    framing.feed(head)
    started = time.process_time()
    megabyte = line * (1024 * 1024 // len(line))
    for _ in range(4):
        framing.feed(megabyte)
    assert time.process_time() - started < 1.0  # h11 alone takes some 0.4 s for each of the four


def test_whatever_comes_is_framed_or_refused() -> None:
    """Bytes by chance and altered requests, cut by chance: no other exception, and nothing held beyond the bounds."""
    dice = random.Random(SEED)
    good = (
        GET + post(b"Content-Length: 3", body=b"abc") + post(b"Transfer-Encoding: chunked", body=chunked(b"a", b"bc"))
    )
    for number in range(3000):
        stream = bytearray(good * dice.randint(1, 3))
        for _ in range(dice.randint(0, 5)):
            at = dice.randrange(len(stream))
            stream[at : at + dice.randint(0, 3)] = dice.choice([b"", b"\r", b"\n", b"0", b"\r\n", dice.randbytes(3)])
        framing = Framing()
        try:
            for at in range(0, len(stream), 50):
                pieces = framing.feed(bytes(stream[at : at + 50]))
                assert sum(map(len, pieces)) <= 3 * len(stream), (SEED, number)
        except FramingRefused as error:
            assert error.status in (400, 431, 501), (SEED, number)
