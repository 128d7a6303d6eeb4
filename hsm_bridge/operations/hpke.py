"""HPKE, the receiving side, with the key agreement done in the token.

Owns     opening one message of the base mode: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM
Rules    the shared secret and the derived keys live in this function only; one message per encapsulation
Elsewhere: sealing (the gateway does it with the public key), the private key
Source   RFC 9180 sections 4.1, 5.1 and 5.2
"""

import hashlib
import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

POINT_BYTES = 65  # an uncompressed P-256 point
KEY_BYTES, NONCE_BYTES, SECRET_BYTES = 32, 12, 32
KEM_ID, KDF_ID, AEAD_ID = 0x0010, 0x0001, 0x0002  # RFC 9180 section 7
KEM_SUITE = b"KEM" + KEM_ID.to_bytes(2, "big")
HPKE_SUITE = b"HPKE" + b"".join(part.to_bytes(2, "big") for part in (KEM_ID, KDF_ID, AEAD_ID))
MODE_BASE = b"\x00"


class HpkeInvalid(ValueError):
    """The message does not open: other key, other info or altered bytes."""


def open_base(sealed: bytes, info: bytes, receiver_point: bytes, agree: Callable[[bytes], bytes]) -> bytes:
    """Opens `encapsulated point || ciphertext`. `agree` is ECDH with the receiver's key. Raises HpkeInvalid."""
    point, ciphertext = sealed[:POINT_BYTES], sealed[POINT_BYTES:]
    if len(point) != POINT_BYTES:
        raise HpkeInvalid("shorter than an encapsulated key")
    shared = _shared_secret(agree(point), point + receiver_point)
    context = MODE_BASE + _extract(HPKE_SUITE, b"", b"psk_id_hash", b"") + _extract(HPKE_SUITE, b"", b"info_hash", info)
    secret = _extract(HPKE_SUITE, shared, b"secret", b"")
    key = _expand(HPKE_SUITE, secret, b"key", context, KEY_BYTES)
    nonce = _expand(HPKE_SUITE, secret, b"base_nonce", context, NONCE_BYTES)
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, b"")
    except InvalidTag as error:
        raise HpkeInvalid("does not open") from error


def _shared_secret(agreed: bytes, kem_context: bytes) -> bytes:
    """ExtractAndExpand of section 4.1."""
    return _expand(KEM_SUITE, _extract(KEM_SUITE, b"", b"eae_prk", agreed), b"shared_secret", kem_context, SECRET_BYTES)


def _extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    """LabeledExtract of section 4."""
    return hmac.digest(salt or bytes(SECRET_BYTES), b"HPKE-v1" + suite + label + secret, hashlib.sha256)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, count_bytes: int) -> bytes:
    """LabeledExpand of section 4."""
    labelled = count_bytes.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(SHA256(), count_bytes, labelled).derive(key)
