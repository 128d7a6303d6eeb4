"""Where requests begin and end on one connection: looked at before anything of them is parsed.

Owns     the bounds of a head, which framing of a body is taken, and the decoding of chunks
Rules    a head has an end within its bound, however it arrives. Two readers must never disagree on where a request
         ends: one Content-Length or one `Transfer-Encoding: chunked`, never both, each in its one spelling; lines end
         with CRLF and are not folded. What is not so ends the connection, because nobody knows what follows
         Chunks are put together, as many as arrived at once, so that the parser's work follows from the bytes and not
         from how a sender cuts them; and they have a least mean length
Elsewhere: HTTP itself (h11), deadlines and rates (connections.py), the length of a body (limits.py)
Source   RFC 9112 sections 2.2, 5.2, 6.1, 6.3, 7.1, 11.2
"""

import re

HEAD_BYTES_MAX = 32 * 1024  # request line and headers; the longest of ours is the way back from an identity provider
HEADERS_MAX = 100
CHUNK_LINE_BYTES_MAX = 256  # a size, and an extension that nobody reads
CHUNKS_FREE = 256
CHUNK_BYTES_MEAN_MIN = 64  # beyond the free ones: a line of a batch is longer
TRAILER_BYTES_MAX = 4096

PIPELINED_MAX = 16  # requests in what arrives at once; nobody's browser sends a second one before its answer

LINE_END = b"\r\n"
HEAD_END = LINE_END * 2
FRAMING_FIELDS = re.compile(rb"\r\n(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r]*)", re.IGNORECASE)
LENGTH = re.compile(rb"[0-9]{1,15}")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[^\x00-\x08\x0a-\x1f]*)?")
FOLDED = re.compile(rb"\r\n[ \t]")


class FramingRefused(Exception):
    """These bytes are no request that is taken; the connection ends. status: what the client hears."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Framing:
    """One connection's bytes, in; the same as the parser gets them, out."""

    def __init__(self) -> None:
        self._held = b""  # what is not whole yet: a head, a line of a chunk, a trailer
        self._length_left = 0
        self._chunks: _Chunks | None = None

    @property
    def is_in_head(self) -> bool:
        """A request has begun, and its head has no end yet."""
        return bool(self._held) and not self.is_in_body

    @property
    def is_in_body(self) -> bool:
        """The head of a request is whole and its body is not."""
        return self._length_left > 0 or self._chunks is not None

    def feed(self, data: bytes) -> list[bytes]:
        """What the parser may have of it, in order; raises FramingRefused."""
        pieces: list[bytes] = []
        data = self._held + data if self._held else data
        self._held, at, heads = b"", 0, 0
        while at < len(data):
            if self._length_left:
                piece = data[at : at + self._length_left]
                self._length_left -= len(piece)
                at += len(piece)
                pieces.append(piece)
            elif self._chunks is not None:
                piece, data, is_over = self._chunks.feed(data[at:])
                at = 0
                if piece:
                    pieces.append(piece)
                if not is_over:
                    self._held = data
                    break
                self._chunks = None
            else:
                end = data.find(HEAD_END, at, at + HEAD_BYTES_MAX)
                if end < 0:
                    if len(data) - at >= HEAD_BYTES_MAX:
                        raise FramingRefused(431, f"request line and headers have at most {HEAD_BYTES_MAX} bytes")
                    self._held = data[at:]
                    break
                head, at = data[at : end + len(HEAD_END)], end + len(HEAD_END)
                heads += 1
                if heads > PIPELINED_MAX:
                    raise FramingRefused(400, f"at most {PIPELINED_MAX} requests at once")
                self._begin_body(head)
                pieces.append(head)
        return pieces

    def _begin_body(self, head: bytes) -> None:
        """Decides from the head how its body ends."""
        lines = head.count(LINE_END)
        if lines > HEADERS_MAX + 2:
            raise FramingRefused(431, f"a request has at most {HEADERS_MAX} headers")
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\x00" in head or FOLDED.search(head):
            raise FramingRefused(400, "a line of the head does not end as lines do")
        fields = FRAMING_FIELDS.findall(head)
        if not fields:
            return
        if len(fields) > 1:
            raise FramingRefused(400, "more than one field says where the body ends")
        name, value = fields[0][0].lower(), fields[0][1].rstrip(b" \t")
        if name == b"content-length":
            if not LENGTH.fullmatch(value):
                raise FramingRefused(400, "Content-Length is not a number")
            self._length_left = int(value)
        elif value.lower() != b"chunked":
            raise FramingRefused(501, "the one transfer coding here is chunked")
        elif not head[: head.index(LINE_END)].endswith(b" HTTP/1.1"):
            raise FramingRefused(400, "only HTTP/1.1 has transfer codings")
        else:
            self._chunks = _Chunks()


class _Chunks:
    """The chunks of one body."""

    def __init__(self) -> None:
        self._left = 0  # of the chunk that is under way, without its end of line
        self._awaits_line_end = False
        self._is_in_trailer = False
        self._count = 0
        self._bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """(all that is whole as one chunk, what is left over, whether that was the end of the body)."""
        content, at = bytearray(), 0
        while not self._is_in_trailer:
            if self._left:
                piece = data[at : at + self._left]
                content += piece
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    return _one(content), b"", False
                self._awaits_line_end = True
            if self._awaits_line_end:
                if len(data) - at < len(LINE_END):
                    return _one(content), data[at:], False
                if data[at : at + len(LINE_END)] != LINE_END:
                    raise FramingRefused(400, "a chunk is longer than it says")
                at += len(LINE_END)
                self._awaits_line_end = False
            end = data.find(LINE_END, at, at + CHUNK_LINE_BYTES_MAX)
            if end < 0:
                if len(data) - at >= CHUNK_LINE_BYTES_MAX:
                    raise FramingRefused(400, "a chunk's line is too long")
                return _one(content), data[at:], False
            self._begin_chunk(data[at:end])
            at = end + len(LINE_END)
        return self._trailer(_one(content), data[at:])

    def _begin_chunk(self, line: bytes) -> None:
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise FramingRefused(400, "a chunk begins with its length")
        self._left = int(match[1], 16)
        self._is_in_trailer = self._left == 0
        self._count += 1
        self._bytes += self._left
        if self._count > CHUNKS_FREE + self._bytes // CHUNK_BYTES_MEAN_MIN:
            raise FramingRefused(400, f"chunks have at least {CHUNK_BYTES_MEAN_MIN} bytes on average")

    def _trailer(self, content: bytes, data: bytes) -> tuple[bytes, bytes, bool]:
        """Its fields are read over: none has a meaning here."""
        if data.startswith(LINE_END):
            return content + b"0" + HEAD_END, data[len(LINE_END) :], True
        end = data.find(HEAD_END, 0, TRAILER_BYTES_MAX)
        if end >= 0:
            return content + b"0" + HEAD_END, data[end + len(HEAD_END) :], True
        if len(data) >= TRAILER_BYTES_MAX:
            raise FramingRefused(400, f"a trailer has at most {TRAILER_BYTES_MAX} bytes")
        return content, data, False


def _one(content: bytearray) -> bytes:
    """As a chunk; of nothing, nothing: an empty chunk would be the end."""
    return b"%x\r\n" % len(content) + content + LINE_END if content else b""
