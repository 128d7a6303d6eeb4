"""The bridge, as each of its callers sees it, and the keys that it has published.

An answer is one item's result in the order of the items: the value, or Denied. Elsewhere: what it checks and does
(hsm_bridge).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID


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
