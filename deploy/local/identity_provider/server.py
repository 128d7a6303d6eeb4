"""The provider's endpoints and its two pages: who are you, and this request cannot be answered.

Owns     /authorize, /interaction, /token, /userinfo, /jwks and discovery, on loopback
Rules    no script is needed: the picker is one HTML form, so a program walks it like a person
Elsewhere: what tokens look like (tokens.py), what a request must look like (authorization.py)
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from deploy.local.identity_provider import attacks
from deploy.local.identity_provider.authorization import LEVELS, SCOPES, RequestRefused, parse
from deploy.local.identity_provider.grants import Grants, SignInRequest
from deploy.local.identity_provider.people import PEOPLE, Person
from deploy.local.identity_provider.tokens import TOKEN_SECONDS, Grant, TokenIssuer

FORM_BYTES_MAX = 8192
FIELDS_MAX = 20
NAME_CHARACTERS_MAX = 200
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
NO_STORE = {"Cache-Control": "no-store"}

RecipientKey = Callable[[], Awaitable[ECKey]]


class StandInProvider:
    """One provider, one relying party."""

    def __init__(
        self,
        issuer: TokenIssuer,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        recipient_key: RecipientKey,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._recipient_key = recipient_key
        self._now = now
        self._grants = Grants(now)
        loader = PackageLoader("deploy.local.identity_provider", "pages")
        self._pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)

    def app(self) -> Starlette:
        """The application to serve."""
        return Starlette(
            routes=[
                Route("/authorize", self._authorize, methods=["GET", "POST"]),
                Route("/interaction", self._interaction, methods=["POST"]),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo, methods=["GET"]),
                Route("/jwks", self._jwks),
                Route("/style.css", self._style),
                Route("/.well-known/openid-configuration", self._discovery),
            ]
        )

    async def _authorize(self, request: Request) -> Response:
        pairs = request.query_params.multi_items() if request.method == "GET" else await _form(request)
        try:
            sign_in = parse(pairs, self._client_id, self._redirect_uri)
        except RequestRefused as error:
            return self._refuse(str(error))
        return self._pick(sign_in)

    async def _interaction(self, request: Request) -> Response:
        form = dict(await _form(request))
        sign_in = self._grants.interactions.take(form.get("interaction", ""))
        if sign_in is None:
            return self._refuse("this sign-in is over; go back to the service and start again")
        try:
            grant = self._granted(sign_in, form)
        except ValueError as error:
            return self._refuse(str(error))
        answer = {"state": sign_in.state, "iss": self._issuer.name}
        if grant.attack == "access_denied":
            answer |= {"error": "access_denied", "error_description": "User auth aborted"}
        else:
            answer |= {"code": self._grants.code(grant)}
        return RedirectResponse(f"{sign_in.redirect_uri}?{urlencode(answer)}", 303, NO_STORE)

    async def _token(self, request: Request) -> Response:
        form = dict(await _form(request))
        secret_fits = secrets.compare_digest(form.get("client_secret", "").encode(), self._client_secret.encode())
        if form.get("client_id") != self._client_id or not secret_fits:
            return _error("invalid_client", 401)
        if form.get("grant_type") != "authorization_code" or form.get("redirect_uri") != self._redirect_uri:
            return _error("invalid_request", 400)
        redeemed = self._grants.redeem(form.get("code", ""))
        if redeemed is None:
            return _error("invalid_grant", 400)
        grant, access_token = redeemed
        id_token = self._issuer.id_token(grant, access_token, await self._recipient_key(), int(self._now()))
        answer = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "id_token": id_token,
        }
        return JSONResponse(answer, headers=NO_STORE)

    async def _userinfo(self, request: Request) -> Response:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        grant = self._grants.holder(token) if kind.lower() == "bearer" else None
        if grant is None:
            return _error("invalid_token", 401)
        if grant.attack == "no_userinfo":
            return _error("temporarily_unavailable", 503)
        answer = self._issuer.userinfo(grant, await self._recipient_key(), int(self._now()))
        return Response(answer, media_type="application/jwt", headers=NO_STORE)

    async def _jwks(self, request: Request) -> Response:
        return JSONResponse({"keys": [self._issuer.key.as_dict(private=False)]})

    async def _style(self, request: Request) -> Response:
        return Response(self._pages.get_template("style.css").render(), media_type="text/css")

    async def _discovery(self, request: Request) -> Response:
        issuer = self._issuer.name
        return JSONResponse(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "jwks_uri": f"{issuer}/jwks",
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "scopes_supported": sorted(SCOPES),
                "acr_values_supported": list(LEVELS),
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "id_token_encryption_alg_values_supported": ["ECDH-ES"],
                "id_token_encryption_enc_values_supported": ["A256GCM"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    def _pick(self, sign_in: SignInRequest) -> Response:
        page = self._pages.get_template("picker.html").render(
            interaction=self._grants.interactions.add(sign_in),
            people=PEOPLE,
            levels=LEVELS,
            acr=sign_in.acr,
            attacks=attacks.EXPLAINED,
        )
        # The last hop of the form leads back to the relying party, which form-action has to name.
        relying_party = "/".join(sign_in.redirect_uri.split("/")[:3])
        policy = f"{PAGE_HEADERS['Content-Security-Policy']}; form-action 'self' {relying_party}"
        return HTMLResponse(page, headers=PAGE_HEADERS | {"Content-Security-Policy": policy})

    def _refuse(self, why: str) -> Response:
        page = self._pages.get_template("refused.html").render(why=why)
        return HTMLResponse(page, 400, PAGE_HEADERS)

    def _granted(self, sign_in: SignInRequest, form: dict[str, str]) -> Grant:
        level = form.get("acr", sign_in.acr)
        if level not in LEVELS:
            raise ValueError("unknown level")
        return Grant(
            person=_picked(form),
            client_id=sign_in.client_id,
            redirect_uri=sign_in.redirect_uri,
            nonce=sign_in.nonce,
            acr=level,
            scopes=sign_in.scopes,
            auth_time=int(self._now()),
            attack=attacks.parse(form.get("attack", "none")),
        )


def _picked(form: dict[str, str]) -> Person:
    """One of the listed persons, or whoever the free form describes; raises ValueError."""
    if (listed := PEOPLE.get(form.get("person", ""))) is not None:
        return listed
    given, birth = form.get("given_name", "").strip(), form.get("family_name", "").strip()
    if form.get("person") != "other" or not given or not birth:
        raise ValueError("pick a person, or give at least first names and birth name")
    person = Person(given, birth.upper(), form.get("birthdate") or "1970-01-01")
    person = replace(person, usage_name=form.get("preferred_username", "").strip())
    if any(len(text) > NAME_CHARACTERS_MAX for text in (given, birth, person.usage_name, person.birth_date)):
        raise ValueError("a name is too long")
    return person


async def _form(request: Request) -> list[tuple[str, str]]:
    """A urlencoded body, bounded."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            return []
    try:
        return parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        return []


def _error(code: str, status: int) -> Response:
    return JSONResponse({"error": code}, status, NO_STORE)
