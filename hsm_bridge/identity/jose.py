"""A token opened: decrypted for the bridge, its signature verified under a key that the operator pinned.

Owns     decryption (the key agreement in the token), signature checks, the pinned keys
Rules    algorithms are fixed here and by the provider's switches, never taken from a message: ECDH-ES with A256GCM, and
         one of ES256 and RS256; keys named inside a message (jwk, jku, x5c) are ignored; anything unexpected is refused
         with a stable code
Elsewhere: what the claims must say (tokens.py)
Source   RFC 7515, RFC 7516, RFC 7517, RFC 7518 section 4.6
"""

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from pipeline.formats import bounded_json
from pipeline.formats.identity_providers import SignatureAlgorithm

TOKEN_CHARACTERS_MAX = 32 * 1024
JWKS_BYTES_MAX = 64 * 1024
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192  # RFC 7518 section 3.3; more costs seconds
KEYS: Mapping[SignatureAlgorithm, tuple[str, str, str]] = {  # member of the JWK, its value, words for people
    "ES256": ("crv", "P-256", "P-256"),
    "RS256": ("kty", "RSA", "RSA"),
}

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


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """The keys that an operator pinned for a provider, all for its one signature algorithm."""

    algorithm: SignatureAlgorithm
    keys: tuple[Mapping[str, object], ...]


def open_token(compact: str, pinned: PinnedKeys, agree: Agree | None) -> Signed:
    """The signed token inside the encrypted one, or as it comes when the provider does not encrypt (agree: None).

    From a provider that encrypts, one in the clear was not made for us. Raises IdentityRefused.
    """
    if len(compact) > TOKEN_CHARACTERS_MAX:
        raise IdentityRefused("token_too_large", f"a token has at most {TOKEN_CHARACTERS_MAX} characters")
    if agree is not None:
        if compact.count(".") == 2:
            raise IdentityRefused("token_not_encrypted", "tokens are encrypted to the bridge's key")
        if compact.count(".") != 4:
            raise IdentityRefused("token_malformed", "not an encrypted token")
        compact = decrypt(compact, agree)
    if compact.count(".") != 2:
        raise IdentityRefused("token_malformed", "not a signed token")
    return _verified(compact, pinned)


def _verified(compact: str, pinned: PinnedKeys) -> Signed:
    head, payload, signature = compact.split(".")
    header = _json(_decode(head))
    if header.get("alg") != pinned.algorithm or "crit" in header:
        raise IdentityRefused("algorithm_refused", f"tokens are signed with {pinned.algorithm}")
    jwk = _named(pinned.keys, header.get("kid"))
    try:
        VERIFY[pinned.algorithm](jwk, f"{head}.{payload}".encode(), _decode(signature))
    except InvalidSignature as error:
        raise IdentityRefused("signature_invalid", "the signature does not verify") from error
    return Signed(compact, _json(_decode(payload)), jwk)


def _verify_es256(jwk: Mapping[str, object], data: bytes, signature: bytes) -> None:
    """RFC 7518 section 3.4; raises InvalidSignature."""
    if len(signature) != 64:
        raise IdentityRefused("signature_invalid", "an ES256 signature has 64 bytes")
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    _curve_key(jwk).verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))


def _verify_rs256(jwk: Mapping[str, object], data: bytes, signature: bytes) -> None:
    """RFC 7518 section 3.3; raises InvalidSignature."""
    _rsa_key(jwk).verify(signature, data, padding.PKCS1v15(), SHA256())


VERIFY: Mapping[SignatureAlgorithm, Callable[[Mapping[str, object], bytes, bytes], None]] = {
    "ES256": _verify_es256,
    "RS256": _verify_rs256,
}


def _named(keys: tuple[Mapping[str, object], ...], key_id: object) -> Mapping[str, object]:
    """The pinned key of that name; a token without a name needs a provider with one key."""
    named = [key for key in keys if key_id is None or key.get("kid") == key_id]
    if len(named) != 1:
        raise IdentityRefused("key_unknown", "the token is not signed by a pinned key")
    return named[0]


def pinned_keys(jwks: bytes, algorithm: SignatureAlgorithm = "ES256") -> PinnedKeys:
    """The signature keys of a JWK set (RFC 7517) for this algorithm; raises IdentityRefused when there is none."""
    keys = _json(jwks[:JWKS_BYTES_MAX]).get("keys")
    if not isinstance(keys, list):
        raise IdentityRefused("keys_malformed", "the pinned file is not a JWK set")
    member, value, words = KEYS[algorithm]
    usable = tuple(k for k in keys if isinstance(k, dict) and k.get(member) == value and k.get("use", "sig") == "sig")
    if not usable:
        raise IdentityRefused("keys_malformed", f"the pinned file has no {words} signature key")
    return PinnedKeys(algorithm, usable)


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


def _curve_key(jwk: Mapping[str, object]) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _ephemeral_point(dict(jwk)))
    except ValueError as error:
        raise IdentityRefused("keys_malformed", "a pinned key is not a point of P-256") from error


def _rsa_key(jwk: Mapping[str, object]) -> rsa.RSAPublicKey:
    modulus, exponent = (int.from_bytes(_decode(optional_text(jwk, name)), "big") for name in ("n", "e"))
    if not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX:
        raise IdentityRefused("keys_malformed", f"a pinned RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise IdentityRefused("keys_malformed", "a pinned key is not an RSA key") from error


def optional_text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):  # JSON can spell half characters
        raise IdentityRefused("claims_malformed", f"{name} is not a text")
    return value


def _json(data: bytes) -> Mapping[str, object]:
    try:
        value = bounded_json.read_json(data)
    except ValueError as error:
        raise IdentityRefused("token_malformed", "not JSON") from error
    if not isinstance(value, dict):
        raise IdentityRefused("token_malformed", "not a JSON object")
    return value


def _decode(text: str) -> bytes:
    """base64url without padding, in its one spelling (RFC 7515 section 2)."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise IdentityRefused("token_malformed", "not base64url") from error
    if urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise IdentityRefused("token_malformed", "base64url is not in its one spelling")
    return data
