"""Frames on the bridge's sockets: a length (u32, big-endian), then what wire.py says.

Owns     cutting a stream into frames, and putting the length before one
Rules    a frame that is announced as too large is refused before its bytes are there
Elsewhere: how large one may be, what is in it (wire)
"""

from hsm_bridge.wire import FRAME_BYTES_MAX, FrameInvalid

LENGTH_BYTES = 4


def frame(body: bytes) -> bytes:
    """The body with its length before it."""
    if len(body) > FRAME_BYTES_MAX:
        raise FrameInvalid(f"a frame of {len(body)} bytes is larger than {FRAME_BYTES_MAX}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class FrameBuffer:
    """Bytes as they arrive, and the whole frames in them."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        """Adds received bytes; raises FrameInvalid as soon as an announced frame is too large."""
        self._held += data
        self._announced()

    @property
    def is_begun(self) -> bool:
        """Something of a frame is there."""
        return bool(self._held)

    @property
    def is_whole(self) -> bool:
        """A frame is there with its last byte."""
        length = self._announced()
        return length is not None and len(self._held) >= LENGTH_BYTES + length

    def next(self) -> bytes | None:
        """Takes the next whole frame out, None while it is incomplete."""
        length = self._announced()
        if length is None or not self.is_whole:
            return None
        body = bytes(self._held[LENGTH_BYTES : LENGTH_BYTES + length])
        del self._held[: LENGTH_BYTES + length]
        return body

    def _announced(self) -> int | None:
        if len(self._held) < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._held[:LENGTH_BYTES], "big")
        if length > FRAME_BYTES_MAX:
            raise FrameInvalid(f"a frame of {length} bytes is larger than {FRAME_BYTES_MAX}")
        return length
