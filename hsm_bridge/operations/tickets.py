"""Nonces, tickets and receipts: what the bridge says to itself through others' hands, under its MAC.

Owns     the three forms, their bytes and their MAC; how long a nonce and a ticket live
Rules    deterministic msgpack, a version byte, 32 bytes of HMAC from the token; each form has a domain of its own, so
         that none can stand for another; the bridge keeps no list of them, so each carries all it binds
Elsewhere: who gets one (operations). A nonce or a ticket may be shown twice; uniqueness of acts is the database's
"""

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec

from pipeline.formats import events
from pipeline.formats.evidence_head import evidence_id
from pipeline.formats.person import MatchKind

VERSION = b"\x01"
MAC_BYTES = 32
NONCE_SALT_BYTES = 16
NONCE_SECONDS = 600  # a person needs minutes at the identity provider
TICKET_SECONDS = 3600
CLOCK_STEP_SECONDS = 5  # a nonce or ticket from this far ahead is a corrected clock, not a forgery
BYTES_MAX = 1024

Act = events.Act
Mac = Callable[[bytes], bytes]
Fields = TypeVar("Fields")


class TicketInvalid(ValueError):
    """Forged, altered, expired, or for something else."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a nonce is good for: a delivery, a browser session (SHA-256), an identity provider (its name)."""

    delivery: UUID
    session: bytes
    provider: str


@dataclass(frozen=True, slots=True)
class Right:
    """Who may act on what, as the identification found it: the person (digest), the level, in which capacity the letter
    addresses the person, which documents it has, by which tokens of the provider (digests), and how the person is the
    addressee. match_kind: None in what was issued before it was noted."""

    delivery: UUID
    person: bytes
    level: str
    capacity: str
    documents_sha256: bytes
    proof_sha256: bytes
    match_kind: MatchKind | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right of one identified person to decide about one delivery, until `expires` (system clock)."""

    right: Right
    issued: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided on: the intent that the gateway stored before, and the words on the page (SHA-256)."""

    intent: UUID
    words_version: str
    words_sha256: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """The bridge's record of an act of an identified person, at a legal time. decision: None of a handover."""

    right: Right
    act: Act
    at: datetime
    decision: Decision | None

    @property
    def evidences(self) -> frozenset[UUID]:
        """What it is for, and nothing else: C.3 with its D.1, or one C.4, or one E.1."""
        codes = [event.code for event in events.EVENTS.values() if event.act == self.act]
        return frozenset(evidence_id(self.right.delivery, code, 0) for code in codes)


class _RightFields(NamedTuple):
    delivery: bytes
    person: bytes
    level: str
    capacity: str
    documents_sha256: bytes
    proof_sha256: bytes
    match_kind: MatchKind | None = None


class _TicketFields(NamedTuple):
    right: _RightFields
    issued_ms: int
    expires_ms: int


class _DecisionFields(NamedTuple):
    intent: bytes
    words_version: str
    words_sha256: bytes


class _ReceiptFields(NamedTuple):
    right: _RightFields
    act: Act
    at_ms: int
    evidences: list[bytes]
    decision: _DecisionFields | None


def issue_nonce(mac: Mac, login: Login, salt: bytes, moment: datetime) -> str:
    """A nonce for one identification, bound to the login and the time."""
    head = VERSION + _milliseconds(moment).to_bytes(8, "big") + salt
    return urlsafe_b64encode(head + mac(_nonce_input(head, login))).rstrip(b"=").decode()


def check_nonce(mac: Mac, nonce: str, login: Login, moment: datetime) -> None:
    """Raises TicketInvalid unless issue_nonce made this for the same login not long ago."""
    try:
        data = urlsafe_b64decode(nonce + "=" * (-len(nonce) % 4))
    except (binascii.Error, ValueError) as error:
        raise TicketInvalid("nonce is not base64url") from error
    head, tag = data[:-MAC_BYTES], data[-MAC_BYTES:]
    if len(head) != 9 + NONCE_SALT_BYTES or head[:1] != VERSION:
        raise TicketInvalid("nonce has another form")
    if not hmac.compare_digest(tag, mac(_nonce_input(head, login))):
        raise TicketInvalid("nonce is not ours, or for another delivery, session or provider")
    age_ms = _milliseconds(moment) - int.from_bytes(head[1:9], "big")
    if not -CLOCK_STEP_SECONDS * 1000 <= age_ms <= NONCE_SECONDS * 1000:
        raise TicketInvalid("nonce is too old")


def issue_ticket(mac: Mac, ticket: Ticket) -> bytes:
    """Seals a ticket; its life is at most TICKET_SECONDS."""
    if ticket.expires - ticket.issued > timedelta(seconds=TICKET_SECONDS):
        raise TicketInvalid("a ticket lives at most an hour")
    fields = _TicketFields(_right_fields(ticket.right), _milliseconds(ticket.issued), _milliseconds(ticket.expires))
    return _issue(mac, b"ticket", fields)


def open_ticket(mac: Mac, data: bytes, delivery: UUID, moment: datetime) -> Ticket:
    """Raises TicketInvalid unless this is a living ticket for the delivery."""
    fields = _open(mac, b"ticket", data, _TicketFields)
    ticket = Ticket(_right(fields.right), _moment(fields.issued_ms), _moment(fields.expires_ms))
    if ticket.right.delivery != delivery:
        raise TicketInvalid("ticket is for another delivery")
    if not ticket.issued - timedelta(seconds=CLOCK_STEP_SECONDS) <= moment < ticket.expires:
        raise TicketInvalid("ticket has expired")
    return ticket


def issue_receipt(mac: Mac, receipt: Receipt) -> bytes:
    """Seals a receipt. It does not expire: it is good for its evidences, at its time, and for nothing else."""
    decision = receipt.decision
    made = (
        None
        if decision is None
        else _DecisionFields(decision.intent.bytes, decision.words_version, decision.words_sha256)
    )
    evidences = sorted(evidence.bytes for evidence in receipt.evidences)
    fields = _ReceiptFields(_right_fields(receipt.right), receipt.act, _milliseconds(receipt.at), evidences, made)
    return _issue(mac, b"receipt", fields)


def open_receipt(mac: Mac, data: bytes, delivery: UUID, act: Act) -> Receipt:
    """Raises TicketInvalid unless this is our receipt of that act on that delivery."""
    fields = _open(mac, b"receipt", data, _ReceiptFields)
    made = fields.decision
    decision = None if made is None else Decision(UUID(bytes=made.intent), made.words_version, made.words_sha256)
    receipt = Receipt(_right(fields.right), fields.act, _moment(fields.at_ms), decision)
    if receipt.right.delivery != delivery:
        raise TicketInvalid("receipt is for another delivery")
    if receipt.act != act:
        raise TicketInvalid(f"receipt is of another act ({receipt.act})")
    if fields.evidences != sorted(evidence.bytes for evidence in receipt.evidences):
        raise TicketInvalid("receipt is for other evidences")
    return receipt


def _right_fields(right: Right) -> _RightFields:
    return _RightFields(
        right.delivery.bytes,
        right.person,
        right.level,
        right.capacity,
        right.documents_sha256,
        right.proof_sha256,
        right.match_kind,
    )


def _right(fields: _RightFields) -> Right:
    return Right(
        UUID(bytes=fields.delivery),
        fields.person,
        fields.level,
        fields.capacity,
        fields.documents_sha256,
        fields.proof_sha256,
        fields.match_kind,
    )


def _issue(mac: Mac, domain: bytes, fields: tuple[object, ...]) -> bytes:
    body = VERSION + msgspec.msgpack.encode(fields)
    return body + mac(_domain(domain) + body)


def _open(mac: Mac, domain: bytes, data: bytes, kind: type[Fields]) -> Fields:
    """The MAC is checked before anything inside is read."""
    body, tag = data[:-MAC_BYTES], data[-MAC_BYTES:]
    name = domain.decode()
    if len(data) > BYTES_MAX or body[:1] != VERSION:
        raise TicketInvalid(f"{name} has another form")
    if not hmac.compare_digest(tag, mac(_domain(domain) + body)):
        raise TicketInvalid(f"{name} is not ours")
    try:
        return msgspec.msgpack.decode(body[1:], type=kind)
    except msgspec.MsgspecError as error:
        raise TicketInvalid(f"{name} has another form") from error


def _nonce_input(head: bytes, login: Login) -> bytes:
    # all parts have fixed lengths but the provider's name, which comes last
    return _domain(b"nonce") + head + login.delivery.bytes + login.session + login.provider.encode()


def _domain(name: bytes) -> bytes:
    return b"qerds-" + name + b"-v1\x00"


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def _moment(milliseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds // 1000, UTC) + timedelta(milliseconds=milliseconds % 1000)
    except (OverflowError, OSError, ValueError) as error:
        raise TicketInvalid("a time out of range") from error
