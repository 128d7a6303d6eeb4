"""Seals over many things: a package of evidences, which the bridge reads; a list of the service, which is no evidence.

Owns     the conditions of seal_package and seal_list, and what each is over
Rules    the references of a package are the bridge's own: it takes evidences with seal and token, checks each of them,
         and makes every entry itself. So a caller who was taken over has no foreign byte sealed as a package, and no
         letter that never was
         a list has too many lines to be checked here: its entries come as digests, its seal says that it is a list of
         the service (a commitment type under the signature), and readers call it that. A log will make such lists
         checkable
Elsewhere: the form of entries (pipeline/formats/package_form.py), of the seal (pipeline/formats/xades.py), the order of
         events and what they say of each other, which the verifier judges
Source   ETSI EN 319 162-1, ETSI EN 319 132-1
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from hsm_bridge import wire
from hsm_bridge.operations.authority import unit_of
from hsm_bridge.operations.seals import FUTURE_SECONDS_MAX, seal_over, sealing_key
from hsm_bridge.operations.vault import Done, Moment, Refused, Vault
from hsm_bridge.token.signatures import der_signature
from pipeline.formats import evidence_head, package_form, tst, xades
from pipeline.formats.evidence_head import EvidenceHead

PAST_SECONDS_MAX = 3600  # whoever packs asks for the time, packs, and asks us
AHEAD_SECONDS_MAX = 1  # as far as the clock of a token may be ahead of the database's, which says the signing time
NUMBER = re.compile(r"[0-9]{14}")
LINES_NAME = re.compile(r"lines/\d{3}\.csv", re.ASCII)
LIST_DESCRIPTION = "batch.json"
MIMETYPE_ENTRY = ("mimetype", hashlib.sha256(package_form.MIMETYPE).digest())


def seal_package(vault: Vault, item: wire.SealPackage, moment: Moment) -> Done[wire.Sealed]:
    """Seals one package. Steps: 1 its time, 2 each evidence with its seal and token, 3 that they are one letter's, in
    their order, 4 the revocation list, 5 the entries, made here, 6 seal."""
    _check_time(item.signing_time, moment)  # 1
    documents, heads = [], []
    for proof in item.evidences:
        head, document, stamped_at = _proven(vault, proof)  # 2
        if stamped_at > item.signing_time + timedelta(seconds=AHEAD_SECONDS_MAX):
            raise Refused("clock_behind", "a package is not older than its proofs")
        heads.append(head)
        documents.append(document)
    delivery = _one_letter(item, heads, vault.config.mode)  # 3
    revoked = () if item.revocation_list is None else (_own_list(vault, item.revocation_list),)  # 4
    snapshot = package_form.SnapshotContents(
        delivery=delivery,
        number=item.number,
        mode=vault.config.mode,
        snapshot=item.snapshot,
        previous_sha256=item.previous_sha256,
        documents=tuple(documents),
        authorities=(vault.keyring.authority.public_bytes(Encoding.DER),),
        revocation_lists=revoked,
    )
    try:
        made = package_form.package_entries(snapshot)  # 5
    except package_form.PackageRefused as error:
        raise Refused("package_invalid", str(error)) from error
    return _sealed(vault, [(name, hashlib.sha256(content).digest()) for name, content in made], item.signing_time, None)


def seal_list(vault: Vault, item: wire.SealList, moment: Moment) -> Done[wire.Sealed]:
    """Seals a list of the service, as one. Its entries are those of a list and no others: never an evidence, and never
    what describes a package."""
    _check_time(item.signing_time, moment)
    names = [name for name, _ in item.entries]
    lines = [name for name in names if LINES_NAME.fullmatch(name)]
    others = [name for name in names[1 + len(lines) :] if not name.startswith("trust/")]
    if not lines or names[1 : 1 + len(lines)] != lines or others != [LIST_DESCRIPTION, package_form.MANIFEST]:
        raise Refused("item_invalid", "the entries are not those of a list")
    if item.entries[0] != MIMETYPE_ENTRY or item.entries[-1] != _manifest_entry(names[:-1]):
        raise Refused("item_invalid", "the type or the manifest is not that of these entries")
    return _sealed(vault, item.entries, item.signing_time, xades.LIST_OF_THE_SERVICE)


def _manifest_entry(names: list[str]) -> tuple[str, bytes]:
    return package_form.MANIFEST, hashlib.sha256(package_form.manifest(names)).digest()


def _check_time(signing_time: datetime, moment: Moment) -> None:
    if signing_time > moment.legal_time + timedelta(seconds=FUTURE_SECONDS_MAX):
        raise Refused("event_in_future", "the signing time has not come yet")
    if signing_time < moment.legal_time - timedelta(seconds=PAST_SECONDS_MAX):
        raise Refused("signing_time_past", "the signing time is over; pack again")


def _proven(vault: Vault, proof: wire.PackagedEvidence) -> tuple[EvidenceHead, bytes, datetime]:
    """An evidence that this service sealed and stamped: its head, the document, and since when it is proved."""
    try:
        head = evidence_head.parse_evidence_head(proof.evidence)
    except evidence_head.HeadError as error:
        raise Refused("evidence_invalid", str(error)) from error
    key = sealing_key(vault, head.certificate_sha256)
    if len(proof.signature) != xades.SIGNATURE_RAW_BYTES or key.public is None or key.certificate is None:
        raise Refused("seal_invalid", "not a seal of ours")
    info, document = xades.sealed_document(
        head.dom_id, head.event_time, proof.evidence, key.certificate, proof.signature, proof.token
    )
    try:
        key.public.verify(der_signature(proof.signature), info, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise Refused("seal_invalid", "the seal is not over this evidence") from error
    return head, document, _stamped_at(vault, proof, head.event_time)


def _stamped_at(vault: Vault, proof: wire.PackagedEvidence, event_time: datetime) -> datetime:
    try:
        token = tst.parse_token(proof.token)
        tst.check_imprint(token, xades.imprint_sha256(proof.signature))
        units = {key.certificate_sha256: key.certificate for key in vault.keyring.of("tsu") if key.certificate}
        unit = units.get(token.certificate_sha256)
        if unit is None or token.certificate != unit:
            raise tst.TokenInvalid("the token is not of a unit of ours, or does not carry its certificate")
        tst.check_token(token, unit_of(unit).certificate)
    except tst.TokenInvalid as error:
        raise Refused("token_invalid", str(error)) from error
    if tst.is_too_early(token.gen_time, event_time):
        raise Refused("token_invalid", "the token is older than the event")
    return token.gen_time


def _one_letter(item: wire.SealPackage, heads: Sequence[EvidenceHead], mode: str) -> UUID:
    """All of one delivery, its number and the installation's mode; numbered from 1, each naming the one before it."""
    if not heads or NUMBER.fullmatch(item.number) is None:
        raise Refused("package_invalid", "a package has an evidence, and the number of its letter")
    number = f"<erds:MessageIdentifier>{item.number}</erds:MessageIdentifier>".encode()
    before = None
    for place, (head, proof) in enumerate(zip(heads, item.evidences, strict=True), start=1):
        if (head.delivery, head.mode) != (heads[0].delivery, mode) or proof.evidence.count(number) != 1:
            raise Refused("package_invalid", "the evidences are of two letters, or the number is another")
        if (head.sequence, head.predecessor_sha256) != (place, before):
            raise Refused("package_invalid", "an evidence is missing, or in another place")
        before = hashlib.sha256(proof.evidence).digest()
    if item.snapshot > 1 and item.previous_sha256 is None:
        raise Refused("package_invalid", "a later snapshot names the one before it")
    return heads[0].delivery


def _own_list(vault: Vault, der: bytes) -> bytes:
    """A revocation list of our authority, of any day."""
    if der == vault.crl:
        return der
    try:
        crl = x509.load_der_x509_crl(der)
        public = vault.keyring.authority.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey) and crl.is_signature_valid(public):
            return der
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Refused("package_invalid", "not a revocation list") from error
    raise Refused("package_invalid", "the revocation list is not of our authority")


def _sealed(
    vault: Vault, entries: Sequence[tuple[str, bytes]], signing_time: datetime, purpose: str | None
) -> Done[wire.Sealed]:
    key = vault.keyring.newest("seal", signing_time)
    try:
        properties = xades.package_signed_properties(entries, signing_time, key.certificate or b"", purpose)
        info = xades.package_signed_info(entries, properties)
    except ValueError as error:
        raise Refused("item_invalid", str(error)) from error
    return Done(seal_over(vault, key, info), key.key_id, hashlib.sha256(info).hexdigest())
