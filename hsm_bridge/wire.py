"""What goes over the bridge's sockets: frames, requests, answers and the items of every operation.

Owns     the framing (u32 big-endian length, then msgpack), its limits, and one typed item and answer per operation
Rules    a frame of another shape is refused whole; an item of another shape is refused alone; answers keep the order
Elsewhere: who may ask (policy), what happens (operations), sockets (server, client)
"""

from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

import msgspec

VERSION = 1
FRAME_BYTES_MAX = 1024 * 1024
ITEMS_MAX = 512  # per request
LENGTH_BYTES = 4
DEADLINE_MS_MAX = 60_000

BUSY, DENIED, BAD_REQUEST, TOKEN_AWAY, CLOCK_AWAY = "busy", "denied", "bad_request", "token_away", "clock_away"


class FrameInvalid(ValueError):
    """The peer does not speak this protocol; the connection ends."""


class _Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything in a frame: immutable, no field that we do not know."""


class Request(_Item, frozen=True):
    """One operation over many items; deadline_ms counts from its arrival."""

    v: int
    id: int
    op: str
    items: list[msgspec.Raw]
    deadline_ms: int


class ItemResult(_Item, frozen=True, omit_defaults=True):
    """What became of one item: `ok`, or `err` with a stable code."""

    ok: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    err: str | None = None
    detail: str = ""


class Response(_Item, frozen=True, omit_defaults=True):
    """The answer to one request: one result per item, or `err` for the whole."""

    id: int
    results: list[ItemResult] | None = None
    err: str | None = None


class OpenIntake(_Item, frozen=True):
    """A content key sealed to an intake key (HPKE: encapsulated key, then ciphertext)."""

    key_id: str
    info: bytes
    sealed: bytes


class Opened(_Item, frozen=True):
    key: bytes


class WrapContent(_Item, frozen=True):
    """Concatenated 32-byte keys of one content, and the content context they are bound to."""

    context: bytes
    keys: bytes


class WrappedContent(_Item, frozen=True):
    """A wrap that wrap_content made, with its context."""

    key_id: str
    wrapped: bytes
    context: bytes


class DeriveWrap(_Item, frozen=True):
    """A letter's context, and the contents that it names, in its order."""

    context: bytes
    contents: list[WrappedContent]


class Wrapped(_Item, frozen=True):
    key_id: str
    wrapped: bytes


class SealEvidence(_Item, frozen=True):
    """Canonical evidence bytes; a receipt for a recipient's act."""

    evidence: bytes
    receipt: bytes | None


class SealPackage(_Item, frozen=True):
    """Package entries in order, (name, SHA-256)."""

    entries: list[tuple[str, bytes]]
    signing_time: datetime


class Sealed(_Item, frozen=True):
    """ECDSA P-256, r and s (64 bytes)."""

    key_id: str
    signature: bytes


class TimeStamp(_Item, frozen=True):
    """A SHA-256 imprint; the token must not be older than event_time."""

    imprint: bytes
    event_time: datetime | None


class Stamped(_Item, frozen=True):
    token: bytes


class BeginIdentity(_Item, frozen=True):
    """session: SHA-256 of the browser session's identifier."""

    delivery: UUID
    session: bytes


class Begun(_Item, frozen=True):
    nonce: str


class VerifyIdentity(_Item, frozen=True):
    """The provider's answer, and the wrap that authenticates the addressee."""

    nonce: str
    session: bytes
    delivery: UUID
    id_token: str
    userinfo: str
    wrapped: bytes
    wrap_key_id: str
    context: bytes


class Identified(_Item, frozen=True):
    """match: match, near or no; a ticket only for match. proof: the provider's signed tokens, decrypted."""

    match: str
    level: str
    subject: str
    given_names: str
    birth_name: str
    usage_name: str | None
    birth_date: date | None
    auth_time: datetime
    person: bytes
    ticket: bytes | None
    proof: bytes


class Decide(_Item, frozen=True):
    """act: accept or refuse."""

    ticket: bytes
    delivery: UUID
    act: str


class Decided(_Item, frozen=True):
    receipt: bytes
    act: str
    person: bytes
    at: datetime


class Release(_Item, frozen=True):
    """The one unwrap: needs the ticket and the receipt of the acceptance."""

    wrapped: bytes
    wrap_key_id: str
    context: bytes
    ticket: bytes
    receipt: bytes


class Released(_Item, frozen=True):
    """keys: concatenated; receipt: of the handover."""

    keys: bytes
    receipt: bytes


class SignWebhook(_Item, frozen=True):
    """What is signed is id.timestamp.body (Standard Webhooks). timestamp: seconds since 1970."""

    id: UUID
    timestamp: int
    body: bytes


class WebhookSigned(_Item, frozen=True):
    """ed25519 (64 bytes)."""

    key_id: str
    signature: bytes


class Describe(_Item, frozen=True):
    """No field."""


class PublicKey(_Item, frozen=True):
    """use: seal, time, intake, identity or webhook."""

    key_id: str
    use: str
    spki: bytes
    certificate: bytes | None
    not_before: datetime
    not_after: datetime


class Description(_Item, frozen=True):
    """identity_jwk: the JSON of the key that identity tokens are encrypted to."""

    keys: list[PublicKey]
    ca: bytes
    crl: bytes
    identity_jwk: bytes


class Health(_Item, frozen=True):
    """No field."""


class HealthReport(_Item, frozen=True):
    token_up: bool
    queued_items: int


Typed = TypeVar("Typed")
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


def encode(value: msgspec.Struct) -> bytes:
    """The msgpack of one item, request or response."""
    return _encoder.encode(value)


def decode(data: bytes | msgspec.Raw, kind: type[Typed]) -> Typed:
    """Reads one typed value; raises FrameInvalid, whose text names the field."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:  # ValueError: a UUID or a text that is none
        raise FrameInvalid(str(error)) from error


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

    def next(self) -> bytes | None:
        """Takes the next whole frame out, None while it is incomplete."""
        length = self._announced()
        if length is None or len(self._held) < LENGTH_BYTES + length:
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
