"""An identity provider's answer, opened and checked: who is this person, how surely, and for which login?

Owns     decryption of encrypted tokens (the key agreement in the token), signature checks under keys pinned by the
         operator, and every check that a relying party owes
Rules    algorithms are fixed here, never taken from a message: ECDH-ES with A256GCM, ES256; keys named inside a message
         (jwk, jku, x5c) are ignored; anything unexpected is refused with a stable code
Elsewhere: the login itself and its state (gateway), nonces (tickets), comparison with the addressee (matching)
Source   RFC 7515, RFC 7516, RFC 7518 section 4.6, OpenID Connect Core sections 3.1.3.7 and 5.3.2
"""

import binascii
import hashlib
import json
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import cast

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from pipeline.formats.configuration import AssuranceLevel, IdentitySettings
from pipeline.formats.context import person_sha256
from pipeline.formats.person import IdentifiedPerson

TOKEN_CHARACTERS_MAX = 32 * 1024
JWKS_BYTES_MAX = 64 * 1024
CLOCK_LEEWAY_SECONDS = 30  # between the provider's clock and ours
ISSUED_SECONDS_MAX = 600  # an ID token is used at once; older ones are replays
AUTHENTICATED_SECONDS_MAX = 3600  # no session of yesterday
NAME_CHARACTERS_MAX = 400
SUBJECT_CHARACTERS_MAX = 255  # OpenID Connect Core section 2
LEVELS: Mapping[str, AssuranceLevel] = {"eidas1": "low", "eidas2": "substantial", "eidas3": "high"}  # acr values
ORDER: Mapping[AssuranceLevel, int] = {"low": 1, "substantial": 2, "high": 3}  # Regulation (EU) 910/2014 article 8(2)

Agree = Callable[[str | None, bytes], bytes]  # (key id or None, uncompressed point) -> shared x coordinate


class IdentityRefused(ValueError):
    """Not an identification that counts; `code` is stable, the text is for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified identification; proof: the provider's signed tokens and the key that verifies them."""

    person: IdentifiedPerson
    proof: bytes


@dataclass(frozen=True, slots=True)
class _Signed:
    """A verified JWS: its compact form, its claims and the JWK that verified it."""

    compact: str
    claims: Mapping[str, object]
    jwk: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks answers of one provider for one client, under one set of pinned keys."""

    settings: IdentitySettings
    keys: tuple[Mapping[str, object], ...]
    agree: Agree

    def verify(self, id_token: str, userinfo: str, nonce: str, minimum: AssuranceLevel, moment: datetime) -> Identity:
        """Raises IdentityRefused. Steps: 1 open and verify both, 2 who it is from and for, 3 times, 4 login, 5 level,
        6 the same subject in both, 7 the person."""
        if not userinfo:
            raise IdentityRefused("userinfo_missing", "the provider's user information is missing")
        token, info = self._open(id_token), self._open(userinfo)  # 1
        for claims in (token.claims, info.claims):  # 2
            self._check_parties(claims)
        _check_times(token.claims, moment)  # 3
        if token.claims.get("nonce") != nonce:  # 4
            raise IdentityRefused("nonce_mismatch", "the ID token belongs to another login")
        level = _level(token.claims, max(minimum, self.settings.minimum_level, key=ORDER.__getitem__))  # 5
        subject = _text(token.claims, "sub", SUBJECT_CHARACTERS_MAX)
        if info.claims.get("sub") != subject:  # 6 OpenID Connect Core section 5.3.2
            raise IdentityRefused("subject_mismatch", "the user information is about another subject")
        proof = {"id_token": token.compact, "userinfo": info.compact, "keys": [token.jwk, info.jwk]}
        encoded = json.dumps(proof, separators=(",", ":"), sort_keys=True).encode()
        person = _person(info.claims, subject, level, self.settings.provider, _time(token.claims, "auth_time"))  # 7
        return Identity(person, encoded)

    def _open(self, compact: str) -> _Signed:
        """The signed token inside the encrypted one. One that comes in the clear was not made for us: refused."""
        if len(compact) > TOKEN_CHARACTERS_MAX:
            raise IdentityRefused("token_too_large", f"a token has at most {TOKEN_CHARACTERS_MAX} characters")
        if compact.count(".") == 2:
            raise IdentityRefused("token_not_encrypted", "tokens are encrypted to the bridge's key")
        if compact.count(".") != 4:
            raise IdentityRefused("token_malformed", "not an encrypted token")
        signed = decrypt(compact, self.agree)
        if signed.count(".") != 2:
            raise IdentityRefused("token_malformed", "not a signed token")
        return self._verify_signature(signed)

    def _verify_signature(self, compact: str) -> _Signed:
        head, payload, signature = compact.split(".")
        header = _json(_decode(head))
        if header.get("alg") != "ES256" or "crit" in header:
            raise IdentityRefused("algorithm_refused", "tokens are signed with ES256")
        jwk = self._pinned(header.get("kid"))
        raw = _decode(signature)
        if len(raw) != 64:
            raise IdentityRefused("signature_invalid", "an ES256 signature has 64 bytes")
        der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        try:
            _public_key(jwk).verify(der, f"{head}.{payload}".encode(), ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise IdentityRefused("signature_invalid", "the signature does not verify") from error
        return _Signed(compact, _json(_decode(payload)), jwk)

    def _pinned(self, key_id: object) -> Mapping[str, object]:
        """The pinned key of that name; a token without a name needs a provider with one key."""
        named = [key for key in self.keys if key_id is None or key.get("kid") == key_id]
        if len(named) != 1:
            raise IdentityRefused("key_unknown", "the token is not signed by a pinned key")
        return named[0]

    def _check_parties(self, claims: Mapping[str, object]) -> None:
        if claims.get("iss") != self.settings.issuer:
            raise IdentityRefused("issuer_mismatch", "the token is from another provider")
        if claims.get("aud") not in (self.settings.client_id, [self.settings.client_id]):
            raise IdentityRefused("audience_mismatch", "the token is for another client")


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
    party_u, party_v = (_decode(_optional_text(header, name)) for name in ("apu", "apv"))
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
    x, y = (_decode(_optional_text(epk, name)) for name in ("x", "y"))
    if len(x) != 32 or len(y) != 32:
        raise IdentityRefused("token_malformed", "a P-256 coordinate has 32 bytes")
    return b"\x04" + x + y


def _public_key(jwk: Mapping[str, object]) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _ephemeral_point(dict(jwk)))
    except ValueError as error:
        raise IdentityRefused("keys_malformed", "a pinned key is not a point of P-256") from error


def _check_times(claims: Mapping[str, object], moment: datetime) -> None:
    leeway = timedelta(seconds=CLOCK_LEEWAY_SECONDS)
    issued, authenticated = _time(claims, "iat"), _time(claims, "auth_time")
    if _time(claims, "exp") <= moment - leeway:
        raise IdentityRefused("token_expired", "the ID token has expired")
    if not moment - timedelta(seconds=ISSUED_SECONDS_MAX) - leeway <= issued <= moment + leeway:
        raise IdentityRefused("token_not_fresh", "the ID token was not issued just now")
    if not moment - timedelta(seconds=AUTHENTICATED_SECONDS_MAX) - leeway <= authenticated <= moment + leeway:
        raise IdentityRefused("authentication_not_fresh", "the person did not authenticate just now")


def _level(claims: Mapping[str, object], minimum: AssuranceLevel) -> AssuranceLevel:
    level = LEVELS.get(cast("str", claims.get("acr"))) if isinstance(claims.get("acr"), str) else None
    if level is None or ORDER[level] < ORDER[minimum]:
        raise IdentityRefused("level_too_low", f"this letter needs identification at level {minimum}")
    return level


def _person(
    claims: Mapping[str, object], subject: str, level: AssuranceLevel, method: str, authenticated_at: datetime
) -> IdentifiedPerson:
    usage = _optional_text(claims, "preferred_username").strip()
    birth_date = _optional_text(claims, "birthdate")
    try:
        born = date.fromisoformat(birth_date) if birth_date else None
    except ValueError as error:
        raise IdentityRefused("claims_malformed", "birthdate is not a date") from error
    given_names = _text(claims, "given_name", NAME_CHARACTERS_MAX)
    birth_name = _text(claims, "family_name", NAME_CHARACTERS_MAX)
    return IdentifiedPerson(
        given_names=given_names,
        birth_name=birth_name,
        usage_name=unicodedata.normalize("NFC", usage)[:NAME_CHARACTERS_MAX] or None,
        birth_date=born,
        subject=subject,
        level=level,
        method=method,
        authenticated_at=authenticated_at,
        person_sha256=person_sha256(given_names, birth_name, born, subject),
    )


def _text(claims: Mapping[str, object], name: str, characters_max: int) -> str:
    value = unicodedata.normalize("NFC", _optional_text(claims, name)).strip()
    if not 1 <= len(value) <= characters_max:
        raise IdentityRefused("claims_malformed", f"{name} has 1 to {characters_max} characters")
    return value


def _optional_text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):  # JSON can spell half characters
        raise IdentityRefused("claims_malformed", f"{name} is not a text")
    return value


def _time(claims: Mapping[str, object], name: str) -> datetime:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 253_402_300_800:  # the year 10000
        raise IdentityRefused("claims_malformed", f"{name} is not a time in seconds")
    return datetime.fromtimestamp(value, UTC)


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
