"""Does the token still do what it must, and only that?

Owns     the test at start, after every restart of the module, and the short one between
Rules    each kind of key works once and its result is checked in software; nothing that is made here leaves
Elsewhere: reading back the attributes of keys, which loading the keyring does; what a failure leads to (service)
"""

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm_bridge.token.device import TagMismatch, Token, TokenAway
from hsm_bridge.token.keyring import Keyring
from hsm_bridge.token.signatures import check_edwards, check_signature

PROBE = b"qerds self-test: this is not an evidence, a token or a receipt"


def run(token: Token, keyring: Keyring) -> None:
    """Every key once; raises TokenAway (lost) when one gives a wrong answer."""
    for key in keyring.keys:
        if key.use in ("seal", "tsu", "statement") and key.public is not None:
            check_signature(key.public, token.sign(key.key_id, hashlib.sha256(PROBE).digest()), PROBE, key.key_id)
        elif key.use in ("intake", "identity") and key.public is not None:
            _check_agreement(token, key.key_id, key.public)
        elif key.edwards is not None:
            check_edwards(key.edwards, token.sign_edwards(key.key_id, PROBE), PROBE, key.key_id)
        elif key.use == "kek":
            _check_wrapping(token, key.key_id)
    probe(token, keyring)


def probe(token: Token, keyring: Keyring) -> None:
    """One cheap call: is the token there?"""
    label = keyring.last("mac").key_id
    if not hmac.compare_digest(token.mac(label, PROBE), token.mac(label, PROBE)):
        raise TokenAway("the MAC key gives two answers", lost=True)


def _check_agreement(token: Token, label: str, public: ec.EllipticCurvePublicKey) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    point = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if token.agree(label, point) != other.exchange(ec.ECDH(), public):
        raise TokenAway(f"key {label} agrees on a wrong secret", lost=True)


def _check_wrapping(token: Token, label: str) -> None:
    nonce = token.random(12)
    sealed = token.encrypt(label, nonce, PROBE, b"self-test")
    if token.decrypt(label, nonce, sealed, b"self-test") != PROBE:
        raise TokenAway(f"key {label} opens to something else", lost=True)
    try:
        token.decrypt(label, nonce, sealed, b"another context")
    except TagMismatch:
        return
    raise TokenAway(f"key {label} ignores the context", lost=True)
