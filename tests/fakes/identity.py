"""Identity tokens as a provider makes them, and as an attacker would.

Owns     signed and encrypted tokens for the tests of the bridge
Elsewhere: the provider itself (deploy/local/identity_provider)
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from joserfc import jwe, jws
from joserfc.jwe import JWERegistry
from joserfc.jwk import ECKey, RSAKey

from tests.bridge_process import CLIENT_ID, ISSUER, SECOND_ISSUER, second_key

ENCRYPTION = JWERegistry(algorithms=["ECDH-ES", "A256GCM"])
PERSON: Mapping[str, object] = {
    "given_name": "Zoé Anne",
    "family_name": "LEFÈVRE",
    "preferred_username": "MARTIN",
    "birthdate": "1980-05-17",
}


@dataclass(frozen=True, slots=True)
class ProviderTokens:
    """One login's tokens; the fields are what a test bends."""

    key: ECKey
    bridge_jwk: bytes
    nonce: str
    moment: datetime
    id_claims: Mapping[str, object] = field(default_factory=dict)
    userinfo_claims: Mapping[str, object] = field(default_factory=dict)

    def id_token(self) -> str:
        return self.encrypted(self.signed(self.id_values()))

    def userinfo(self) -> str:
        return self.encrypted(self.signed(self.userinfo_values()))

    def id_values(self) -> dict[str, object]:
        now = int(self.moment.timestamp())
        values: dict[str, object] = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "subject-1", "iat": now, "exp": now + 60}
        return values | {"nonce": self.nonce, "acr": "eidas2", "auth_time": now} | dict(self.id_claims)

    def userinfo_values(self) -> dict[str, object]:
        values: dict[str, object] = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "subject-1"}
        return values | dict(PERSON) | dict(self.userinfo_claims)

    def signed(self, values: Mapping[str, object], key: ECKey | None = None, kid: str = "provider-1") -> str:
        return jws.serialize_compact(
            {"alg": "ES256", "kid": kid}, json.dumps(values).encode(), key or self.key, algorithms=["ES256"]
        )

    def unsigned(self, values: Mapping[str, object]) -> str:
        """alg none."""
        parts = (json.dumps({"alg": "none"}), json.dumps(values))
        return ".".join(urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts) + "."

    def encrypted(self, inner: str, header: Mapping[str, object] | None = None) -> str:
        recipient = ECKey.import_key(json.loads(self.bridge_jwk))
        head = {"alg": "ECDH-ES", "enc": "A256GCM", "cty": "JWT", "kid": recipient.kid} | dict(header or {})
        return jwe.encrypt_compact(head, inner.encode(), recipient, registry=ENCRYPTION)


def second_values(nonce: str, moment: datetime) -> dict[str, object]:
    """What the second provider's one token says."""
    now = int(moment.timestamp())
    values: dict[str, object] = {"iss": SECOND_ISSUER, "aud": [CLIENT_ID], "sub": "second-1", "iat": now}
    return values | dict(PERSON) | {"exp": now + 60, "nonce": nonce, "acr": "urn:second:card", "auth_time": now}


def second_signed(values: Mapping[str, object], key: RSAKey | None = None) -> str:
    """As the second provider signs; a claim that is None is left out."""
    said = {name: value for name, value in values.items() if value is not None}
    header = {"alg": "RS256", "kid": "second-1"}
    return jws.serialize_compact(header, json.dumps(said).encode(), key or second_key(), algorithms=["RS256"])
