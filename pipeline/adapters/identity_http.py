"""An identity provider's back channel over HTTP: redeem a code, fetch the userinfo, read the discovery document.

Owns     the calls, their deadlines and limits; how long a discovery document counts
Rules    no redirects, no proxy from the environment, bounded answers. A code is good once: nothing is repeated here
         An answer that refuses the code is a result; anything else that is not an answer is Transient
Elsewhere: what the tokens say. They are encrypted to the bridge's key and only passed on
         A discovered endpoint is taken from the issuer's own document, over the guarded connection only; the keys that
         it names are not: the bridge pins them
Source   RFC 6749 sections 4.1.3 and 5.2; OpenID Connect Core 1.0 section 5.3; OpenID Connect Discovery 1.0 section 4
"""

import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from pipeline.errors import Transient
from pipeline.formats import bounded_json
from pipeline.formats.identity_providers import IdentityProviderSettings, is_guarded
from pipeline.formats.secret_file import read_secret
from pipeline.ports.bridge import wire
from pipeline.ports.outside import ExchangeRefused

CALL_SECONDS = 4.0  # two calls have to fit into the 10 s of a callback
CONNECT_SECONDS = 2.0
ANSWER_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 20
DISCOVERY_SECONDS = 3600  # a document counts this long
DISCOVERY_PATH = "/.well-known/openid-configuration"
REFUSED_STATUS = frozenset({400, 401})


class HttpBackChannel:
    """Speaks to one issuer, authenticating with the client secret in the body (client_secret_post)."""

    def __init__(self, provider: IdentityProviderSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._provider = provider
        self._discovered: Mapping[str, str] = {}
        self._discovered_until = 0.0  # of time.monotonic()
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def authorization_endpoint(self) -> str:
        """Named, or discovered; then it has the issuer's origin, because the page's form may lead nowhere else."""
        return await self._endpoint("authorization_endpoint")

    async def exchange(
        self, code: str, redirect_uri: str, code_verifier: str | None
    ) -> wire.IdentityTokens | ExchangeRefused:
        """Tokens for a code, once."""
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._provider.client_id,
            "client_secret": read_secret(self._provider.client_secret_file),
        }
        if code_verifier is not None:
            fields["code_verifier"] = code_verifier
        status, body = await self._call("POST", await self._endpoint("token_endpoint"), data=fields)
        if status in REFUSED_STATUS:
            return ExchangeRefused(_field(body, "error"))
        if status != httpx.codes.OK:
            raise Transient(f"the token endpoint answers {status}")
        if self._provider.switches.person_from == "id_token":
            return wire.IdentityTokens(_field(body, "id_token"), "")
        return await self._with_userinfo(_field(body, "access_token"), _field(body, "id_token"))

    async def close(self) -> None:
        """Gives the connections back."""
        await self._client.aclose()

    async def _with_userinfo(self, access_token: str, id_token: str) -> wire.IdentityTokens | ExchangeRefused:
        endpoint = await self._endpoint("userinfo_endpoint")
        status, userinfo = await self._call("GET", endpoint, headers={"Authorization": f"Bearer {access_token}"})
        if status in REFUSED_STATUS:
            return ExchangeRefused("userinfo_refused")
        if status != httpx.codes.OK:
            raise Transient(f"the userinfo endpoint answers {status}")
        return wire.IdentityTokens(id_token, _ascii(userinfo))

    async def _endpoint(self, name: str) -> str:
        """The address of an endpoint: named in the configuration, or in the issuer's document."""
        named = self._provider.switches.endpoints[name]
        if named is None:
            return await self._discover(name)
        return f"{self._provider.issuer}{named}" if named.startswith("/") else named

    async def _discover(self, name: str) -> str:
        """Read at most once an hour; a failure is told and not kept."""
        if time.monotonic() >= self._discovered_until:
            status, body = await self._call("GET", f"{self._provider.issuer.rstrip('/')}{DISCOVERY_PATH}")
            if status != httpx.codes.OK or _field(body, "issuer") != self._provider.issuer:
                raise Transient(f"the discovery document is not the issuer's (status {status})")
            self._discovered = _endpoints(body)
            self._discovered_until = time.monotonic() + DISCOVERY_SECONDS
        endpoint = self._discovered.get(name, "")
        if not is_guarded(endpoint):
            raise Transient(f"the discovery document has no {name} that can be used")
        if name == "authorization_endpoint" and _origin(endpoint) != _origin(self._provider.issuer):
            raise Transient("the discovered authorization endpoint is elsewhere than the issuer; name the endpoints")
        return endpoint

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
        answer = bounded_json.read_json(body)
    except ValueError as error:
        raise Transient("the identity provider's answer is not JSON") from error
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, str):
        raise Transient(f"the identity provider's answer has no {name}")
    return value


def _endpoints(body: bytes) -> Mapping[str, str]:
    """The texts of a discovery document that `_field` has read."""
    answer = bounded_json.read_json(body)
    return {name: value for name, value in answer.items() if isinstance(value, str)} if isinstance(answer, dict) else {}


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


def _ascii(body: bytes) -> str:
    try:
        return body.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise Transient("the userinfo answer is not a token") from error
