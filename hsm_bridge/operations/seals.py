"""Seals of the provider: of an evidence; and the key and the signature of all of them.

Owns     the conditions of seal_evidence; the composition of what is signed
Rules    a recipient's act is sealed only against the bridge's own receipt of it: this evidence, person, documents, time
Elsewhere: packages and lists (packages), reading an evidence's head and composing SignedInfo (pipeline/formats), the
         form of receipts (tickets)
Source   ETSI EN 319 132-1
"""

import hashlib
from datetime import timedelta

from hsm_bridge import wire
from hsm_bridge.operations import tickets
from hsm_bridge.operations.vault import Done, Moment, Refused, Vault
from hsm_bridge.token.device import KeyMissing
from hsm_bridge.token.keyring import BridgeKey
from hsm_bridge.token.signatures import check_signature
from pipeline.formats import evidence_head, xades
from pipeline.formats.context import documents_sha256
from pipeline.formats.events import EVENTS

FUTURE_SECONDS_MAX = 1  # as far as the database's clock may be ahead of ours (hsm_bridge/clock.py); else it waits
ACT_SECONDS_MAX = 120  # between a decision's receipt and the evidence's time
HANDOVER_SECONDS_MAX = 7200  # between the release of the keys and the end of the download
# How much later than its receipt an act may be. D.1, making available, follows the acceptance whenever it can.
LATER_SECONDS_MAX = {"C.3": ACT_SECONDS_MAX, "C.4": ACT_SECONDS_MAX, "E.1": HANDOVER_SECONDS_MAX}


def seal_evidence(vault: Vault, item: wire.SealEvidence, moment: Moment) -> Done[wire.Sealed]:
    """Seals one evidence. Steps: 1 what it is, 2 certificate, 3 time, 4 for an act its receipt, 5 seal."""
    try:
        head = evidence_head.parse_evidence_head(item.evidence)  # 1
    except evidence_head.HeadError as error:
        raise Refused("evidence_invalid", str(error)) from error
    if head.mode != vault.config.mode:
        raise Refused("mode_mismatch", f"this installation runs in mode {vault.config.mode}")
    key = sealing_key(vault, head.certificate_sha256)  # 2
    if not key.may_start(head.event_time):
        raise Refused("certificate_not_valid", "the event is outside the certificate's validity")
    if head.event_time > moment.legal_time + timedelta(seconds=FUTURE_SECONDS_MAX):  # 3
        raise Refused("event_in_future", "the event has not happened yet")
    _check_receipt(vault, head, item.receipt)  # 4
    certificate = key.certificate or b""
    properties = xades.signed_properties(head.dom_id, head.event_time, certificate)  # 5
    info = xades.signed_info(head.dom_id, hashlib.sha256(item.evidence).digest(), properties)
    return Done(seal_over(vault, key, info), key.key_id, str(head.evidence_id))


def sealing_key(vault: Vault, certificate_sha256: bytes) -> BridgeKey:
    """The key whose certificate an evidence names, whatever its age. Raises Refused."""
    for key in vault.keyring.of("seal"):
        if key.certificate_sha256 == certificate_sha256:
            return key
    raise Refused("certificate_unknown", "the evidence names a certificate that is not ours")


def _check_receipt(vault: Vault, head: evidence_head.EvidenceHead, receipt: bytes | None) -> None:
    """A recipient's act is sealed only against the bridge's own record of it: for this evidence, of the same person and
    documents, at its time. The receipt's time is compared with the event's, never with now: a seal may come late."""
    act = EVENTS[head.event].act
    if act is None:
        if receipt is not None:
            raise Refused("receipt_unexpected", f"{head.event} is not an act of the recipient")
        return
    if receipt is None:
        raise Refused("receipt_missing", f"{head.event} is sealed only with a receipt")
    try:
        record = tickets.open_receipt(vault.mac, receipt, head.delivery, act)
    except tickets.TicketInvalid as error:
        raise Refused("receipt_invalid", str(error)) from error
    if head.evidence_id not in record.evidences:
        raise Refused("receipt_invalid", "the receipt is for another evidence")
    if record.right.person != head.person_sha256:
        raise Refused("receipt_invalid", "the receipt is of another person")
    if record.right.documents_sha256 != documents_sha256(head.documents):
        raise Refused("receipt_invalid", "the receipt is for other documents")
    later = (head.event_time - record.at).total_seconds()
    if not -ACT_SECONDS_MAX <= later <= LATER_SECONDS_MAX.get(head.event, later):
        raise Refused("receipt_invalid", "the receipt is of another time")


def seal_over(vault: Vault, key: BridgeKey, signed_info: bytes) -> wire.Sealed:
    """The signature over what was composed here, verified."""
    raw = vault.token.sign(key.key_id, hashlib.sha256(signed_info).digest())
    if key.public is None:
        raise KeyMissing(f"{key.key_id} has no public half")
    check_signature(key.public, raw, signed_info, key.key_id)
    return wire.Sealed(key_id=key.key_id, signature=raw)
