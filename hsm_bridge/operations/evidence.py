"""What each operation does to one item, and on which conditions.

Owns     the operations of the bridge but those on wraps (contents.py) and of a recipient (recipients.py): intake,
         seals, time-stamps, descriptions; the form of a wrap; the composition of what is signed
Rules    runs in a worker thread; every signature is verified before it is answered; a refusal is a stable code for that
         item alone; nothing signs bytes that a caller composed
Elsewhere: who may call (policy), moments and queues (server), records (audit)
Source   ETSI EN 319 132-1 (seals), RFC 3161 (time-stamps), RFC 9180 (intake)
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm_bridge import wire
from hsm_bridge.config import BridgeConfig
from hsm_bridge.operations import hpke, tickets
from hsm_bridge.operations.authority import Authority
from hsm_bridge.token.device import KeyMissing, PointInvalid, TagMismatch, Token, TokenAway
from hsm_bridge.token.keyring import BridgeKey, Keyring
from hsm_bridge.token.signatures import check_signature
from pipeline.formats import context, evidence_head, tst, xades

DEK_BYTES = 32
DEKS_MAX = 200  # per wrap: one per upload part
INFO_BYTES_MAX = 4096
WRAP_VERSION = b"\x01"
WRAP_NONCE_BYTES = 12
FUTURE_SECONDS_MAX = 120  # between the caller's database clock and ours; beyond, a time is a lie
BEHIND_SECONDS_MAX = 60  # how long a time-stamp may wait for this clock to catch up
ACT_SECONDS_MAX = 120  # between a decision's receipt and the evidence's time
HANDOVER_SECONDS_MAX = 7200  # between the release of the keys and the end of the download

ACTS: dict[str, tickets.Act] = {"C.3": "accept", "D.1": "accept", "C.4": "refuse", "E.1": "handover"}

Answered = TypeVar("Answered", bound=msgspec.Struct)


class Refused(Exception):
    """This item gets no; `code` is stable, the text is for people."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Moment:
    """Both clocks as read for a batch; legal is None for operations that need no legal time."""

    now: datetime
    legal: datetime | None

    @property
    def legal_time(self) -> datetime:
        if self.legal is None:
            raise Refused("clock_missing", "this operation was started without the legal time")
        return self.legal


@dataclass(frozen=True, slots=True)
class Done:
    """One item's answer, with what the audit record says about it."""

    answer: msgspec.Struct
    key_id: str
    about: str


@dataclass(slots=True)
class Operations:
    """The operations over one token and its keys; crl is replaced when a new list is made."""

    token: Token
    keyring: Keyring
    config: BridgeConfig
    crl: bytes

    def open_intake(self, item: wire.OpenIntake, moment: Moment) -> Done:
        """The key of one upload segment, for `encrypt` to read the upload back."""
        if len(item.info) > INFO_BYTES_MAX:
            raise Refused("item_invalid", f"info has at most {INFO_BYTES_MAX} bytes")
        key = self.keyring.by_id(item.key_id, "intake")
        if key.public is None:
            raise KeyMissing(f"{key.key_id} has no public half")
        point = key.public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        try:
            opened = hpke.open_base(item.sealed, item.info, point, lambda peer: self.token.agree(key.key_id, peer))
        except (hpke.HpkeInvalid, PointInvalid) as error:
            raise Refused("intake_invalid", str(error)) from error
        if len(opened) != DEK_BYTES:
            raise Refused("intake_invalid", f"a content key has {DEK_BYTES} bytes")
        return Done(wire.Opened(key=opened), key.key_id, _digest(item.info))

    def wrap(self, keys: bytes, associated: bytes, now: datetime) -> tuple[str, bytes]:
        """Key id and wrap of content keys under a context; not an operation of its own (see contents.py)."""
        key = self.keyring.newest("kek", now)
        nonce = self.token.random(WRAP_NONCE_BYTES)
        sealed = self.token.encrypt(key.key_id, nonce, keys, associated)
        label = key.key_id.encode()
        return key.key_id, WRAP_VERSION + bytes([len(label)]) + label + nonce + sealed

    def unwrap(self, key_id: str, wrapped: bytes, associated: bytes) -> bytes:
        """Opens a wrap under its context; not an operation of its own (see contents.py and recipients.py)."""
        label = key_id.encode()
        header = WRAP_VERSION + bytes([len(label) & 0xFF]) + label
        if not wrapped.startswith(header):
            raise Refused("wrap_invalid", "the wrap names another key or has another form")
        self.keyring.by_id(key_id, "kek")
        nonce, sealed = wrapped[len(header) :][:WRAP_NONCE_BYTES], wrapped[len(header) + WRAP_NONCE_BYTES :]
        if len(sealed) < DEK_BYTES or len(sealed) > DEK_BYTES * (DEKS_MAX + 1):
            raise Refused("wrap_invalid", "the wrap has another length")
        try:
            return self.token.decrypt(key_id, nonce, sealed, associated)
        except TagMismatch as error:
            raise Refused("wrap_invalid", "the wrap does not open with this context") from error

    def seal_evidence(self, item: wire.SealEvidence, moment: Moment) -> Done:
        """Seals one evidence. Steps: 1 what it is, 2 certificate, 3 time, 4 for an act its receipt, 5 seal."""
        try:
            head = evidence_head.parse_evidence_head(item.evidence)  # 1
        except evidence_head.HeadError as error:
            raise Refused("evidence_invalid", str(error)) from error
        if head.mode != self.config.mode:
            raise Refused("mode_mismatch", f"this installation runs in mode {self.config.mode}")
        key = self._sealing_key(head.certificate_sha256)  # 2
        if not key.may_start(head.event_time):
            raise Refused("certificate_not_valid", "the event is outside the certificate's validity")
        if head.event_time > moment.legal_time + timedelta(seconds=FUTURE_SECONDS_MAX):  # 3
            raise Refused("event_in_future", "the event has not happened yet")
        self._check_receipt(head, item.receipt)  # 4
        certificate = key.certificate or b""
        properties = xades.signed_properties(head.dom_id, head.event_time, certificate)  # 5
        info = xades.signed_info(head.dom_id, hashlib.sha256(item.evidence).digest(), properties)
        return Done(self._sealed(key, info), key.key_id, str(head.evidence_id))

    def seal_package(self, item: wire.SealPackage, moment: Moment) -> Done:
        """Seals a package over its entries' digests, with the seal key of the signing time."""
        if item.signing_time.utcoffset() is None:
            raise Refused("item_invalid", "signing_time has no time zone")
        if item.signing_time > moment.legal_time + timedelta(seconds=FUTURE_SECONDS_MAX):
            raise Refused("event_in_future", "the signing time has not come yet")
        key = self.keyring.newest("seal", item.signing_time)
        certificate = key.certificate or b""
        try:
            properties = xades.package_signed_properties(item.entries, item.signing_time, certificate)
            info = xades.package_signed_info(item.entries, properties)
        except ValueError as error:
            raise Refused("item_invalid", str(error)) from error
        return Done(self._sealed(key, info), key.key_id, _digest(info))

    def time_stamp(self, item: wire.TimeStamp, moment: Moment) -> Done:
        """A token over a SHA-256 imprint, never older than the event it proves."""
        if self.config.mode == "qualified":  # ETSI EN 319 421 clause 7.7.2: no token without a watched clock
            raise Refused("time_not_available", "nothing attests that this clock is synchronised")
        legal = moment.legal_time
        if item.event_time is not None:
            if item.event_time.utcoffset() is None:
                raise Refused("item_invalid", "event_time has no time zone")
            if item.event_time > legal + timedelta(seconds=BEHIND_SECONDS_MAX):
                raise Refused("event_in_future", "the event has not happened yet")
            if item.event_time > legal:
                raise Refused("clock_behind", "this clock has not reached the event's time yet")
        key = self.keyring.newest("tsu", legal)
        authority = Authority(
            key.certificate or b"",
            self.config.provider.tsa_policy_oid,
            lambda digest: self.token.sign(key.key_id, digest),
            self.token.random,
        )
        request = tst.StampRequest("sha256", item.imprint, None, None, certificate_requested=True)
        try:
            if len(item.imprint) != tst.DIGESTS["sha256"][1]:
                raise Refused("item_invalid", "the imprint is not a SHA-256 digest")
            token = authority.stamp(request, legal)
        except tst.RequestInvalid as error:
            raise Refused("request_invalid", str(error)) from error
        except tst.TokenInvalid as error:
            raise TokenAway(f"a token of {key.key_id} does not verify", lost=True) from error
        return Done(wire.Stamped(token=token), key.key_id, item.imprint.hex())

    def describe(self, item: wire.Describe, moment: Moment) -> Done:
        """All public keys and documents."""
        keys = [
            wire.PublicKey(
                key_id=key.key_id,
                use=key.public_use,
                spki=key.spki,
                certificate=key.certificate,
                not_before=key.not_before,
                not_after=key.not_after,
            )
            for key in self.keyring.keys
            if key.public_use is not None and key.spki is not None
        ]
        authority = self.keyring.authority.public_bytes(Encoding.DER)
        answer = wire.Description(keys=keys, ca=authority, crl=self.crl, identity_jwk=self.keyring.identity_jwk())
        return Done(answer, "", "")

    def mac(self, data: bytes) -> bytes:
        """The MAC of nonces, tickets and receipts."""
        return self.token.mac(self.keyring.last("mac").key_id, data)

    def _sealing_key(self, certificate_sha256: bytes) -> BridgeKey:
        for key in self.keyring.of("seal"):
            if key.certificate_sha256 == certificate_sha256:
                return key
        raise Refused("certificate_unknown", "the evidence names a certificate that is not ours")

    def _check_receipt(self, head: evidence_head.EvidenceHead, receipt: bytes | None) -> None:
        """A recipient's act is sealed only against the bridge's own record: same delivery, act, person and time."""
        act = ACTS.get(head.event)
        if act is None:
            if receipt is not None:
                raise Refused("receipt_unexpected", f"{head.event} is not an act of the recipient")
            return
        if receipt is None:
            raise Refused("receipt_missing", f"{head.event} is sealed only with a receipt")
        try:
            said = tickets.open_receipt(self.mac, receipt, head.delivery, act)
        except tickets.TicketInvalid as error:
            raise Refused("receipt_invalid", str(error)) from error
        if said.person != head.person_sha256:
            raise Refused("receipt_invalid", "the receipt is of another person")
        later = HANDOVER_SECONDS_MAX if act == "handover" else ACT_SECONDS_MAX
        if not -ACT_SECONDS_MAX <= (head.event_time - said.at).total_seconds() <= later:
            raise Refused("receipt_invalid", "the receipt is of another time")

    def _sealed(self, key: BridgeKey, signed_info: bytes) -> wire.Sealed:
        raw = self.token.sign(key.key_id, hashlib.sha256(signed_info).digest())
        if key.public is None:
            raise KeyMissing(f"{key.key_id} has no public half")
        check_signature(key.public, raw, signed_info, key.key_id)
        return wire.Sealed(key_id=key.key_id, signature=raw)


def parse_context(data: bytes) -> context.WrapContext:
    try:
        return context.parse_wrap_context(data)
    except context.ContextInvalid as error:
        raise Refused("context_invalid", str(error)) from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
