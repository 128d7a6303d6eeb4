"""A letter as multipart/form-data: its JSON in the part `metadata`, then its documents, each a part of any name.

Owns     reading a form part by part while it arrives
Rules    memory holds one piece of the body, however long the parts are, and nothing is written to a disk: a parser that
         keeps parts for later would have to put plain contents somewhere. So the metadata comes first, and a part is
         read when it comes or passed over
Elsewhere: which documents are parts (pipeline/intake/attachments.py), what is done with a part (attachments.py)
Source   RFC 7578
"""

import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from gateway.addresses import body_bytes_max
from gateway.limits import pieces
from gateway.problems import Problem, field_problem
from pipeline.intake.attachments import METADATA

FORM = "multipart/form-data"
HEADERS_MAX = 8
HEADER_BYTES_MAX = 4096

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # the sender is told what is wrong; our log is not its


class FormPart(NamedTuple):
    """The head of a part. content_type: in lower case, without parameters; RFC 7578 4.4 when there is none."""

    name: str
    content_type: str


class LetterForm:
    """A form on its way in."""

    def __init__(self, boundary: bytes, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._found: deque[FormPart | bytes | None] = deque()  # the head of a part, a piece of it, its end
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._is_over = False
        self._is_in_part = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._head,
                "on_part_data": self._data,
                "on_part_end": lambda: self._found.append(None),
                "on_end": self._end,
            },
            max_header_count=HEADERS_MAX,
            max_header_size=HEADER_BYTES_MAX,
        )

    async def next_part(self) -> FormPart | None:
        """The head of the next part, None after the last; what was not read of the one before is passed over."""
        async for _ in self.pieces():
            pass
        while True:
            part = await self._next()
            if isinstance(part, FormPart):
                self._is_in_part = True
                return part
            if self._is_over and not self._found:
                return None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The content of the part, as it arrives."""
        while self._is_in_part:
            piece = await self._next()
            if isinstance(piece, bytes):
                yield piece
            else:
                self._is_in_part = False

    async def pass_over(self) -> None:
        """Everything that still comes: a sender that is still sending hears no answer."""
        async for _ in self._body:
            pass

    async def _next(self) -> FormPart | bytes | None:
        while not self._found and not self._is_over:
            piece = await anext(self._body, None)
            if piece is None:
                raise malformed("it breaks off")
            try:
                self._parser.write(piece)
            except FormParserError as error:
                raise malformed(str(error)) from error
        return self._found.popleft() if self._found else None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _head(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        kind, _ = parse_options_header(self._headers.get(b"content-type", b"text/plain"))
        self._found.append(FormPart(_text(options.get(b"name", b"")), _text(kind).lower()))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(data[start:end])

    def _end(self) -> None:
        self._is_over = True


def is_form(request: Request) -> bool:
    """What the request says it sends."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def form_of(request: Request) -> LetterForm:
    """Raises Problem when there is no boundary."""
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046 5.1.1
        raise malformed("its boundary is missing or longer than 70 characters")
    return LetterForm(boundary, pieces(request, body_bytes_max(request)))


async def read_metadata(form: LetterForm, bytes_max: int) -> bytes:
    """The JSON of the letter, from the first part."""
    part = await form.next_part()
    if part is None or part.name != METADATA:
        raise field_problem("field_invalid", METADATA, "is required, as the first part")
    if part.content_type != "application/json":
        raise Problem("type_not_allowed", f"the part {METADATA} must be application/json")
    metadata = bytearray()
    async for piece in form.pieces():
        metadata += piece
        if len(metadata) > bytes_max:
            raise Problem("body_too_large", f"the part {METADATA} has at most {bytes_max} bytes")
    return bytes(metadata)


def malformed(why: str) -> Problem:
    """The form cannot be read."""
    return field_problem("field_invalid", "", f"the multipart body is not well-formed: {why}")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
