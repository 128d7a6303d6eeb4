"""A stored object as an answer: whole or a range of it, with its SHA-256 as ETag.

Owns     ETag, Range, If-None-Match, If-Range, and saying so when the object is not there before the answer begins
Rules    streamed, never held; the digest is the one that was recorded with the object
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.problems import Problem
from pipeline.errors import ObjectMissing
from pipeline.ports.outside import Objects

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What is answered. what: its name in a problem's text."""

    what: str
    object: str
    object_bytes: int
    sha256: bytes
    file_name: str
    media_type: str


async def stored_answer(request: Request, stored: StoredAnswer, objects: Objects) -> Response:
    """200, 206 or 304; raises Problem range_invalid, or unavailable when the store has lost it."""
    etag = f'"{stored.sha256.hex()}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{stored.file_name}"',
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    span = _range(request, etag, stored)
    first, length = span or (0, stored.object_bytes)
    headers["Content-Length"] = str(length)
    if span is not None:
        headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{stored.object_bytes}"
    body = await _open(stored, objects, first, length)
    return StreamingResponse(body, 206 if span is not None else 200, headers, stored.media_type)


async def _open(stored: StoredAnswer, objects: Objects, first: int, length: int) -> AsyncIterator[bytes]:
    """The bytes, with the first piece already read: what fails before it can still be said."""
    stream = objects.read(stored.object, first, length)
    try:
        head = await anext(stream, b"")
    except ObjectMissing as error:
        raise Problem("unavailable", f"{stored.what} is recorded but not in the store") from error

    async def body() -> AsyncIterator[bytes]:
        yield head
        async for piece in stream:
            yield piece

    return body()


def _range(request: Request, etag: str, stored: StoredAnswer) -> tuple[int, int] | None:
    """(first, length) of a single range; None for the whole (RFC 9110 14.2: also for what is not understood)."""
    size_bytes = stored.object_bytes
    match = RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or request.headers.get("if-range", etag) != etag:
        return None
    first_text, last_text = match.groups()
    if not first_text and not last_text:
        return None
    if not first_text:
        first, last = max(size_bytes - int(last_text), 0), size_bytes - 1
    else:
        first, last = int(first_text), min(int(last_text) if last_text else size_bytes - 1, size_bytes - 1)
    if first > last or first >= size_bytes:
        unsatisfied = {"Content-Range": f"bytes */{size_bytes}"}
        raise Problem("range_invalid", f"{stored.what} has {size_bytes} bytes", headers=unsatisfied)
    return first, last - first + 1
