"""Signatures as the token makes them: their other form, and the check that each gets before anybody relies on it.

Rules    a wrong signature is a sick token, never somebody's answer
Elsewhere: what is signed (operations), the test at start (selftest)
Source   FIPS 186-5 (ECDSA), RFC 8032 (ed25519)
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from hsm_bridge.token.errors import TokenAway


def der_signature(raw: bytes) -> bytes:
    """r and s as ECDSA-Sig-Value."""
    return utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def check_signature(public: ec.EllipticCurvePublicKey, raw: bytes, data: bytes, key_id: str) -> None:
    """A wrong signature is a sick token: raises TokenAway, so that the module is started again and tested."""
    try:
        public.verify(der_signature(raw), data, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise TokenAway(f"a signature of {key_id} does not verify", lost=True) from error


def check_edwards(public: Ed25519PublicKey, signature: bytes, data: bytes, key_id: str) -> None:
    """A wrong signature is a sick token: raises TokenAway, so that the module is started again and tested."""
    try:
        public.verify(signature, data)
    except InvalidSignature as error:
        raise TokenAway(f"a signature of {key_id} does not verify", lost=True) from error
