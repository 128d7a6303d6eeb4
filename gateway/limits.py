"""What one request may cost: bytes and seconds.

Owns     the limits that rows of addresses state, and the bounded reading of a body
Rules    a body is counted as it arrives, so that a false Content-Length changes nothing; every wait has an end
Elsewhere: the longest document (pipeline/formats/configuration.py), which address has which limit (gateway/faces.py
         and the tables that it puts together), limits of fields (pipeline/intake)
"""

from collections.abc import AsyncIterator

import anyio
from starlette.requests import ClientDisconnect, Request

from gateway.problems import Problem

JSON_BYTES_MAX = 256 * 1024  # twenty documents, ten metadata entries and every name at its limit are some 60 kB
LETTER_BYTES_MAX = 2 * 1024 * 1024  # the same and twenty contents of 64 KiB in base64, which are 1.7 MB
FORM_BYTES_MAX = 16 * 1024  # a client assertion is some 1 kB
PACKAGE_BYTES_MAX = 32 * 1024 * 1024  # what the verifier takes (pipeline/evidence/package/container.py)
LIST_MAX = 1000
LIST_DEFAULT = 100

REQUEST_SECONDS = 30.0
EVENTS_SECONDS = 40.0  # a list of events may wait 30 s for the first one
CHECK_SECONDS = 180.0  # two minutes for the proof to arrive, the rest for waiting and checking
UPLOAD_SECONDS = 900.0  # 100 MiB at 1 Mbit/s
DOWNLOAD_SECONDS = 900.0
PIECE_SECONDS = 30.0  # between two pieces of a body: a sender that stalls does not hold a place for the whole time


async def pieces(request: Request, bytes_max: int, piece_seconds: float = PIECE_SECONDS) -> AsyncIterator[bytes]:
    """The body as it arrives; raises Problem body_too_large, or when it stalls or breaks off."""
    too_large = Problem("body_too_large", f"this address takes at most {bytes_max} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:19]) > bytes_max:
        raise too_large
    seen_bytes = 0
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(piece_seconds):
                piece = await anext(stream, None)
        except TimeoutError as error:
            raise Problem("unavailable", f"the body stopped arriving for {piece_seconds:g} s") from error
        except ClientDisconnect as error:
            raise Problem("invalid_encoding", "the body broke off") from error
        if piece is None:
            return
        seen_bytes += len(piece)
        if seen_bytes > bytes_max:
            raise too_large
        if piece:
            yield piece
