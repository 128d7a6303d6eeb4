"""What the sender API asks of the database, and the rows that come back.

Owns     the port and its row types. Here and not in the gateway, because the adapter may not import a face
Rules    every question about something of a sender names the sender: another one's is not there
         every method raises Transient when the database is away; then nothing was stored, or the answer was lost
Elsewhere: what is valid (pipeline/intake/submission.py), what a sender is shown (gateway/sender/presentation.py)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol
from uuid import UUID

from pipeline.evidence.dossier import RecipientParty
from pipeline.ports.rows import StampedEvidence
from pipeline.stores.lists import Filter, ListPlace

TOKEN_SECONDS = 600  # of an access token; schemas/api/oauth.json says so to senders
UPLOAD_DAYS = 7  # an unused upload; tests/tidy/test_numbers_told.py knows where senders are told so
IDEMPOTENCY_HOURS = 72  # an Idempotency-Key answers again


# ------------------------------------------------------------------ who is asking
@dataclass(frozen=True, slots=True)
class Client:
    """A registered client; secret_sha256 in embedded installations only, public_jwk for private_key_jwt."""

    client_id: str
    sender: UUID
    secret_sha256: bytes | None
    public_jwk: Mapping[str, object] | None
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Bearer:
    """What an access token stands for."""

    client_id: str
    sender: UUID
    scopes: frozenset[str]
    expired: bool
    barred: str | None = None  # the problem code of why it may not submit now; it may read all the same
    birth_date_demanded: bool = False  # of consumers, by the operator's policy for this sender


@dataclass(frozen=True, slots=True)
class Account:
    """A sender, as it was identified."""

    sender: UUID
    name: str
    email: str
    identity_level: str
    identity_method: str
    identified_at: datetime
    birth_date_demanded: bool


# ------------------------------------------------------------------ consents and uploads
@dataclass(frozen=True, slots=True)
class Consent:
    """A consumer's consent to registered mail in electronic form, as the sender recorded it."""

    sender: UUID
    ref: str
    email: str
    given_names: str
    birth_name: str
    obtained_at: datetime
    method: str
    text_sha256: bytes
    withdrawn_at: datetime | None = None
    withdrawn_by: str | None = None  # sender or consumer


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A stream in the store, and its key: sealed to the intake key, or encrypted under that of its pack.

    plain_bytes, sha256: of the content. object_bytes: of the stream; None when it is the whole object.
    """

    segment: int
    object: str
    content_format: str
    plain_bytes: int
    intake_key_id: str
    sealed_key: bytes
    sha256: bytes
    object_offset: int = 0
    object_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SenderUpload:
    """A file, encrypted on its way in. sha3_256 is None, and part_bytes is not, of one that arrives in parts."""

    id: UUID
    sender: UUID
    file_name: str
    content_type: str
    content_bytes: int
    sha256: bytes
    sha3_256: bytes | None
    expires_at: datetime
    expired: bool = False
    part_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PartialUpload:
    """An upload and the parts of it that are there, with the SHA-256 of each."""

    upload: SenderUpload
    parts: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class StoredPack:
    """One object with many contents; sealed_key: of the key that theirs are encrypted under."""

    object: str
    intake_key_id: str
    sealed_key: bytes
    object_bytes: int


@dataclass(frozen=True, slots=True)
class PackRows:
    """A pack that is durable in the store, and its contents: to be stored in one transaction with what names them."""

    pack: StoredPack
    contents: tuple[tuple[SenderUpload, StoredSegment], ...]


# ------------------------------------------------------------------ deliveries
@dataclass(frozen=True, slots=True)
class DeclaredDocument:
    """One document of a submission, as the sender declared it."""

    part: int
    upload: UUID
    file_name: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid request for a delivery; request_sha256 says whether another request asks for the same letter.

    language: of the mails to the recipient, and of the pages that they lead to.
    """

    client_ref: str | None
    recipient: RecipientParty
    language: str
    consent_ref: str | None
    subject: str
    metadata: Mapping[str, str]
    documents: tuple[DeclaredDocument, ...]
    request_sha256: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """A submission on its way into the database. contents: the uploads that came with it, committed together."""

    delivery: UUID
    number: str
    sender: UUID
    mode: str
    config_version: str
    submission: Submission
    contents: tuple[tuple[SenderUpload, StoredSegment], ...] = ()
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class EventSeen:
    """A stamped event of a delivery: what a sender may know of it."""

    evidence: UUID
    event: str
    sequence: int
    event_time: datetime
    stamped_at: datetime
    sha256: bytes


@dataclass(frozen=True, slots=True)
class SnapshotSeen:
    """A package that is in the object store."""

    snapshot: int
    object: str
    package_bytes: int
    sha256: bytes
    sequence_through: int


@dataclass(frozen=True, slots=True)
class DeliverySeen:
    """A delivery as its sender may see it: through its stamped prefix."""

    id: UUID
    number: str
    client_ref: str | None
    request_sha256: bytes
    state: str
    submitted_at: datetime
    settled_at: datetime | None  # time of its A.1 or A.2
    changed_at: datetime  # of its state or evidence
    last_day: date | None
    expires_at: datetime | None
    stamped_through: int
    events: tuple[EventSeen, ...]
    snapshots: tuple[SnapshotSeen, ...]
    batch: UUID | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer that was given under an Idempotency-Key."""

    request_sha256: bytes
    status: int
    location: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key and the digest of the request that carries it."""

    key: str
    request_sha256: bytes


# What `submit` may find. Accepted is the only one after which something is stored.
@dataclass(frozen=True, slots=True)
class Accepted:
    """Stored, with its message to `ingest`. body: what was rendered from it."""

    delivery: DeliverySeen
    body: bytes


@dataclass(frozen=True, slots=True)
class ClientRefTaken:
    """A delivery that was not rejected has this client_ref."""

    existing: DeliverySeen


@dataclass(frozen=True, slots=True)
class KeyTaken:
    """Another request with this Idempotency-Key was answered meanwhile."""

    remembered: Remembered


@dataclass(frozen=True, slots=True)
class KeyInFlight:
    """Another request with this Idempotency-Key is being worked on."""


@dataclass(frozen=True, slots=True)
class UploadGone:
    """An upload that was there at the check is not there at the insert."""


Submitted = Accepted | ClientRefTaken | KeyTaken | KeyInFlight | UploadGone


class SandboxClock(Protocol):
    """The demo clock of an embedded installation."""

    async def advance(self, period: timedelta) -> datetime | None:
        """The new time of the law; None when it would be too far ahead. Durable on return; twice moves it twice."""

    async def end(self) -> datetime:
        """How far it may be moved at all, by the keys of the installation."""


class SenderStore(Protocol):
    """Rows of and for senders."""

    async def client(self, client_id: str) -> Client | None:
        """A client that is not revoked."""

    async def add_token(self, token_sha256: bytes, client_id: str, scopes: Sequence[str]) -> None:
        """Good for TOKEN_SECONDS by the database's clock. Durable on return."""

    async def use_assertion(self, client_id: str, jti: str, expires_at: datetime) -> bool:
        """Whether this is its first use; the second time never is. Durable on return."""

    async def bearer(self, token_sha256: bytes) -> Bearer | None:
        """What a token stands for, also for a while after it ran out; None when its client is revoked."""

    async def account(self, sender: UUID) -> Account | None: ...

    async def put_consent(self, consent: Consent) -> tuple[Consent, bool] | None:
        """Records it when its ref is new; what is recorded now, and whether it is new. None: a request to the consumer
        has this ref, and no answer that makes a consent. Durable on return."""

    async def consent(self, sender: UUID, ref: str) -> Consent | None: ...

    async def withdraw_consent(self, sender: UUID, ref: str) -> Consent | None:
        """For ever. May be called twice: the first time stays. Durable on return."""

    async def add_upload(self, upload: SenderUpload, segments: Sequence[StoredSegment]) -> None:
        """Durable on return."""

    async def uploads(self, sender: UUID, ids: Sequence[UUID]) -> Mapping[UUID, SenderUpload]:
        """Those that are there, theirs and complete."""

    async def upload_parts(self, sender: UUID, upload: UUID) -> PartialUpload | None:
        """One of theirs, complete or not."""

    async def add_upload_part(self, upload: UUID, segment: StoredSegment) -> bool:
        """Whether this part is new: the first one stays. Durable on return."""

    async def withdraw_upload(self, sender: UUID, upload: UUID) -> bool:
        """It expires now, unless a delivery names it: false then. May be called twice. Durable on return."""

    async def remembered(self, sender: UUID, key: str) -> Remembered | None:
        """The answer given under a key in the last IDEMPOTENCY_HOURS."""

    async def submit(
        self, order: Order, key: IdempotencyKey | None, render: Callable[[DeliverySeen], bytes], location: str
    ) -> Submitted:
        """Delivery, documents, the uploads that came with it, remembered answer and the message to `ingest`, in one
        transaction or not at all.

        Of two submissions with one client_ref, or one key, exactly one is Accepted; its evidence will exist.
        """

    async def delivery(self, sender: UUID, name: UUID | str) -> DeliverySeen | None:
        """By id, or by public number."""

    async def delivery_by_ref(self, sender: UUID, client_ref: str) -> DeliverySeen | None:
        """The one that was not rejected."""

    async def deliveries(
        self, sender: UUID, which: Filter, after: ListPlace | None, limit: int
    ) -> tuple[Sequence[DeliverySeen], ListPlace | None]:
        """A page in the list's order, at most `limit`, and where the next one goes on (pipeline/stores/lists.py)."""

    async def evidence(self, delivery: UUID, evidence: UUID) -> StampedEvidence | None:
        """A proof inside the stamped prefix."""

    async def ask_package(self, delivery: UUID) -> None:
        """Emits PRESERVE: `archive` writes a snapshot as far as the evidence goes. May be called again and again."""

    async def forget_expired(self) -> None:
        """Deletes tokens, assertions and remembered answers that have run out."""

    async def check(self) -> None:
        """Raises Transient when the database does not answer."""
