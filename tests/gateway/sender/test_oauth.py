"""Tokens: who gets one, and what a wrong, expired or forged proof gets."""

import hmac
import json
from base64 import b64encode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from msgspec.structs import replace

from gateway.sender.oauth import FAILURES_COUNT
from tests.gateway.sender.conftest import PUBLIC_URL, SECRET, World, problem

pytestmark = pytest.mark.anyio

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT = {"grant_type": "client_credentials"}


def refused(answer: httpx.Response, status: int = 401, error: str = "invalid_client") -> None:
    """An OAuth2 error and no token."""
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] == error
    assert answer.json()["error_description"]
    assert "access_token" not in answer.json()


async def test_a_secret_in_either_place(world: World) -> None:
    """client_secret_post and client_secret_basic both give a token for ten minutes, with all scopes or some."""
    client = world.anonymous()
    posted = await client.post("/oauth2/token", data={**GRANT, "client_id": "demo", "client_secret": SECRET})
    assert posted.json()["token_type"] == "Bearer"
    assert posted.json()["expires_in"] == 600
    assert posted.headers["cache-control"] == "no-store"
    basic = {"Authorization": "Basic " + b64encode(b"demo:a+demo+secret").decode()}
    answer = await client.post("/oauth2/token", data={**GRANT, "scope": "evidence:read"}, headers=basic)
    assert answer.json()["scope"] == "evidence:read"


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({**GRANT, "client_id": "demo", "client_secret": "wrong"}, 401, "invalid_client"),
        ({**GRANT, "client_id": "nobody", "client_secret": SECRET}, 401, "invalid_client"),
        ({**GRANT}, 401, "invalid_client"),
        ({"grant_type": "password", "client_id": "demo", "client_secret": SECRET}, 400, "unsupported_grant_type"),
        ({**GRANT, "client_id": "demo", "client_secret": SECRET, "scope": "everything"}, 400, "invalid_scope"),
        ({**GRANT, "client_assertion": "a.b.c", "client_assertion_type": ASSERTION_TYPE}, 401, "invalid_client"),
        ({**GRANT, "client_assertion": "a.b.c"}, 401, "invalid_client"),
    ],
)
async def test_wrong_proofs_get_no_token(world: World, form: dict[str, str], status: int, error: str) -> None:
    """A wrong secret, an unknown client, another grant, an unknown scope: an OAuth2 error."""
    refused(await world.anonymous().post("/oauth2/token", data=form), status, error)
    assert world.count("qerds.access_token") == 0


async def test_bodies_that_are_no_form(world: World) -> None:
    """JSON, bytes that are no UTF-8, a repeated parameter, an oversized form: refused."""
    client = world.anonymous()
    refused(await client.post("/oauth2/token", json=GRANT), 400, "invalid_request")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    refused(await client.post("/oauth2/token", content=b"a=%ff", headers=form), 400, "invalid_request")
    twice = b"grant_type=client_credentials&grant_type=client_credentials"
    refused(await client.post("/oauth2/token", content=twice, headers=form), 400, "invalid_request")
    problem(await client.post("/oauth2/token", content=b"a=" + b"b" * 20_000, headers=form), 413, "body_too_large")


async def test_no_secrets_outside_an_embedded_installation(world: World) -> None:
    """Where the installation is not embedded a right secret is no proof, and the metadata does not offer it."""
    world.parts.config = replace(world.parts.config, embedded=False)
    client = world.anonymous()
    refused(await client.post("/oauth2/token", data={**GRANT, "client_id": "demo", "client_secret": SECRET}))
    metadata = (await client.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]


# ------------------------------------------------------------------ private_key_jwt
@pytest.fixture
def key(world: World) -> ECKey:
    made = ECKey.generate_key("P-256")
    world.add_sender("signer", made.as_dict(private=False))
    return made


def claims(world: World, **changes: Any) -> dict[str, Any]:
    now = int(world.parts.clock.now().timestamp())
    right = {
        "iss": "signer",
        "sub": "signer",
        "aud": f"{PUBLIC_URL}/oauth2/token",
        "exp": now + 200,
        "iat": now,
        "jti": "j1",
    }
    return {name: value for name, value in {**right, **changes}.items() if value is not None}


async def ask(world: World, assertion: str) -> httpx.Response:
    form = {**GRANT, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    return await world.anonymous().post("/oauth2/token", data=form)


async def test_a_signed_assertion_is_good_once(world: World, key: ECKey) -> None:
    """The first use gives a token, the second none: a copied assertion is worthless."""
    assertion = jwt.encode({"alg": "ES256"}, claims(world), key)
    answer = await ask(world, assertion)
    assert answer.status_code == 200, answer.text
    refused(await ask(world, assertion))
    world.parts.config = replace(world.parts.config, embedded=False)  # this proof is for production too
    assert (await ask(world, jwt.encode({"alg": "ES256"}, claims(world, jti="j2"), key))).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"sub": "demo"},
        {"sub": "nobody"},
        {"sub": 5},
        {"aud": "https://elsewhere.test/token"},
        {"aud": None},
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"exp": 2**40},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 129},
        {"jti": 7},
        {"iat": 2**32},
        {"nbf": 2**32},
    ],
)
async def test_assertions_with_a_wrong_claim(world: World, key: ECKey, changes: dict[str, Any]) -> None:
    """Each rule of RFC 7523 section 3 refuses on its own."""
    refused(await ask(world, jwt.encode({"alg": "ES256"}, claims(world, **changes), key)))


async def test_an_assertion_lives_five_minutes(world: World, key: ECKey) -> None:
    """An assertion that would live longer is refused, as is one whose time is over."""
    now = int(world.parts.clock.now().timestamp())
    refused(await ask(world, jwt.encode({"alg": "ES256"}, claims(world, exp=now + 361), key)))
    fresh = jwt.encode({"alg": "ES256"}, claims(world, exp=now + 300), key)
    world.parts.clock.moment += timedelta(seconds=301)
    refused(await ask(world, fresh))


async def test_forged_assertions(world: World, key: ECKey) -> None:
    """alg none, another key, HMAC with the public key, a cut signature: no token."""
    header = urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    body = urlsafe_b64encode(json.dumps(claims(world)).encode()).rstrip(b"=").decode()
    refused(await ask(world, f"{header}.{body}."))
    refused(await ask(world, jwt.encode({"alg": "ES256"}, claims(world), ECKey.generate_key("P-256"))))
    symmetric = urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=").decode()
    confused = f"{symmetric}.{body}"
    mac = hmac.digest(key.as_pem(private=False), confused.encode(), "sha256")
    refused(await ask(world, f"{confused}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"))
    refused(await ask(world, jwt.encode({"alg": "ES256"}, claims(world), key)[:-4]))


async def test_a_client_without_a_key_cannot_sign(world: World, key: ECKey) -> None:
    """A client registered with a secret alone gets nothing for a signature."""
    refused(await ask(world, jwt.encode({"alg": "ES256"}, claims(world, iss="demo", sub="demo"), key)))


# ------------------------------------------------------------------ bearer tokens
async def test_tokens_that_do_not_open(world: World) -> None:
    """None, another kind, unknown, expired, of a revoked client: token_invalid or token_expired with a challenge."""
    client = world.anonymous()
    for header in ({}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer "}, {"Authorization": "Bearer nope"}):
        answer = await client.get("/v1/me", headers=header)
        problem(answer, 401, "token_invalid")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    sender = await world.sender()
    world.psql("UPDATE qerds.access_token SET expires_at = now() - interval '1 s'")
    problem(await sender.get("/v1/me"), 401, "token_expired")
    other = await world.sender("other")
    world.psql("UPDATE qerds.sender_client SET revoked_at = now() WHERE client_id = 'other'")
    problem(await other.get("/v1/me"), 401, "token_invalid")


async def test_scopes(world: World) -> None:
    """A token without the scope gets 403 naming the scope, and nothing else."""
    client = world.anonymous()
    form = {**GRANT, "client_id": "demo", "client_secret": SECRET, "scope": "evidence:read"}
    token = (await client.post("/oauth2/token", data=form)).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    for method, path, scope in [
        ("POST", "/v1/uploads", "deliveries:write"),
        ("POST", "/v1/deliveries", "deliveries:write"),
        ("POST", "/v1/deliveries/validate", "deliveries:write"),
        ("GET", "/v1/deliveries", "deliveries:read"),
        ("GET", "/v1/deliveries/x", "deliveries:read"),
        ("PUT", "/v1/consents/x", "consents:write"),
        ("GET", "/v1/consents/x", "consents:write"),
        ("POST", "/v1/consents/x/withdraw", "consents:write"),
    ]:
        answer = await client.request(method, path)
        problem(answer, 403, "scope_missing")
        assert scope in answer.json()["detail"]


@pytest.mark.parametrize(
    ("held", "status", "code"),
    [
        ("INSERT INTO outbox.pause (scope, subject, reason) VALUES ('intake', '', 'r')", 503, "unavailable"),
        (
            "INSERT INTO outbox.pause (scope, subject, reason) SELECT 'sender', s.id::text, 'r' FROM qerds.sender s",
            403,
            "sender_suspended",
        ),
        ("UPDATE qerds.sender SET identity_valid_until = now()", 403, "sender_identity_expired"),
        ("UPDATE qerds.sender SET window_until = now()", 403, "sealing_window_closed"),
    ],
)
async def test_a_sender_that_is_held_back_submits_nothing_and_reads_on(
    world: World, held: str, status: int, code: str
) -> None:
    """A clear no, and nothing stored; its letters and proofs are its own all the same."""
    client = await world.sender()
    world.psql(held)
    for path in ("/v1/uploads", "/v1/deliveries", "/v1/deliveries/validate"):
        problem(await client.post(path), status, code)
    assert (await client.get("/v1/deliveries")).status_code == 200
    assert world.count("qerds.upload") == 0


async def test_only_the_digest_of_a_token_is_kept(world: World) -> None:
    """Who reads the database gets no token out of it; what ran out an hour ago is forgotten."""
    sender = await world.sender()
    token = sender.headers["Authorization"].removeprefix("Bearer ")
    assert token not in world.psql("SELECT t::text FROM qerds.access_token t")
    world.psql("UPDATE qerds.access_token SET expires_at = now() - interval '2 hours'")
    await world.parts.senders.forget_expired()
    assert world.count("qerds.access_token") == 0


async def test_a_client_id_that_no_database_holds_is_unknown(world: World) -> None:
    """A NUL byte is a wrong name, not a fault of ours."""
    form = {"grant_type": "client_credentials", "client_id": "demo\x00", "client_secret": SECRET}
    answer = await world.anonymous().post("/oauth2/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_whoever_guesses_waits(world: World) -> None:
    """Failures are counted by prefix of addresses and told; beyond them not even a right secret is looked at there."""
    client, elsewhere = world.anonymous(), "198.51.100.7"
    wrong = {**GRANT, "client_id": "demo", "client_secret": "wrong"}
    for left in range(FAILURES_COUNT - 1, -1, -1):
        answer = await client.post("/oauth2/token", data=wrong)
        refused(answer)
        assert f'"client-failures";r={left};' in answer.headers["ratelimit"]
    right = {**GRANT, "client_id": "demo", "client_secret": SECRET}
    for form in (wrong, right):
        answer = await client.post("/oauth2/token", data=form, headers={"X-Forwarded-For": elsewhere})
        problem(answer, 429, "rate_limited")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    gateway = replace(world.parts.config.gateway, proxies=("127.0.0.1",))
    world.parts.config = replace(world.parts.config, gateway=gateway)
    client = world.anonymous()
    for _ in range(FAILURES_COUNT + 1):
        await client.post("/oauth2/token", data=wrong)
    assert (await client.post("/oauth2/token", data=right)).status_code == 429
    assert (await client.post("/oauth2/token", data=right, headers={"X-Forwarded-For": elsewhere})).status_code == 200
