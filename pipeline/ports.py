"""The ports: everything a stage or the gateway may ask of the outside, and the rows that come back.

Adapters implement them (one file per outside thing), in-memory fakes implement them for the simulation, and one
contract suite runs over both. Every method says what is durable when it returns, whether it may be called twice and
which errors it raises. Stages get a dataclass with just the ports they use.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

from pipeline.delivery.facts import UploadWrap
from pipeline.delivery.routes import Emission
from pipeline.delivery.states import Stamped
from pipeline.evidence.draft import Dossier, Head


# ------------------------------------------------------------------ messages and what the lock tells
@dataclass(frozen=True, slots=True)
class Message:
    """An address in a mailbox: which delivery, which evidence, and the history of getting it done."""

    id: int
    lane: int
    kind: str
    delivery: UUID
    evidence: UUID | None
    ordinal: int
    attempts: int
    rescues: int
    enqueued_at: datetime
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """A delivery under its row lock, read after the lock was got. legal_time becomes EventTime."""

    delivery: UUID
    head: Head
    state: str
    stamped_through: int
    drafted: frozenset[str]
    stamped: frozenset[str]
    expires_at: datetime | None
    intent_alive: bool
    consent_stands: bool  # not withdrawn; true where none is needed
    legal_time: datetime


@dataclass(frozen=True, slots=True)
class Advanced:
    """What one delivery gained by newly stamped evidence."""

    delivery: UUID
    state: str
    reached: tuple[Stamped, ...]


class Tx(Protocol):
    """The one transaction of a batch. Everything in it becomes durable together or not at all."""

    async def lock(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Locked]:
        """Lock in id order, then read. Lock order in every transaction: running rows, deliveries, the rest."""

    async def add(self, facts: Sequence[Any]) -> None:
        """Insert facts. A seal, token or wrap that exists wins silently; any other conflict is like a crash."""

    async def advance(self, deliveries: Sequence[UUID]) -> Sequence[Advanced]:
        """Extend the stamped prefix of locked deliveries and their state. Only `timestamp` may."""

    async def emit(self, emissions: Sequence[Emission]) -> None:
        """Add messages to the outboxes or timers of their receivers."""


# ------------------------------------------------------------------ rows read in bulk
@dataclass(frozen=True, slots=True)
class Submission:
    """What `ingest` checks. consent: given, withdrawn, unknown, or not_needed (a professional)."""

    delivery: UUID
    state: str
    dossier: Dossier
    consent: str


@dataclass(frozen=True, slots=True)
class PackKey:
    """The key of a pack, sealed to an intake key."""

    intake_key_id: str
    sealed_key: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """One encrypted stretch of one document.

    object_bytes: how long its stream is in the object, None when it is the whole of it. pack: of the object, when many
    contents share it; sealed_key is encrypted under that key then.
    """

    part: int
    segment: int
    sender: UUID
    upload: UUID
    object: str
    content_format: str
    plain_bytes: int
    intake_key_id: str
    sealed_key: bytes
    uploaded_at: datetime
    object_offset: int = 0
    object_bytes: int | None = None
    pack: PackKey | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What `encrypt` reads back: the dossier, what the sender declared, and where the bytes are.

    wraps: of its uploads, those that were read before, for this letter or for another.
    """

    delivery: UUID
    dossier: Dossier
    declared_sha256: tuple[bytes, ...]
    segments: tuple[Segment, ...]
    consent: str
    wraps: Mapping[UUID, UploadWrap] = field(default_factory=dict)

    @property
    def uploads(self) -> Mapping[int, UUID]:
        """Which upload each part is."""
        return {s.part: s.upload for s in self.segments}


@dataclass(frozen=True, slots=True)
class StoredDraft:
    """An evidence as drafted: the bytes to be sealed and the certificate of the key they name."""

    evidence: UUID
    delivery: UUID
    event_time: datetime
    canonical: bytes
    receipt: bytes | None
    seal_key_id: str
    certificate: bytes


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """A sealed evidence on its way to its token."""

    evidence: UUID
    delivery: UUID
    event: str
    event_time: datetime
    signature: bytes


@dataclass(frozen=True, slots=True)
class StoredNotice:
    """A prepared notice: exactly the bytes that go to the relay, and where to."""

    delivery: UUID
    ordinal: int
    notice_date: date
    last_day: date
    recipient_email: str
    message_id: str
    claim_sha256: bytes
    text_sha256: bytes
    mail: bytes
    prepared_at: datetime
    dossier: Dossier
    is_latest: bool


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a notice may say of a delivery: nothing of the sender, the subject or the files."""

    delivery: UUID
    number: str
    recipient_email: str
    language: str
    next_ordinal: int
    legal_time: datetime


@dataclass(frozen=True, slots=True)
class StampedEvidence:
    """One complete proof: draft, seal, token and the certificate to check the seal with."""

    evidence: UUID
    event: str
    sequence: int
    event_time: datetime
    canonical: bytes
    signature: bytes
    token: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Proofs:
    """All that a package snapshot holds, and the snapshot before it."""

    delivery: UUID
    number: str
    mode: str
    stamped_through: int
    evidences: tuple[StampedEvidence, ...]
    snapshots: int
    snapshot_through: int
    snapshot_sha256: bytes | None
    legal_time: datetime


class Facts(Protocol):
    """Committed rows, read in bulk outside any transaction. What may have changed is checked again under the lock.

    Every method answers a mapping without the ids it does not know. May be called as often as one likes.
    Raises Transient when the database is away.
    """

    async def dossiers(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Dossier]: ...
    async def submissions(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Submission]: ...
    async def contents(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Content]: ...
    async def drafts(self, evidences: Sequence[UUID]) -> Mapping[UUID, StoredDraft]: ...
    async def seals(self, evidences: Sequence[UUID]) -> Mapping[UUID, StoredSeal]: ...
    async def announcements(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Announcement]: ...
    async def notices(self, keys: Sequence[tuple[UUID, int]]) -> Mapping[tuple[UUID, int], StoredNotice]: ...
    async def proofs(self, deliveries: Sequence[UUID]) -> Mapping[UUID, Proofs]: ...
    async def legal_now(self) -> datetime: ...


# ------------------------------------------------------------------ mailbox
class MailboxTx(Tx, Protocol):
    """The transaction of a batch, as the loop sees it: the stage's Tx, the fence, and the ways back."""

    async def remove(self, batch: Sequence[Message]) -> frozenset[int]:
        """The fence: delete the running rows of this epoch; the ids that were still ours. Others: drop silently."""

    async def postpone(self, later: Sequence[tuple[Message, float]]) -> None:
        """Put removed messages back, as they now are, after so many seconds of real time; 0: at once."""

    async def bury(self, dead: Sequence[tuple[Message, str]]) -> None:
        """Make dead letters of removed messages."""


class Mailbox(Protocol):
    """The rows waiting for one stage, taken under an epoch. Every method raises LeaseLost when the epoch is over."""

    async def start(self) -> None:
        """Begin a new epoch: durable on return. Raises Transient when the database is away."""

    async def heartbeat(self) -> None:
        """Keep the epoch alive, listen and ring, until cancelled. Raises LeaseLost when the epoch was rescued."""

    async def take(
        self, limit: int, *, interactive_only: bool = False, beside_commit: bool = False
    ) -> Sequence[Message]:
        """Up to `limit` messages, interactive first; [] when none wait or an operator holds the stage back. Losing it
        returns the rows. `beside_commit`: a transaction may be open meanwhile."""

    async def sweep(self) -> None:
        """When it is time: rescue the rows of dead epochs, fire due timers. Any process may, as often as it likes."""

    def transaction(self, batch: Sequence[Message]) -> AbstractAsyncContextManager[MailboxTx]:
        """One transaction: durable when the block is left, rolled back by any exception in it."""

    async def doorbell(self, seconds: float) -> None:
        """Wait for a ring, at most `seconds`. A ring is a hint; it may be lost or merged."""

    def ring(self, stages: frozenset[str]) -> None:
        """Ring at those stages after a commit, soon, merged. Never raises; a lost ring costs one sweep."""

    def wake(self) -> None:
        """End this process's own wait at the doorbell."""

    async def stop(self) -> None:
        """Give the epoch up in good order; whatever is still running under it is rescued at once."""


# ------------------------------------------------------------------ bridge, objects, mail, ids
@dataclass(frozen=True, slots=True)
class Denied:
    """The bridge says no to one item, and always will: code is stable, detail is for people."""

    code: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SealAnswer:
    """An ECDSA P-256 signature, r || s (64 bytes), and the key that made it."""

    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class IntakeItem:
    """A content key sealed to the intake key (HPKE), with the info it was sealed under."""

    key_id: str
    info: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class WrapContentItem:
    """Concatenated 32-byte keys of one content, to be wrapped under what it is (formats/context.py, ContentContext)."""

    context: bytes
    keys: bytes


@dataclass(frozen=True, slots=True)
class WrapAnswer:
    """A wrap of a content, which only `derive_wrap` opens again, or of a letter, which only `release` opens again."""

    key_id: str
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class WrappedContent:
    """A content's wrap, with the context that opens it."""

    key_id: str
    wrapped: bytes
    context: bytes


@dataclass(frozen=True, slots=True)
class DeriveWrapItem:
    """A letter's context, and the wraps of exactly the contents that it names, in its order."""

    context: bytes
    contents: tuple[WrappedContent, ...]


class EncryptBridge(Protocol):
    """The bridge as `encrypt` sees it. All may be called twice. Raise Transient when it is busy or away."""

    async def open_intake(self, items: Sequence[IntakeItem]) -> Sequence[bytes | Denied]: ...
    async def wrap_content(self, items: Sequence[WrapContentItem]) -> Sequence[WrapAnswer | Denied]: ...
    async def derive_wrap(self, items: Sequence[DeriveWrapItem]) -> Sequence[WrapAnswer | Denied]: ...


@dataclass(frozen=True, slots=True)
class SealItem:
    """Canonical evidence bytes, and for a recipient's act the bridge's own receipt."""

    evidence: bytes
    receipt: bytes | None


class SealBridge(Protocol):
    """The bridge as `seal` sees it. May be called twice: two seals over the same bytes say the same thing."""

    async def seal_evidence(self, items: Sequence[SealItem]) -> Sequence[SealAnswer | Denied]: ...


@dataclass(frozen=True, slots=True)
class StampItem:
    """A SHA-256 imprint (32 bytes) and the event time that the token must not be older than."""

    imprint: bytes
    event_time: datetime | None


class StampBridge(Protocol):
    """The time-stamp authority as `timestamp` sees it: one DER token (ContentInfo) per item. May be called twice."""

    async def time_stamp(self, items: Sequence[StampItem]) -> Sequence[bytes | Denied]: ...


@dataclass(frozen=True, slots=True)
class PackageItem:
    """Package entries in order, (name, SHA-256), and the signing time."""

    entries: tuple[tuple[str, bytes], ...]
    signing_time: datetime


class ArchiveBridge(StampBridge, Protocol):
    """The bridge as `archive` sees it."""

    async def seal_package(self, items: Sequence[PackageItem]) -> Sequence[SealAnswer | Denied]: ...


@dataclass(frozen=True, slots=True)
class IdentityStart:
    """A person is about to identify for a delivery. session: SHA-256 of the browser session's identifier."""

    delivery: UUID
    session: bytes


@dataclass(frozen=True, slots=True)
class IdentityProof:
    """What the identity provider answered, and the wrap that authenticates whom the letter is for."""

    nonce: str
    session: bytes
    delivery: UUID
    id_token: str
    userinfo: str
    wrapped: bytes
    wrap_key_id: str
    context: bytes


@dataclass(frozen=True, slots=True)
class IdentifiedPerson:
    """Who identified, and how this compares with the addressee. match: match, near or no; a ticket only on match.

    proof: the provider's signed tokens without their encryption, verifiable later.
    """

    match: str
    level: str
    subject: str
    given_names: str
    birth_name: str
    usage_name: str | None
    birth_date: date | None
    authenticated_at: datetime
    person_sha256: bytes
    ticket: bytes | None
    proof: bytes


@dataclass(frozen=True, slots=True)
class DecisionItem:
    """A ticket's holder decides. act: accept or refuse."""

    ticket: bytes
    delivery: UUID
    act: str


@dataclass(frozen=True, slots=True)
class DecisionReceipt:
    """The bridge's own record of a decision; without it no C.3, C.4 or D.1 is sealed."""

    receipt: bytes
    act: str
    person_sha256: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class ReleaseItem:
    """A wrap, the right to open it (ticket) and the proof that it was accepted (receipt)."""

    wrapped: bytes
    wrap_key_id: str
    context: bytes
    ticket: bytes
    receipt: bytes


@dataclass(frozen=True, slots=True)
class Released:
    """The concatenated 32-byte content keys, and the receipt that E.1 stands on."""

    keys: bytes
    receipt: bytes


class RecipientBridge(Protocol):
    """The bridge as the portal sees it. All may be called twice. Raise Transient when it is busy or away."""

    async def begin_identity(self, items: Sequence[IdentityStart]) -> Sequence[str | Denied]:
        """A nonce each, which only a later verify_identity of the same delivery and session may use."""

    async def verify_identity(self, items: Sequence[IdentityProof]) -> Sequence[IdentifiedPerson | Denied]: ...
    async def decide(self, items: Sequence[DecisionItem]) -> Sequence[DecisionReceipt | Denied]: ...
    async def release(self, items: Sequence[ReleaseItem]) -> Sequence[Released | Denied]: ...


@dataclass(frozen=True, slots=True)
class IdentityTokens:
    """What the identity provider gave for one code, still encrypted to the bridge's identity key."""

    id_token: str
    userinfo: str


@dataclass(frozen=True, slots=True)
class ExchangeRefused:
    """The identity provider refuses the code: unknown, late, used. code: its error code."""

    code: str


class IdentityProvider(Protocol):
    """The identity provider's back channel."""

    async def exchange(self, code: str, redirect_uri: str) -> IdentityTokens | ExchangeRefused:
        """Redeem a code and fetch the userinfo. A code is good once, so never called twice. Raises Transient."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing tells of it; age by the store's own clock, since it became visible."""

    name: str
    bytes: int
    age_seconds: float


class Objects(Protocol):
    """Immutable objects under random names. Errors: Transient."""

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Store; durable on return, nothing visible before. The length in bytes. A name is used once."""

    def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes, in chunks. Whoever stops before the end closes it (contextlib.aclosing)."""

    async def size(self, name: str) -> int | None:
        """Length in bytes, None when there is no such object."""

    async def delete(self, name: str) -> None:
        """Gone on return; no error when it was gone already."""

    def list(self, older_seconds: float) -> AsyncGenerator[ListedObject, None]:
        """Every object that is at least so old, in no order, whole objects only; one that comes or goes meanwhile may
        be told or not. Memory does not grow with the store. Whoever stops before the end closes it."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """The relay took the mail; its word for it."""

    code: int
    text: str
    tls: str | None


@dataclass(frozen=True, slots=True)
class MailRefused:
    """The relay refuses for ever (5xx)."""

    code: int
    text: str


class Mailer(Protocol):
    """The relay. A mail may arrive twice when its answer was lost: same bytes, same Message-ID."""

    at_once: int  # how many sends may be under way

    async def send(self, recipient: str, mail: bytes) -> Relayed | MailRefused:
        """Hand one mail to the relay. Raises Transient on 4xx, without the TLS required, on any trouble."""


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A public key of the bridge, checked against the pinned CA where it has a certificate."""

    key_id: str
    use: str
    spki: bytes
    certificate: bytes | None
    not_before: datetime
    until: datetime


class Keys(Protocol):
    """The keys that the bridge has published."""

    async def active(self, use: str) -> PublishedKey:
        """The newest key of that use that may still seal something new. Raises Transient when there is none yet."""

    async def by_id(self, key_id: str) -> PublishedKey:
        """Any published key. Raises Transient when it is not published (yet)."""

    async def trust_anchor(self) -> bytes:
        """DER of the CA certificate pinned at installation."""

    async def document(self, name: str) -> bytes | None:
        """The newest published document of that name: crl, identity_jwks."""


class Randomness(Protocol):
    """Random bytes; seeded in a simulation."""

    def random_bytes(self, count: int) -> bytes: ...
    def unit(self) -> float:
        """A number in [0, 1), for jitter."""
