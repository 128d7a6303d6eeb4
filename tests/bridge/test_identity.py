"""Identity tokens against somebody who writes them by hand."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe, jws
from joserfc.jwk import ECKey, RSAKey

from hsm_bridge.identity import jose, tokens
from pipeline.formats.identity_providers import EMBEDDED
from tests.bridge_process import provider_key, second_key
from tests.fakes.bridge import pinned
from tests.fakes.identity import ENCRYPTION, PERSON, ProviderTokens, second_signed

RECIPIENT = ec.generate_private_key(ec.SECP256R1())
MOMENT = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
KEY = provider_key()


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk_of(public: ec.EllipticCurvePublicKey) -> dict[str, str]:
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return {"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}


def agree(key_id: str | None, point: bytes) -> bytes:
    peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return RECIPIENT.exchange(ec.ECDH(), peer)


BRIDGE_JWK = json.dumps(jwk_of(RECIPIENT.public_key()) | {"kid": "identity-1"}).encode()
TOKENS = ProviderTokens(KEY, BRIDGE_JWK, "nonce", MOMENT)


def verifier(keys: list[Mapping[str, object]] | None = None) -> tokens.Verifier:
    settings = pinned(Path("/nonexistent")).providers[EMBEDDED]
    keyset = jose.pinned_keys(json.dumps({"keys": keys or [KEY.as_dict(private=False)]}).encode())
    return tokens.Verifier(EMBEDDED, settings, keyset, agree)


def verify(
    id_token: str, userinfo: str | None = None, keys: list[Mapping[str, object]] | None = None
) -> tokens.Identity:
    return verifier(keys).verify(id_token, userinfo or TOKENS.userinfo(), "nonce", "low", MOMENT)


def hand_made(header: Mapping[str, object], *, key: str = "", iv_bytes: int = 12) -> str:
    """An encrypted ID token with a header of one's own, otherwise correct."""
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    full = {"alg": "ECDH-ES", "enc": "A256GCM", "epk": jwk_of(ephemeral.public_key())} | dict(header)
    head = b64(json.dumps(full).encode())
    secret = jose.concat_kdf(ephemeral.exchange(ec.ECDH(), RECIPIENT.public_key()), b"", b"")
    iv = bytes(iv_bytes)
    sealed = AESGCM(secret).encrypt(iv, TOKENS.signed(TOKENS.id_values()).encode(), head.encode())
    return ".".join((head, key, b64(iv), b64(sealed[:-16]), b64(sealed[-16:])))


def test_a_hand_made_token_opens_when_it_is_right() -> None:
    """The attacks below fail for their own reason, not because the token is made by hand."""
    assert verify(hand_made({})).person.subject == "subject-1"


def test_party_information_is_part_of_the_key() -> None:
    """apu and apv, which some providers send, go into the derivation as another library does it."""
    inner = TOKENS.signed(TOKENS.id_values())
    assert verify(TOKENS.encrypted(inner, {"apu": b64(b"Alice"), "apv": b64(b"Bob")})).person.subject == "subject-1"


def test_the_key_derivation_is_that_of_the_standard() -> None:
    """One block of the Concat KDF, written out (NIST SP 800-56A section 5.8.1)."""
    info = b"\0\0\0\x07A256GCM" + b"\0\0\0\x05Alice" + b"\0\0\0\x03Bob" + b"\0\0\x01\0"
    expected = hashlib.sha256(b"\0\0\0\x01" + b"z" * 32 + info).digest()
    assert jose.concat_kdf(b"z" * 32, b"Alice", b"Bob") == expected


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"alg": "dir"}, "algorithm_refused"),
        ({"alg": "RSA1_5"}, "algorithm_refused"),
        ({"alg": "ECDH-ES+A256KW"}, "algorithm_refused"),
        ({"alg": "PBES2-HS256+A128KW", "p2c": 2**31}, "algorithm_refused"),
        ({"alg": None}, "algorithm_refused"),
        ({"enc": "A128CBC-HS256"}, "algorithm_refused"),
        ({"zip": "DEF"}, "algorithm_refused"),
        ({"crit": ["exp"]}, "algorithm_refused"),
        ({"epk": None}, "token_malformed"),
        ({"epk": {"kty": "OKP", "crv": "X25519", "x": "AA"}}, "token_malformed"),
        ({"epk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}, "token_malformed"),
        ({"apu": 7}, "claims_malformed"),
        ({"apv": b64(b"else")}, "decryption_failed"),
    ],
)
def test_encryption_is_not_negotiable(header: dict[str, object], code: str) -> None:
    """The message chooses no algorithm; what it adds is refused, not ignored."""
    with pytest.raises(jose.IdentityRefused) as refused:
        verify(hand_made(header))
    assert refused.value.code == code


def test_a_token_in_the_clear_is_refused() -> None:
    """A provider that encrypts to us does not stop doing so on somebody's word; nor does half of its answer."""
    plain, userinfo = TOKENS.signed(TOKENS.id_values()), TOKENS.signed(TOKENS.userinfo_values())
    for pair in ((plain, TOKENS.userinfo()), (TOKENS.id_token(), userinfo)):
        with pytest.raises(jose.IdentityRefused) as refused:
            verify(*pair)
        assert refused.value.code == "token_not_encrypted"


def test_an_encrypted_key_or_an_odd_nonce_is_refused() -> None:
    """Direct agreement carries no encrypted key, and A256GCM one length of nonce."""
    for odd in (hand_made({}, key="AAAA"), hand_made({}, iv_bytes=16)):
        with pytest.raises(jose.IdentityRefused, match=r"direct|nonce"):
            verify(odd if odd.count(".") == 4 else TOKENS.encrypted(odd))


def test_a_key_in_the_message_is_never_used() -> None:
    """jwk, jku and x5c of the attacker's own do not help: only pinned keys verify."""
    evil = provider_key()
    header = {
        "alg": "ES256",
        "jwk": evil.as_dict(private=False),
        "jku": "https://evil.example/keys",
        "kid": "provider-1",
    }
    token = jws.serialize_compact(header, json.dumps(TOKENS.id_values()).encode(), evil, algorithms=["ES256"])
    with pytest.raises(jose.IdentityRefused) as refused:
        verify(TOKENS.encrypted(token))
    assert refused.value.code == "signature_invalid"


def test_other_signature_algorithms_are_refused() -> None:
    """RS256, and HS256 keyed with the public key (the classic confusion), are not ES256."""
    values = json.dumps(TOKENS.id_values()).encode()
    rsa = jws.serialize_compact(
        {"alg": "RS256", "kid": "provider-1"}, values, RSAKey.generate_key(2048), algorithms=["RS256"]
    )
    body = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'provider-1'}).encode())}.{b64(values)}"
    shared = hmac.digest(KEY.as_bytes(encoding="PEM", private=False), body.encode(), hashlib.sha256)
    for token in (rsa, f"{body}.{b64(shared)}"):
        with pytest.raises(jose.IdentityRefused) as refused:
            verify(TOKENS.encrypted(token))
        assert refused.value.code == "algorithm_refused"


def test_a_nested_encryption_is_refused() -> None:
    """A token is encrypted once: no loop of decryptions on an attacker's word."""
    with pytest.raises(jose.IdentityRefused) as refused:
        verify(TOKENS.encrypted(TOKENS.id_token()))
    assert refused.value.code == "token_malformed"


def test_names_that_occur_twice_and_second_spellings_are_refused() -> None:
    """Two readers must not read two things."""
    values = json.dumps(TOKENS.id_values())
    doubled = values[:-1] + ', "sub": "somebody"}'
    token = jws.serialize_compact({"alg": "ES256", "kid": "provider-1"}, doubled.encode(), KEY, algorithms=["ES256"])
    respelled = TOKENS.signed(TOKENS.id_values()) + "="
    for odd in (token, respelled, respelled[:-1] + "\n", token.replace(".", "..", 1)):
        with pytest.raises(jose.IdentityRefused):
            verify(odd if odd.count(".") == 4 else TOKENS.encrypted(odd))


def test_a_token_without_a_key_name_needs_a_single_pinned_key() -> None:
    """Which key verifies is never guessed."""
    token = jws.serialize_compact({"alg": "ES256"}, json.dumps(TOKENS.id_values()).encode(), KEY, algorithms=["ES256"])
    assert verify(TOKENS.encrypted(token)).person.subject == "subject-1"
    other = ECKey.generate_key("P-256", {"kid": "provider-2", "use": "sig"}).as_dict(private=False)
    with pytest.raises(jose.IdentityRefused) as refused:
        verify(TOKENS.encrypted(token), keys=[KEY.as_dict(private=False), other])
    assert refused.value.code == "key_unknown"


@pytest.mark.parametrize("jwks", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [{"kty": "RSA"}]}', b'{"keys": [7]}'])
def test_a_pinned_file_without_keys_pins_nothing(jwks: bytes) -> None:
    """An empty or odd file refuses every login instead of accepting one."""
    with pytest.raises(jose.IdentityRefused):
        jose.pinned_keys(jwks)


def opened(compact: str, *keys: ECKey | RSAKey) -> jose.Signed:
    """A signed token of a provider that signs with RS256 and does not encrypt."""
    jwks = json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()
    return jose.open_token(compact, jose.pinned_keys(jwks, "RS256"), None)


def test_a_provider_signs_with_the_algorithm_of_its_switches() -> None:
    """The message names no other, not even one for which a key is pinned, nor the public key taken for a secret."""
    good = second_signed({"sub": "x"})
    assert opened(good, second_key(), KEY).claims == {"sub": "x"}
    body = ".".join(map(b64, (b'{"alg":"HS256","kid":"second-1"}', b"{}")))
    keyed = f"{body}.{b64(hmac.digest(second_key().as_pem(private=False), body.encode(), hashlib.sha256))}"
    for wrong in (TOKENS.signed({"sub": "x"}), TOKENS.unsigned({"sub": "x"}), keyed):
        with pytest.raises(jose.IdentityRefused) as refused:
            opened(wrong, second_key(), KEY)
        assert refused.value.code == "algorithm_refused"


def test_an_rsa_signature_is_by_the_pinned_key_over_these_bytes() -> None:
    """Another key, another claim, a cut or stretched signature: refused."""
    head, payload, signature = second_signed({"sub": "x"}).split(".")
    stranger = RSAKey.generate_key(2048, {"kid": "second-1"})
    for wrong in (
        second_signed({"sub": "x"}, stranger),
        f"{head}.{b64(b'{}')}.{signature}",
        f"{head}.{payload}.{b64(urlsafe_b64decode(signature + '==')[:-1])}",
        f"{head}.{payload}.AAAA{signature}",
        f"{head}.{payload}.",
    ):
        with pytest.raises(jose.IdentityRefused) as refused:
            opened(wrong, second_key())
        assert refused.value.code == "signature_invalid"


@pytest.mark.parametrize(
    "bent", [{"n": b64(b"\xff" * 128)}, {"n": b64(b"\xff" * 2000)}, {"n": 7}, {"e": b64(b"\2")}, {"e": ""}]
)
def test_a_pinned_rsa_key_is_a_strong_one(bent: dict[str, object]) -> None:
    """Short, endless or odd keys verify nothing."""
    jwks = json.dumps({"keys": [second_key().as_dict(private=False) | bent]}).encode()
    with pytest.raises(jose.IdentityRefused):
        jose.open_token(second_signed({"sub": "x"}), jose.pinned_keys(jwks, "RS256"), None)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"given_name": ""}, "claims_malformed"),
        ({"family_name": None}, "claims_malformed"),
        ({"family_name": ["A"]}, "claims_malformed"),
        ({"family_name": "x" * 401}, "claims_malformed"),
        ({"family_name": "\t\u2028"}, "claims_malformed"),
        ({"preferred_username": "x" * 401}, "claims_malformed"),
        ({"preferred_username": 7}, "claims_malformed"),
        ({"birthdate": "17/05/1980"}, "claims_malformed"),
        ({"sub": "other"}, "subject_mismatch"),
        ({"aud": "other"}, "audience_mismatch"),
    ],
)
def test_an_identity_without_a_person_is_refused(claims: dict[str, object], code: str) -> None:
    """Missing or odd names are not filled in."""
    bent = ProviderTokens(KEY, BRIDGE_JWK, "nonce", MOMENT, userinfo_claims=claims)
    with pytest.raises(jose.IdentityRefused) as refused:
        verify(TOKENS.id_token(), bent.userinfo())
    assert refused.value.code == code


@pytest.mark.parametrize("usage_name", [None, "", " ", "\n"])
def test_a_usage_name_may_be_missing(usage_name: object) -> None:
    """In each way in which a provider may leave it out."""
    bent = ProviderTokens(KEY, BRIDGE_JWK, "nonce", MOMENT, userinfo_claims={"preferred_username": usage_name})
    assert verify(TOKENS.id_token(), bent.userinfo()).person.usage_name is None


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFFFE, 0xFFFF], ids=hex)
def test_a_name_with_a_control_can_still_be_written_in_an_evidence(code: int) -> None:
    """Who has such a name at a provider is the same person, and can accept and refuse."""
    names = ("given_name", "family_name", "preferred_username")
    bent = ProviderTokens(
        KEY, BRIDGE_JWK, "nonce", MOMENT, userinfo_claims={name: f"{PERSON[name]}{chr(code)}de X" for name in names}
    )
    person = verify(TOKENS.id_token(), bent.userinfo()).person
    assert (person.given_names, person.birth_name, person.usage_name) == tuple(f"{PERSON[name]} de X" for name in names)


@pytest.mark.parametrize("subject", ["", "a\nb", "a\0", "\uffff", "x" * 256])
def test_a_subject_is_an_identifier_that_an_evidence_can_hold(subject: str) -> None:
    """Nothing in it is replaced: another text would be another person."""
    claims = {"sub": subject}
    bent = ProviderTokens(KEY, BRIDGE_JWK, "nonce", MOMENT, id_claims=claims, userinfo_claims=claims)
    with pytest.raises(jose.IdentityRefused) as refused:
        verify(bent.id_token(), bent.userinfo())
    assert refused.value.code == "claims_malformed"


def test_the_library_agrees_on_what_we_encrypt_to() -> None:
    """joserfc opens its own message with our key, so the tests above speak about the same standard."""
    private = ECKey.import_key(RECIPIENT)
    assert jwe.decrypt_compact(TOKENS.id_token(), private, registry=ENCRYPTION).plaintext
