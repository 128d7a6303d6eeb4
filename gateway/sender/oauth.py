"""OAuth2 for senders' programs: who a client is, and the tokens it gets.

Owns     POST /oauth2/token (client_credentials), the server metadata, the check of a bearer token
Rules    whoever fails often waits: guessing is slowed down by prefix of addresses
         A client proves itself by private_key_jwt (RFC 7523: addressed to us, at most 5 minutes, each jti once) or, in
         an embedded installation only, by a secret; a token is 256 random bits, kept as a digest, good for 600 s of
         real time; unknown client and wrong proof are one answer
Elsewhere: who makes clients and takes them away (pipeline/operate/sender_keys.py)
Source   RFC 6749 4.4 and 5.2, RFC 6750, RFC 7523, RFC 8414
"""

import hmac
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, cast
from urllib.parse import parse_qsl, unquote_plus
from uuid import UUID

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.addresses import count, read_body
from gateway.problems import Problem
from gateway.rates import Rate, by_prefix
from gateway.sender.ports import SenderPorts
from pipeline.formats import bounded_json
from pipeline.stores.senders import TOKEN_SECONDS, Client

TOKEN_RANDOM_BYTES = 32
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 2.2
ASSERTION_SECONDS_MAX = 300  # how far ahead of now exp may be
ASSERTION_SKEW_SECONDS = 60  # a sender's clock may be ahead of ours by this much
ASSERTION_ALGORITHMS = ["ES256", "ES384", "PS256", "RS256"]
JTI_CHARACTERS_MAX = 128
FIELDS_MAX = 20
# What the library may raise over a token that is none: its own, and those of the types that it did not look at.
ASSERTION_FAULTS = (JoseError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
CLIENT_ID_CHARACTERS_MAX = 64
FAILURES_COUNT = 30  # of clients that did not prove who they are, by the minute and prefix
SUBMITTING = "deliveries:write"  # what a sender that is held back may not do; its proofs it may read
SCOPES = ("deliveries:write", "deliveries:read", "evidence:read", "consents:write", "webhooks:write")


class OAuthRefused(Exception):
    """An OAuth2 error answer (RFC 6749 5.2). error: its code there."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class Principal:
    """A request's proven origin, with the scopes of its token."""

    client_id: str
    sender: UUID
    scopes: frozenset[str]
    birth_date_demanded: bool = False


class OAuth:
    """The token endpoint and the guard of all others."""

    def __init__(self, ports: SenderPorts) -> None:
        self._ports = ports
        self._issuer = ports.config.gateway.public_url
        self._token_url = f"{self._issuer}/oauth2/token"
        self._secrets_allowed = ports.config.embedded
        self._failures = Rate("client-failures", FAILURES_COUNT, 60)

    async def metadata(self, request: Request) -> Response:
        """GET /.well-known/oauth-authorization-server (RFC 8414)."""
        methods = ["private_key_jwt"]
        if self._secrets_allowed:
            methods += ["client_secret_basic", "client_secret_post"]
        return JSONResponse(
            {
                "issuer": self._issuer,
                "token_endpoint": self._token_url,
                "grant_types_supported": ["client_credentials"],
                "response_types_supported": [],
                "scopes_supported": list(SCOPES),
                "token_endpoint_auth_methods_supported": methods,
                "token_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
                "service_documentation": f"{self._issuer}/docs",
            }
        )

    async def token(self, request: Request) -> Response:
        """POST /oauth2/token."""
        self._failures.require(by_prefix(request.scope))
        try:
            form = _form(request, await read_body(request))
            if form.get("grant_type") != "client_credentials":
                raise OAuthRefused("unsupported_grant_type", "grant_type must be client_credentials")
            client = await self._client(request, form)
            scopes = _granted(client, form.get("scope", ""))
        except OAuthRefused as refused:
            if refused.error == "invalid_client":
                count(request.scope, self._failures)
            return _error(refused)
        token = urlsafe_b64encode(self._ports.ids.random_bytes(TOKEN_RANDOM_BYTES)).rstrip(b"=").decode()
        await self._ports.senders.add_token(sha256(token.encode()).digest(), client.client_id, scopes)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "scope": " ".join(scopes)}
        return JSONResponse(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

    async def authorise(self, request: Request, scope: str | None, *, writes_to_people: bool = False) -> Principal:
        """The request's principal; raises Problem unless its token is good and carries the scope. A sender that is held
        back writes to nobody: neither letters nor requests for consent."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise Problem("token_invalid", "send Authorization: Bearer", headers={"WWW-Authenticate": "Bearer"})
        bearer = await self._ports.senders.bearer(sha256(token.strip().encode("latin-1", "replace")).digest())
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        if bearer is None:
            raise Problem("token_invalid", headers=challenge)
        if bearer.expired:
            raise Problem("token_expired", headers=challenge)
        if scope is not None and scope not in bearer.scopes:
            challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
            raise Problem("scope_missing", f"needs the scope {scope}", headers=challenge)
        if (writes_to_people or scope == SUBMITTING) and bearer.barred is not None:
            raise Problem(bearer.barred)
        return Principal(bearer.client_id, bearer.sender, bearer.scopes, bearer.birth_date_demanded)

    async def _client(self, request: Request, form: dict[str, str]) -> Client:
        if "client_assertion" in form:
            return await self._by_assertion(form)
        if not self._secrets_allowed:
            raise OAuthRefused("invalid_client", "this installation takes private_key_jwt only")
        client_id, secret = _basic(request) or (form.get("client_id", ""), form.get("client_secret", ""))
        client = await self._ports.senders.client(client_id[:64])
        secret_sha256 = client.secret_sha256 if client is not None and client.secret_sha256 is not None else bytes(32)
        right = hmac.compare_digest(
            sha256(secret.encode()).digest(), secret_sha256
        )  # also for an unknown client: same time
        if client is None or not right:
            raise OAuthRefused("invalid_client", "unknown client or wrong secret")
        return client

    async def _by_assertion(self, form: dict[str, str]) -> Client:
        """RFC 7523 section 3, in the order of its numbered rules."""
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise OAuthRefused("invalid_client", f"client_assertion_type must be {ASSERTION_TYPE}")
        assertion = form["client_assertion"]
        client = await self._ports.senders.client(_claimed_client(assertion)[:64])
        if client is None or client.public_jwk is None:
            raise OAuthRefused("invalid_client", "unknown client or wrong key")
        claims = _verified_claims(assertion, client)
        expires_at = self._check_claims(claims, client.client_id)
        if not await self._ports.senders.use_assertion(client.client_id, str(claims["jti"]), expires_at):
            raise OAuthRefused("invalid_client", "this jti was used before; make a new assertion each time")
        return client

    def _check_claims(self, claims: dict[str, Any], client_id: str) -> datetime:
        now = self._ports.clock.now()
        if claims.get("iss") != client_id or claims.get("sub") != client_id:  # rules 1 and 2
            raise OAuthRefused("invalid_client", "iss and sub must both be the client_id")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not any(name in (self._token_url, self._issuer) for name in audiences):  # rule 3
            raise OAuthRefused("invalid_client", f"aud must be {self._token_url}")
        expires_at = _time(claims, "exp")  # rule 4
        if expires_at is None or expires_at <= now:
            raise OAuthRefused("invalid_client", "the assertion has expired, or has no exp")
        if expires_at > now + timedelta(seconds=ASSERTION_SECONDS_MAX + ASSERTION_SKEW_SECONDS):
            raise OAuthRefused("invalid_client", f"exp must be at most {ASSERTION_SECONDS_MAX} s ahead")
        for name in ("nbf", "iat"):  # rules 5 and 6
            begins_at = _time(claims, name)
            if begins_at is not None and begins_at > now + timedelta(seconds=ASSERTION_SKEW_SECONDS):
                raise OAuthRefused("invalid_client", f"{name} is in the future")
        jti = claims.get("jti")  # rule 7; here required
        if not isinstance(jti, str) or not 1 <= len(jti) <= JTI_CHARACTERS_MAX or "\x00" in jti:
            raise OAuthRefused("invalid_client", f"jti must be a text of 1 to {JTI_CHARACTERS_MAX} characters")
        return expires_at


def _form(request: Request, body: bytes) -> dict[str, str]:
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/x-www-form-urlencoded":
        raise OAuthRefused("invalid_request", "send application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise OAuthRefused("invalid_request", "the body is not a form") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthRefused("invalid_request", "a parameter is there twice")  # RFC 6749 3.2
    return form


def _basic(request: Request) -> tuple[str, str] | None:
    """RFC 6749 2.3.1: both halves are form-encoded before base64."""
    kind, _, encoded = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, colon, secret = b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except ValueError as error:  # base64 of no ASCII too, and a text that is no UTF-8
        raise OAuthRefused("invalid_client", "the Authorization header is not base64 of UTF-8") from error
    if not colon:
        raise OAuthRefused("invalid_client", "the Authorization header has no colon")
    return unquote_plus(client_id), unquote_plus(secret)


def _claimed_client(assertion: str) -> str:
    """Whom the assertion names; nothing is believed before the signature is checked with that client's key. What is
    read here is read in bounds, and in one way only: whoever reads the same bytes again meets nothing that was not seen
    here."""
    try:
        claims = bounded_json.read_json(jws.extract_compact(assertion.encode()).payload)
    except ASSERTION_FAULTS as error:
        raise OAuthRefused("invalid_client", "the assertion is not a signed JWT") from error
    subject = claims.get("sub") if isinstance(claims, dict) else None
    if not isinstance(subject, str) or "\x00" in subject:
        raise OAuthRefused("invalid_client", "the assertion has no sub")
    return subject


def _verified_claims(assertion: str, client: Client) -> dict[str, Any]:
    try:
        key = import_key(cast("dict[str, Any]", dict(client.public_jwk or {})))
        if not isinstance(key, ECKey | RSAKey | OKPKey):  # a symmetric key registered by mistake signs for everybody
            raise OAuthRefused("invalid_client", "unknown client or wrong key")
        return jwt.decode(assertion, key, algorithms=ASSERTION_ALGORITHMS).claims
    except ASSERTION_FAULTS as error:
        raise OAuthRefused("invalid_client", "unknown client or wrong key") from error


def _time(claims: dict[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**33:
        raise OAuthRefused("invalid_client", f"{name} must be a number of seconds")
    return datetime.fromtimestamp(value, UTC)


def _granted(client: Client, scope: str) -> list[str]:
    """All the client may have, or the part it asked for."""
    if not scope:
        return sorted(client.scopes)
    scopes = set(scope.split(" "))
    if not scopes <= client.scopes:
        raise OAuthRefused("invalid_scope", f"this client may ask for: {' '.join(sorted(client.scopes))}")
    return sorted(scopes)


def _error(refused: OAuthRefused) -> Response:
    body = {"error": refused.error, "error_description": refused.description}
    if refused.error != "invalid_client":
        return JSONResponse(body, 400, {"Cache-Control": "no-store"})
    headers = {"Cache-Control": "no-store", "WWW-Authenticate": 'Basic realm="token"'}
    return JSONResponse({**body, "code": "client_unknown"}, 401, headers)
