"""What goes over the bridge's sockets: frames, requests, answers and the items of every operation.

Owns     the limits of what is sent, the caller kinds, and for each operation the item that asks for it: its class line
         names the answer, who may ask, and the operation
Rules    a frame of another shape is refused whole; an item of another shape is refused alone; answers keep the order.
         Lists are counted before they are read: their length stands in front of them. Whatever reading a frame or an
         item runs into, nesting and memory too, is FrameInvalid
         The callers on a class line are for the type checker of whoever asks: what is allowed says the bridge's table
Elsewhere: who may ask, and what happens (operations/table.py), frames (frames), sockets (server, client)
"""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args
from uuid import UUID

import msgspec

from pipeline.formats.package_form import EVIDENCES_MAX
from pipeline.formats.person import IdentifiedPerson, MatchKind

VERSION = 1
FRAME_BYTES_MAX = 1024 * 1024
ITEMS_MAX = 512  # per request
FRAME_ITEMS_MAX = 2 * ITEMS_MAX  # who asks a few too many hears bad_request; a frame of more is not read at all
ENTRIES_MAX = 512  # of one item: a package has 500, a letter 20 contents
DEADLINE_MS_MAX = 60_000
DETAIL_CHARACTERS_MAX = 300  # of a text for people

Instant = Annotated[datetime, msgspec.Meta(tz=True)]  # one without a zone is no time

Caller = Literal["gateway", "encrypt", "seal", "timestamp", "archive", "webhook", "operator"]
CALLERS: tuple[Caller, ...] = get_args(Caller)  # one socket each

CLOCK_CODES = frozenset({"event_in_future", "clock_behind"})
BUSY, DENIED, BAD_REQUEST, TOKEN_AWAY, CLOCK_AWAY = "busy", "denied", "bad_request", "token_away", "clock_away"


# What reading bytes of a stranger, or a mistake of ours in what is done with them, may raise. It is told to whoever
# sent them; anything else (a full disk, a token that has to be looked at) ends the bridge.
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)


class FrameInvalid(ValueError):
    """The peer does not speak this protocol; the connection ends."""


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything in a frame: immutable, no field that we do not know."""


class Request(_Struct, frozen=True):
    """One operation over many items; deadline_ms counts from its arrival."""

    v: int
    id: int
    op: str
    items: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=FRAME_ITEMS_MAX)]
    deadline_ms: int


class ItemResult(_Struct, frozen=True, omit_defaults=True):
    """What became of one item: `ok`, or `err` with a stable code."""

    ok: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    err: str | None = None
    detail: str = ""


class Response(_Struct, frozen=True, omit_defaults=True):
    """The answer to one request: one result per item, or `err` for the whole."""

    id: int
    results: list[ItemResult] | None = None
    err: str | None = None


class Denied(_Struct, frozen=True):
    """The bridge says no to one item, and always will, but where a clock is wrong: code is stable, detail is for
    people."""

    code: str
    detail: str = ""

    @property
    def is_clock(self) -> bool:
        """What is asked is right, and a clock is wrong today: ask again."""
        return self.code in CLOCK_CODES


Answered = TypeVar("Answered", bound=msgspec.Struct, covariant=True)
MayAsk = TypeVar("MayAsk", bound=Caller, contravariant=True)


class ItemType(msgspec.StructMeta):
    """The class of item classes: keeps the operation and the answer that a class line names."""

    op: str
    answer: type[Any]

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, op: str = "", **options: Any
    ) -> "ItemType":
        item: ItemType = super().__new__(cls, name, bases, namespace, **options)
        if op:
            item.op, item.answer = op, get_args(namespace["__orig_bases__"][0])[0]
        return item


class Item(_Struct, Generic[Answered, MayAsk], metaclass=ItemType, frozen=True):
    """What one operation is asked for once: Item[its answer, who may ask], op=its name."""


class Opened(_Struct, frozen=True):
    """The content key (32 bytes)."""

    key: bytes


class OpenIntake(Item[Opened, Literal["encrypt"]], frozen=True, op="open_intake"):
    """A content key sealed to an intake key (HPKE: encapsulated key, then ciphertext)."""

    key_id: str
    info: bytes
    sealed: bytes


class Wrapped(_Struct, frozen=True):
    """A wrap of a content, which only `derive_wrap` opens again, or of a letter, which only `release` opens again."""

    key_id: str
    wrapped: bytes


class WrapContent(Item[Wrapped, Literal["encrypt"]], frozen=True, op="wrap_content"):
    """Concatenated 32-byte keys of one content, to be wrapped under what it is (formats/context.py, ContentContext)."""

    context: bytes
    keys: bytes


class WrappedContent(_Struct, frozen=True):
    """A content's wrap, with the context that opens it."""

    key_id: str
    wrapped: bytes
    context: bytes


class DeriveWrap(Item[Wrapped, Literal["encrypt"]], frozen=True, op="derive_wrap"):
    """A letter's context, and the wraps of exactly the contents that it names, in its order."""

    context: bytes
    contents: Annotated[tuple[WrappedContent, ...], msgspec.Meta(max_length=ENTRIES_MAX)]


class Sealed(_Struct, frozen=True):
    """An ECDSA P-256 signature, r || s (64 bytes), and the key that made it."""

    key_id: str
    signature: bytes


class SealEvidence(Item[Sealed, Literal["seal"]], frozen=True, op="seal_evidence"):
    """Canonical evidence bytes, and for a recipient's act the bridge's own receipt."""

    evidence: bytes
    receipt: bytes | None


class PackagedEvidence(_Struct, frozen=True):
    """Canonical bytes, the seal's signature, the token over it: as they are stored."""

    evidence: bytes
    signature: bytes
    token: bytes


class SealPackage(Item[Sealed, Literal["archive"]], frozen=True, op="seal_package"):
    """All that a snapshot holds and the bridge does not know itself: it makes the entries of it, as the caller does.
    number, snapshot, previous_sha256: of the letter, of this snapshot, of the file of the one before."""

    evidences: Annotated[tuple[PackagedEvidence, ...], msgspec.Meta(max_length=EVIDENCES_MAX)]
    number: str
    snapshot: Annotated[int, msgspec.Meta(ge=1, le=EVIDENCES_MAX)]
    previous_sha256: bytes | None
    revocation_list: bytes | None
    signing_time: Instant


class SealList(Item[Sealed, Literal["archive"]], frozen=True, op="seal_list"):
    """Entries of a list in order, (name, SHA-256), and the signing time: sealed as a list, no evidence."""

    entries: Annotated[tuple[tuple[str, bytes], ...], msgspec.Meta(max_length=ENTRIES_MAX)]
    signing_time: Instant


class Stamped(_Struct, frozen=True):
    """A time-stamp token, DER (ContentInfo)."""

    token: bytes


class TimeStamp(Item[Stamped, Literal["timestamp", "archive"]], frozen=True, op="time_stamp"):
    """A SHA-256 imprint (32 bytes) and the event time that the token must not be older than."""

    imprint: bytes
    event_time: Instant | None


class WebhookSigned(_Struct, frozen=True):
    """An ed25519 signature (64 bytes), and the key that made it."""

    key_id: str
    signature: bytes


class SignWebhook(Item[WebhookSigned, Literal["webhook"]], frozen=True, op="sign_webhook"):
    """Signed is id.timestamp.body (Standard Webhooks), which the bridge composes. timestamp: seconds since 1970."""

    id: UUID
    timestamp: int
    body: bytes


class Begun(_Struct, frozen=True):
    """A nonce, which only a later verify_identity of the same delivery, session and provider may use."""

    nonce: str


class BeginIdentity(Item[Begun, Literal["gateway"]], frozen=True, op="begin_identity"):
    """A person is about to identify for a delivery. session: SHA-256 of the browser session's identifier; provider: its
    name in the configuration."""

    delivery: UUID
    session: bytes
    provider: str


class Identified(_Struct, frozen=True):
    """Who identified, and how this compares with the addressee. match: match, near or no; a ticket and a kind only on
    match.

    proof: the provider's signed tokens without their encryption, verifiable later.
    """

    match: str
    kind: MatchKind | None
    person: IdentifiedPerson
    ticket: bytes | None
    proof: bytes


class IdentityTokens(_Struct, frozen=True):
    """What an identity provider gave for one code, encrypted to the bridge where the provider does so. userinfo: empty
    when the ID token names the person."""

    id_token: str
    userinfo: str


class VerifyIdentity(Item[Identified, Literal["gateway"]], frozen=True, op="verify_identity"):
    """What the identity provider answered, and the wrap that authenticates whom the letter is for."""

    nonce: str
    session: bytes
    delivery: UUID
    provider: str
    tokens: IdentityTokens
    wrapped: bytes
    wrap_key_id: str
    context: bytes


class Decided(_Struct, frozen=True):
    """The bridge's own record of a decision; without it no C.3, C.4 or D.1 is sealed."""

    receipt: bytes
    act: str
    person_sha256: bytes
    at: datetime


class Decide(Item[Decided, Literal["gateway"]], frozen=True, op="decide"):
    """A ticket's holder decides. act: accept or refuse; intent: as the gateway stored it before; words: what the page
    said beside the box, by the version of its text and the SHA-256 of the words as shown."""

    ticket: bytes
    delivery: UUID
    act: str
    intent: UUID
    words_version: str
    words_sha256: bytes


class Released(_Struct, frozen=True):
    """The concatenated 32-byte content keys, and the receipt that E.1 stands on."""

    keys: bytes
    receipt: bytes


class Release(Item[Released, Literal["gateway"]], frozen=True, op="release"):
    """A wrap, the right to open it (ticket) and the proof that it was accepted (receipt). The one unwrap."""

    wrapped: bytes
    wrap_key_id: str
    context: bytes
    ticket: bytes
    receipt: bytes


class PublicKey(_Struct, frozen=True):
    """use: seal, time, intake, identity or webhook."""

    key_id: str
    use: str
    spki: bytes
    certificate: bytes | None
    not_before: datetime
    not_after: datetime


class Description(_Struct, frozen=True):
    """identity_jwk: the JSON of the key that identity tokens are encrypted to."""

    keys: list[PublicKey]
    ca: bytes
    crl: bytes
    identity_jwk: bytes


class Describe(Item[Description, Caller], frozen=True, op="describe"):
    """What are your keys? No field."""


class HealthReport(_Struct, frozen=True):
    """Whether the token works, and how many items wait for it."""

    token_up: bool
    queued_items: int


class ReportHealth(Item[HealthReport, Caller], frozen=True, op="health"):
    """How are you? No field."""


Typed = TypeVar("Typed")
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


def encode(value: msgspec.Struct) -> bytes:
    """The msgpack of one item, request or response."""
    return _encoder.encode(value)


def decode(data: bytes | msgspec.Raw, kind: type[Typed]) -> Typed:
    """Reads one typed value; raises FrameInvalid, whose text names the field."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except FAULTS as error:  # ValueError: a UUID or a text that is none; RecursionError: nesting
        raise FrameInvalid(str(error)[:DETAIL_CHARACTERS_MAX]) from error
