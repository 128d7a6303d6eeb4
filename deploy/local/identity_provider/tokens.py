"""ID tokens and userinfo answers: signed (ES256), then encrypted to the portal (ECDH-ES, A256GCM).

Owns     the shape of the nested tokens, and how each attack bends it
Rules    the outer header carries iss and aud, as FranceConnect+ writes them; a token lives 60 s
Elsewhere: which person was picked, what a code is good for (grants.py)
Source   FranceConnect+ technical pages; RFC 7516, RFC 7518 section 4.6, OpenID Connect Core 1.0 sections 2 and 5.3.2
"""

import base64
import hashlib
import json
from dataclasses import dataclass

from joserfc import jwe, jws
from joserfc.jwk import ECKey
from joserfc.registry import HeaderParameter

from deploy.local.identity_provider.attacks import Attack
from deploy.local.identity_provider.people import Person, claims, subject

UNSIGNED_HEADER = b'{"alg":"none"}'  # RFC 7515 appendix A.5
TOKEN_SECONDS = 60  # FranceConnect+: lifetime of ID tokens and access tokens
JWE_ALGORITHMS = ["ECDH-ES", "A256GCM"]
JWE_REGISTRY = jwe.JWERegistry(
    header_registry={
        "iss": HeaderParameter("TokenIssuer", "str"),
        "aud": HeaderParameter("Audience", "str"),
    },
    algorithms=JWE_ALGORITHMS,
)


@dataclass(frozen=True, slots=True)
class Grant:
    """One person's consent to one sign-in of one relying party."""

    person: Person
    client_id: str
    redirect_uri: str
    nonce: str
    acr: str
    scopes: frozenset[str]
    auth_time: int
    attack: Attack


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Who signs. `foreign` is a key of the same name that no relying party pinned."""

    name: str
    key: ECKey
    foreign: ECKey

    def id_token(self, grant: Grant, access_token: str, recipient: ECKey, now: int) -> str:
        """The ID token, bent as the grant's attack says."""
        values = self._base(grant, now) | {
            "nonce": "0" * 64 if grant.attack == "wrong_nonce" else grant.nonce,
            "acr": "eidas1" if grant.attack == "wrong_acr" else grant.acr,
            "auth_time": grant.auth_time,
            "at_hash": _half_hash(access_token),
        }
        if grant.attack == "expired_token":
            values |= {"iat": now - 3600, "exp": now - 3600 + TOKEN_SECONDS}
        if grant.attack == "wrong_audience":
            values["aud"] = "another-service"
        signed = self._sign(values, grant.attack)
        if grant.attack == "plain_token":
            return signed
        return self._encrypt(signed, grant.client_id, recipient)

    def userinfo(self, grant: Grant, recipient: ECKey, now: int) -> str:
        """The userinfo answer, bent as the grant's attack says."""
        values = self._base(grant, now) | claims(grant.person, grant.scopes)
        if grant.attack == "other_subject":
            values["sub"] = subject(grant.person, "another-service")
        return self._encrypt(self._sign(values, "none"), grant.client_id, recipient)

    def _base(self, grant: Grant, now: int) -> dict[str, str | int]:
        return {
            "iss": self.name,
            "aud": grant.client_id,
            "sub": subject(grant.person, grant.client_id),
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        }

    def _sign(self, values: dict[str, str | int], attack: Attack) -> str:
        payload = json.dumps(values, ensure_ascii=False).encode()
        if attack == "alg_none":
            return f"{_base64url(UNSIGNED_HEADER)}.{_base64url(payload)}."
        key = self.foreign if attack == "foreign_key" else self.key
        return jws.serialize_compact({"alg": "ES256", "kid": self.key.kid or ""}, payload, key, algorithms=["ES256"])

    def _encrypt(self, signed: str, client_id: str, recipient: ECKey) -> str:
        header = {
            "alg": "ECDH-ES",
            "enc": "A256GCM",
            "cty": "JWT",
            "kid": recipient.kid or "",
            "iss": self.name,
            "aud": client_id,
        }
        return jwe.encrypt_compact(header, signed.encode(), recipient, registry=JWE_REGISTRY)


def _half_hash(token: str) -> str:
    """OpenID Connect Core 1.0, 3.1.3.6: left half of the SHA-256 of the access token."""
    return _base64url(hashlib.sha256(token.encode("ascii")).digest()[:16])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
