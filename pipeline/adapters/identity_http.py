"""The identity provider's back channel over HTTP: redeem a code, fetch the userinfo.

Owns     the two calls, their deadlines and limits
Rules    no redirects, no proxy from the environment, bounded answers. A code is good once: nothing is repeated here
         An answer that refuses the code is a result; anything else that is not an answer is Transient
Elsewhere: what the tokens say. They are encrypted to the bridge's key and only passed on
Source   RFC 6749 sections 4.1.3 and 5.2; OpenID Connect Core 1.0 section 5.3
"""

import json
from urllib.parse import urlsplit

import httpx

from pipeline.errors import Transient
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import IdentitySettings
from pipeline.formats.secret_file import read_secret
from pipeline.ports.outside import ExchangeRefused, IdentityTokens

CALL_SECONDS = 4.0  # two calls have to fit into the 10 s of a callback
CONNECT_SECONDS = 2.0
ANSWER_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 20
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
REFUSED_STATUS = frozenset({400, 401})


class HttpIdentityProvider:
    """Speaks to the configured issuer, authenticating with the client secret in the body (client_secret_post)."""

    def __init__(self, identity: IdentitySettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        address = urlsplit(identity.issuer)
        if address.scheme != "https" and address.hostname not in LOOPBACK:
            raise ConfigInvalid("identity.issuer must be https, but on loopback")
        self._identity = identity
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def exchange(self, code: str, redirect_uri: str) -> IdentityTokens | ExchangeRefused:
        """Tokens for a code, once."""
        status, body = await self._call(
            "POST",
            f"{self._identity.issuer}/token",
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "client_id": self._identity.client_id,
                "client_secret": read_secret(self._identity.client_secret_file),
            },
        )
        if status in REFUSED_STATUS:
            return ExchangeRefused(_field(body, "error"))
        if status != httpx.codes.OK:
            raise Transient(f"the token endpoint answers {status}")
        access_token, id_token = _field(body, "access_token"), _field(body, "id_token")
        status, userinfo = await self._call(
            "GET", f"{self._identity.issuer}/userinfo", headers={"Authorization": f"Bearer {access_token}"}
        )
        if status in REFUSED_STATUS:
            return ExchangeRefused("userinfo_refused")
        if status != httpx.codes.OK:
            raise Transient(f"the userinfo endpoint answers {status}")
        return IdentityTokens(id_token, _ascii(userinfo))

    async def close(self) -> None:
        """Gives the connections back."""
        await self._client.aclose()

    async def _call(
        self, method: str, url: str, data: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body, of at most ANSWER_BYTES_MAX."""
        body = bytearray()
        try:
            async with self._client.stream(method, url, data=data, headers=headers) as answer:
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise Transient("the identity provider's answer is too large")
        except httpx.HTTPError as error:
            raise Transient(f"the identity provider is away: {type(error).__name__}") from error
        return answer.status_code, bytes(body)


def _field(body: bytes, name: str) -> str:
    """One text of a JSON answer."""
    try:
        said = json.loads(body)
    except ValueError as error:
        raise Transient("the identity provider's answer is not JSON") from error
    value = said.get(name) if isinstance(said, dict) else None
    if not isinstance(value, str):
        raise Transient(f"the identity provider's answer has no {name}")
    return value


def _ascii(body: bytes) -> str:
    try:
        return body.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise Transient("the userinfo answer is not a token") from error
