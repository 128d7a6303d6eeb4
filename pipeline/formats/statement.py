"""What the pinned authority states of everything that the bridge publishes: one signed list of keys and documents.

Owns     the form (a compact JWS), its limits, reading it under the pinned authority, comparing a row with it
Rules    a published row is only as good as the database: who reads one compares it whole with a statement that holds
         now. What is not in the statement, or is there as something else, was never published
         the signer's certificate has an extended key usage of its own, critical: no other key of the authority can
         state anything, and this one seals, stamps and receives nothing. Its path to the authority is in the statement
         a statement ends after STATEMENT_DAYS: what was withdrawn is not shown for longer
Elsewhere: signing it (hsm_bridge/operations/statements.py), rows and their order (pipeline/adapters/postgres/keys.py)
Source   RFC 7515 (JWS, ES256, x5c), RFC 5280 section 4.2.1.12
"""

import hashlib
import json
import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import ObjectIdentifier

from pipeline.formats import bounded_json
from pipeline.formats.certificate_path import PathRefused, check_path, extended_usage

STATEMENT_DAYS = 14  # stated anew every day: two weeks without the bridge do no harm
CLOCK_LEEWAY_SECONDS = 60  # between the bridge's host and the reader's
STATEMENT_BYTES_MAX = 512 * 1024  # a key is some 400 bytes, and there is one a month for ever
ROWS_MAX = 1000
TYPE = "qerds-statement-1"  # nothing else that is signed has this name
PURPOSE = ObjectIdentifier("2.25.20096447349016699291737313708203482161")  # X.667: from a UUID, needs no register
_COMPACT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}")


class StatementRefused(ValueError):
    """Not a statement of the pinned authority that holds now, or it does not state this."""


class StatedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published key as a whole: what is not here is not in its row either."""

    key_id: str
    use: str
    spki: bytes
    certificate: bytes | None
    not_before: datetime
    until: datetime


class StatedDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published document by its digest."""

    name: str
    version: int
    sha256: bytes


class PublicationStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is published at a moment, and until when it may be relied on."""

    at: datetime
    until: datetime
    keys: tuple[StatedKey, ...]
    documents: tuple[StatedDocument, ...]

    def check_key(self, key: StatedKey) -> None:
        """Raises StatementRefused unless exactly this key is stated."""
        if key not in self.keys:
            raise StatementRefused(f"key {key.key_id[:60]!r} is not stated as it is published")

    def check_document(self, name: str, version: int, body: bytes) -> None:
        """Raises StatementRefused unless exactly this document is stated."""
        if StatedDocument(name, version, hashlib.sha256(body).digest()) not in self.documents:
            raise StatementRefused(f"version {version} of document {name[:60]!r} is not stated as it is published")


def stated(
    keys: Sequence[StatedKey], documents: Sequence[tuple[str, int, bytes]], moment: datetime
) -> PublicationStatement:
    """Of these from now on. documents: name, version, body."""
    digests = tuple(StatedDocument(name, version, hashlib.sha256(body).digest()) for name, version, body in documents)
    return PublicationStatement(moment, moment + timedelta(days=STATEMENT_DAYS), tuple(keys), digests)


def signing_input(statement: PublicationStatement, path: Sequence[bytes]) -> bytes:
    """What ES256 signs. path: the signer's certificate, then its issuers, without the authority (DER)."""
    header = {"alg": "ES256", "typ": TYPE, "x5c": [b64encode(der).decode() for der in path]}
    return b".".join(_encode(part) for part in (json.dumps(header).encode(), msgspec.json.encode(statement)))


def signed(signing_input_bytes: bytes, signature: bytes) -> bytes:
    """The statement as it is published. signature: r || s."""
    return signing_input_bytes + b"." + _encode(signature)


def read_statement(published: bytes, authority: bytes, moment: datetime) -> PublicationStatement:
    """The one way to a PublicationStatement. Raises StatementRefused.

    Steps: 1 its form, 2 its signer is the authority's (DER) for this purpose, 3 the signature, 4 it is of now.
    """
    if len(published) > STATEMENT_BYTES_MAX or _COMPACT.fullmatch(published) is None:  # 1
        raise StatementRefused("not a compact JWS")
    head, payload, signature = published.split(b".")
    path = _path(_decode(head))
    try:
        signer = check_path(path, authority, moment)  # 2
    except PathRefused as error:
        raise StatementRefused(str(error)) from error
    if extended_usage(signer) != {PURPOSE}:
        raise StatementRefused("the signer's certificate is not for statements")
    _check_signature(signer.public_key(), head + b"." + payload, _decode(signature))  # 3
    statement = _statement(_decode(payload))
    leeway = timedelta(seconds=CLOCK_LEEWAY_SECONDS)
    if not statement.at - leeway <= moment <= min(statement.until, statement.at + timedelta(days=STATEMENT_DAYS)):  # 4
        raise StatementRefused("the statement is not of now")
    return statement


def _path(head: bytes) -> tuple[bytes, ...]:
    try:
        header = bounded_json.read_json(head)
    except ValueError as error:
        raise StatementRefused("its header is not JSON") from error
    if not isinstance(header, dict) or header.keys() != {"alg", "typ", "x5c"}:
        raise StatementRefused("its header says other things than a statement's")
    chain = header["x5c"]
    if (header["alg"], header["typ"]) != ("ES256", TYPE) or not isinstance(chain, list):
        raise StatementRefused("not a statement, or signed in another way")
    try:
        return tuple(b64decode(der, validate=True) for der in chain)  # RFC 7515 section 4.1.6: not base64url
    except (ValueError, TypeError) as error:
        raise StatementRefused("its certificates are not base64") from error


def _check_signature(key: object, data: bytes, signature: bytes) -> None:
    """RFC 7518 section 3.4."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise StatementRefused("the signer's key is not on P-256")
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        key.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise StatementRefused("the signature does not verify") from error


def _statement(payload: bytes) -> PublicationStatement:
    try:
        statement = msgspec.json.decode(payload, type=PublicationStatement)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StatementRefused("its content is not a statement's") from error
    if max(len(statement.keys), len(statement.documents)) > ROWS_MAX:
        raise StatementRefused(f"a statement has at most {ROWS_MAX} keys and documents")
    if any(moment.tzinfo != UTC for moment in (statement.at, statement.until)):
        raise StatementRefused("a time without a time zone")
    return statement


def _encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    """base64url without padding, in its one spelling (RFC 7515 section 2)."""
    try:
        data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError as error:
        raise StatementRefused("not base64url") from error
    if _encode(data) != text:
        raise StatementRefused("base64url is not in its one spelling")
    return data
