"""A provider of another make than FranceConnect+: discovery, PKCE, RS256, nothing encrypted, no userinfo.

Owns     its four addresses; it signs in whoever it is told to, at once
Rules    strict where its own protocol is: an unknown code, a second use, a wrong verifier or secret is refused
"""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.bridge_process import CLIENT_ID, SECOND_ISSUER
from tests.fakes.identity import second_signed, second_values


@dataclass(slots=True)
class OidcPeer:
    """claims: what the next ID token says beside the usual; asked: the queries that came to the front door."""

    secret: str
    claims: Mapping[str, object] = field(default_factory=dict)
    asked: list[Mapping[str, str]] = field(default_factory=list)
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/sign-in", self._sign_in),
                Route("/redeem", self._redeem, methods=["POST"]),
            ]
        )

    async def _discovery(self, _request: Request) -> Response:
        endpoints = {"authorization_endpoint": f"{SECOND_ISSUER}/sign-in", "token_endpoint": f"{SECOND_ISSUER}/redeem"}
        return JSONResponse({"issuer": SECOND_ISSUER, "jwks_uri": f"{SECOND_ISSUER}/keys", **endpoints})

    async def _sign_in(self, request: Request) -> Response:
        query = dict(request.query_params)
        self.asked.append(query)
        code = secrets.token_hex(8)
        self.codes[code] = query
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}", 303)

    async def _redeem(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        query = self.codes.pop(form["code"], None)
        challenge = urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        if query is None or query["code_challenge"] != challenge.decode() or query["code_challenge_method"] != "S256":
            return JSONResponse({"error": "invalid_grant"}, 400)
        if (form["client_id"], form["client_secret"]) != (CLIENT_ID, self.secret):
            return JSONResponse({"error": "invalid_client"}, 401)
        values = second_values(query["nonce"], datetime.now(UTC)) | dict(self.claims)
        return JSONResponse({"id_token": second_signed(values), "access_token": "unused", "token_type": "Bearer"})
