"""A token opened: decrypted for the bridge, its signature verified under a key that the operator pinned.

Owns     decryption (the key agreement in the token), signature checks, the pinned keys
Rules    algorithms are fixed here, never taken from a message: ECDH-ES with A256GCM, ES256; keys named inside a message
         (jwk, jku, x5c) are ignored; anything unexpected is refused with a stable code
Elsewhere: what the claims must say (tokens.py)
Source   RFC 7515, RFC 7516, RFC 7517, RFC 7518 section 4.6
"""

import binascii
import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

TOKEN_CHARACTERS_MAX = 32 * 1024
JWKS_BYTES_MAX = 64 * 1024

Agree = Callable[[str | None, bytes], bytes]  # (key id or None, uncompressed point) -> shared x coordinate


class IdentityRefused(ValueError):
    """Not an identification that counts; `code` is stable, the text is for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Signed:
    """A verified JWS: its compact form, its claims and the JWK that verified it."""

    compact: str
    claims: Mapping[str, object]
    jwk: Mapping[str, object]


def open_token(compact: str, keys: tuple[Mapping[str, object], ...], agree: Agree) -> Signed:
    """The signed token inside the encrypted one. One that comes in the clear was not made for us: refused.

    Raises IdentityRefused.
    """
    if len(compact) > TOKEN_CHARACTERS_MAX:
        raise IdentityRefused("token_too_large", f"a token has at most {TOKEN_CHARACTERS_MAX} characters")
    if compact.count(".") == 2:
        raise IdentityRefused("token_not_encrypted", "tokens are encrypted to the bridge's key")
    if compact.count(".") != 4:
        raise IdentityRefused("token_malformed", "not an encrypted token")
    signed = decrypt(compact, agree)
    if signed.count(".") != 2:
        raise IdentityRefused("token_malformed", "not a signed token")
    return _verified(signed, keys)


def _verified(compact: str, keys: tuple[Mapping[str, object], ...]) -> Signed:
    head, payload, signature = compact.split(".")
    header = _json(_decode(head))
    if header.get("alg") != "ES256" or "crit" in header:
        raise IdentityRefused("algorithm_refused", "tokens are signed with ES256")
    jwk = _pinned(keys, header.get("kid"))
    raw = _decode(signature)
    if len(raw) != 64:
        raise IdentityRefused("signature_invalid", "an ES256 signature has 64 bytes")
    der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        _public_key(jwk).verify(der, f"{head}.{payload}".encode(), ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise IdentityRefused("signature_invalid", "the signature does not verify") from error
    return Signed(compact, _json(_decode(payload)), jwk)


def _pinned(keys: tuple[Mapping[str, object], ...], key_id: object) -> Mapping[str, object]:
    """The pinned key of that name; a token without a name needs a provider with one key."""
    named = [key for key in keys if key_id is None or key.get("kid") == key_id]
    if len(named) != 1:
        raise IdentityRefused("key_unknown", "the token is not signed by a pinned key")
    return named[0]


def pinned_keys(jwks: bytes) -> tuple[Mapping[str, object], ...]:
    """The P-256 signature keys of a JWK set (RFC 7517); raises IdentityRefused when there is none."""
    keys = _json(jwks[:JWKS_BYTES_MAX]).get("keys")
    if not isinstance(keys, list):
        raise IdentityRefused("keys_malformed", "the pinned file is not a JWK set")
    usable = tuple(k for k in keys if isinstance(k, dict) and k.get("crv") == "P-256" and k.get("use", "sig") == "sig")
    if not usable:
        raise IdentityRefused("keys_malformed", "the pinned file has no P-256 signature key")
    return usable


def decrypt(compact: str, agree: Agree) -> str:
    """Opens a compact JWE made with ECDH-ES and A256GCM; raises IdentityRefused."""
    head, wrapped_key, nonce, ciphertext, tag = compact.split(".")
    header = _json(_decode(head))
    if header.get("alg") != "ECDH-ES" or header.get("enc") != "A256GCM" or "zip" in header or "crit" in header:
        raise IdentityRefused("algorithm_refused", "tokens are encrypted with ECDH-ES and A256GCM")
    if wrapped_key:
        raise IdentityRefused("token_malformed", "direct key agreement has no encrypted key")  # RFC 7518 section 4.6
    point, key_id = _ephemeral_point(header.get("epk")), header.get("kid")
    party_u, party_v = (_decode(optional_text(header, name)) for name in ("apu", "apv"))
    key = concat_kdf(agree(key_id if isinstance(key_id, str) else None, point), party_u, party_v)
    iv, sealed = _decode(nonce), _decode(ciphertext) + _decode(tag)
    if len(iv) != 12 or len(_decode(tag)) != 16:  # RFC 7518 section 5.3
        raise IdentityRefused("token_malformed", "A256GCM has a nonce of 12 and a tag of 16 bytes")
    try:
        return AESGCM(key).decrypt(iv, sealed, head.encode()).decode("ascii")
    except (InvalidTag, UnicodeDecodeError) as error:
        raise IdentityRefused("decryption_failed", "the token does not decrypt") from error


def concat_kdf(agreed: bytes, party_u: bytes, party_v: bytes) -> bytes:
    """NIST SP 800-56A section 5.8.1 with SHA-256 for one 256-bit key, as RFC 7518 section 4.6.2 wants it."""
    words = [b"A256GCM", party_u, party_v]
    info = b"".join(len(word).to_bytes(4, "big") + word for word in words) + (256).to_bytes(4, "big")
    return hashlib.sha256((1).to_bytes(4, "big") + agreed + info).digest()


def _ephemeral_point(epk: object) -> bytes:
    if not isinstance(epk, dict) or epk.get("kty") != "EC" or epk.get("crv") != "P-256":
        raise IdentityRefused("token_malformed", "the ephemeral key is not on P-256")
    x, y = (_decode(optional_text(epk, name)) for name in ("x", "y"))
    if len(x) != 32 or len(y) != 32:
        raise IdentityRefused("token_malformed", "a P-256 coordinate has 32 bytes")
    return b"\x04" + x + y


def _public_key(jwk: Mapping[str, object]) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _ephemeral_point(dict(jwk)))
    except ValueError as error:
        raise IdentityRefused("keys_malformed", "a pinned key is not a point of P-256") from error


def optional_text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):  # JSON can spell half characters
        raise IdentityRefused("claims_malformed", f"{name} is not a text")
    return value


def _json(data: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise IdentityRefused("token_malformed", "not JSON") from error
    if not isinstance(value, dict):
        raise IdentityRefused("token_malformed", "not a JSON object")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Two values under one name could be read differently by two readers."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _decode(text: str) -> bytes:
    """base64url without padding, in its one spelling (RFC 7515 section 2)."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise IdentityRefused("token_malformed", "not base64url") from error
    if urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise IdentityRefused("token_malformed", "base64url is not in its one spelling")
    return data
