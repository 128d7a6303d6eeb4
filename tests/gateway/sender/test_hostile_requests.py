"""Requests of strangers and of senders who mean ill: every address, every place of a request, odd values in each.

Rules    an answer is below 500, or says that something is away; nothing is recorded as an error of ours
"""

import random
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from gateway.addresses import Address
from gateway.sender import routes
from tests.gateway.sender.conftest import CONSENT, PDF, PUBLIC_URL, SECRET, World, content_digest, uploaded_letter
from tests.worlds.hostile import RAW_BODIES, TEXTS, VALUES, Elsewhere, bent, in_address, in_header, json_bytes, rounds

SEED = 20260313
ROUNDS = 400
HEADERS = (
    "Authorization", "Content-Type", "Content-Digest", "Content-Disposition", "Idempotency-Key", "Range", "If-Range",
    "If-None-Match", "Accept", "Accept-Language", "Cookie", "traceparent", "Qerds-Version", "X-Forwarded-For", "Origin",
)  # fmt: skip
TYPES = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/csv",
         "application/x-ndjson", "multipart/form-data", "a/b; c=\xff")  # fmt: skip
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

pytestmark = pytest.mark.anyio


def anonymous(world: World) -> httpx.AsyncClient:
    """Somebody, at another address each time."""
    transport = httpx.ASGITransport(Elsewhere(world.application().app))
    return httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL)


async def sender(world: World) -> httpx.AsyncClient:
    """A client with a token, likewise."""
    client = anonymous(world)
    client.headers["Authorization"] = (await world.sender()).headers["Authorization"]
    return client


def held_up(world: World, answer: httpx.Response, name: str) -> None:
    """No fault of ours."""
    assert answer.status_code < 500 or answer.status_code == 503, (name, answer.request.url, answer.text)
    assert world.log == [], (name, answer.request.url, world.log)


def bodies(letter: dict[str, Any], batch: str) -> Mapping[tuple[str, str], Any]:
    """A good body of every address that takes JSON."""
    line = {"recipient": letter["recipient"], "documents": letter["documents"], "client_ref": "r-1"}
    request = {key: CONSENT[key] for key in ("email", "given_names", "birth_name")} | {"ref": "c-2", "language": "fr"}
    announced = {"file_name": "a.pdf", "content_type": "application/pdf", "bytes": len(PDF), "sha256": "ab" * 32}
    return {
        ("POST", "/v1/deliveries"): letter | {"client_ref": "r-2", "metadata": {"a": "b"}},
        ("POST", "/v1/deliveries/validate"): letter,
        ("POST", "/v1/uploads"): announced,
        ("POST", "/v1/batches"): {"name": "b", "format": "ndjson", "defaults": line},
        ("POST", f"/v1/batches/{batch}/submit"): {"parts": 1, "sha256": "ab" * 32},
        ("POST", "/v1/exports"): {"kinds": ["package"], "from": "2026-01-01", "to": "2026-02-01"},
        ("POST", "/v1/webhooks"): {"url": "https://example.org/a", "types": ["delivery.accepted"]},
        ("PUT", "/v1/consents/c-1"): CONSENT,
        ("POST", "/v1/consents/requests"): request,
        ("POST", "/v1/sandbox/clock"): {"advance": "P1D"},
    }


def addresses(world: World) -> list[Address]:
    return [row for row in routes.routes(world.parts) if isinstance(row, Address)]


def path_of(row: Address, dice: random.Random, name: str = "") -> str:
    """With something odd, or a name that may be right, in each of its places."""
    segments = row.path.split("/")
    for index, segment in enumerate(segments):
        if segment.startswith("{"):
            odd = in_address(dice.choice(TEXTS)) or "x"
            segments[index] = dice.choice([odd, name or odd])
    return "/".join(segments)


async def test_no_body_of_json_is_a_fault(world: World) -> None:
    """Good bodies with a few things in them changed, and bodies that are none."""
    client = await sender(world)
    letter = await uploaded_letter(client)
    batch = (await client.post("/v1/batches", json={"name": "b", "format": "ndjson"})).json()["id"]
    good = bodies(letter, batch)
    for (method, path), body in good.items():
        answer = await client.request(method, path, json=body)
        held_up(world, answer, "good")
        for raw in RAW_BODIES:
            sent = await client.request(method, path, content=raw, headers={"Content-Type": "application/json"})
            held_up(world, sent, "raw")
    for name, dice in rounds(ROUNDS, SEED):
        (method, path), body = dice.choice([*good.items()])
        content = json_bytes(bent(body, dice))
        sent = await client.request(method, path, content=content, headers={"Content-Type": "application/json"})
        held_up(world, sent, f"{name}: {content[:300]!r}")


async def test_no_address_query_or_header_is_a_fault(world: World) -> None:
    """Every row of the table: odd names in the path, parameters, headers and bodies; with a token or without."""
    known, anybody = await sender(world), anonymous(world)
    table = addresses(world)
    batch = (await known.post("/v1/batches", json={"name": "b", "format": "ndjson"})).json()["id"]
    upload = (await uploaded_letter(known))["documents"][0]["upload_id"]
    parameters = ("after", "types", "wait", "limit", "cursor", "part", "format", "state", "changed_after", "lang",
                  "client_ref", "submitted_after", "delivery_id", "status", "\ud800")  # fmt: skip
    for name, dice in rounds(ROUNDS, SEED):
        row = dice.choice(table)
        path = path_of(row, dice, dice.choice([batch, upload]))
        values = [(dice.choice(parameters), dice.choice(TEXTS)) for _ in range(dice.randint(0, 3))]
        query = "&".join(
            f"{in_address(key)}={in_address(value)}" for key, value in values if (key, value) != ("wait", "0")
        )
        headers = {
            header.encode(): in_header(dice.choice(TEXTS))
            for header in HEADERS
            if header != "Authorization" and not dice.randrange(4)
        }
        if dice.randrange(2):
            headers[b"Content-Type"] = in_header(dice.choice(TYPES))
        body = dice.choice(RAW_BODIES) if row.body_bytes_max else b""
        if body and dice.randrange(2):
            headers[b"Content-Digest"] = content_digest(body).encode()
        client = dice.choice([known, anybody])
        if client is anybody and dice.randrange(2):
            headers[b"Authorization"] = dice.choice([b"Bearer ", b"Basic ", b"bearer\t", b"x "]) + in_header(
                dice.choice(TEXTS)
            )
        request = client.build_request(row.method, f"{path}?{query}", headers=headers, content=body)
        held_up(world, await client.send(request), f"{name}: {row.method} {path}?{query} {headers}"[:2000])


async def test_no_claim_of_an_assertion_is_a_fault(world: World) -> None:
    """Signed by the right key, by another one, or not at all: whatever its header and claims are, it gets no token."""
    key, other = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    world.add_sender("signer", key.as_dict(private=False))
    client = anonymous(world)
    now = int(world.parts.clock.now().timestamp())
    right = {"iss": "signer", "sub": "signer", "aud": "http://gateway.test/oauth2/token", "exp": now + 200, "jti": "j"}
    for name, dice in rounds(ROUNDS, SEED):
        claims = {**right, dice.choice([*right, "nbf", "iat", "x"]): dice.choice(VALUES)}
        if dice.randrange(2):
            claims = bent(right, dice)
        payload = dice.choice(RAW_BODIES) if not dice.randrange(10) else json_bytes(claims)
        header = {"alg": "ES256"} | ({dice.choice(["typ", "kid", "cty"]): "a"} if dice.randrange(2) else {})
        signer = dice.choice([key, key, other])
        assertion = jws.serialize_compact(header, payload, signer)
        if not dice.randrange(3):
            parts = assertion.split(".")
            parts[dice.randrange(3)] = dice.choice([
                jws.serialize_compact({"alg": "ES256"}, json_bytes(dice.choice(VALUES)), key).split(".")[1],
                "", "a", "=", "\u00e9", "9" * 100,
            ])  # fmt: skip
            assertion = ".".join(parts)
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        answer = await client.post("/oauth2/token", data=form)
        held_up(world, answer, f"{name}: {payload[:300]!r}")
        assert answer.status_code in (200, 400, 401, 413), (name, answer.text)
        assert answer.status_code != 200 or signer is key, name


async def test_no_form_of_the_token_endpoint_is_a_fault(world: World) -> None:
    """Odd fields, secrets, Basic headers and bodies."""
    client = anonymous(world)
    fields = ("grant_type", "client_id", "client_secret", "scope", "client_assertion", "client_assertion_type", "\x00")
    right = {"grant_type": "client_credentials", "client_id": "demo", "client_secret": SECRET}
    for name, dice in rounds(ROUNDS // 2, SEED):
        pairs = [*right.items(), *((dice.choice(fields), dice.choice(TEXTS)) for _ in range(dice.randint(1, 3)))]
        dice.shuffle(pairs)
        body = "&".join(f"{in_address(key)}={in_address(value)}" for key, value in pairs).encode()
        headers = {b"Content-Type": b"application/x-www-form-urlencoded"}
        if dice.randrange(2):
            headers[b"Authorization"] = b"Basic " + in_header(dice.choice(TEXTS))
        answer = await client.post(
            "/oauth2/token", content=dice.choice([body, dice.choice(RAW_BODIES)]), headers=headers
        )
        held_up(world, answer, f"{name}: {body[:300]!r}")


async def test_no_proof_to_be_checked_is_a_fault(world: World) -> None:
    """Bodies of /v1/verify: parts that are none, names and digests that are none, proofs that are none."""
    client = anonymous(world)
    world.parts.keys.anchor = b"\x30\x00"
    for name, dice in rounds(ROUNDS // 4, SEED):
        files = [("proof", (dice.choice(TEXTS[5:40]).encode("utf-8", "replace").decode(), dice.choice(RAW_BODIES)))]
        if dice.randrange(2):
            files.append((dice.choice(["content", "proof", "x"]), ("a", b"b")))
        data = {dice.choice(["content_sha256", "content", "y"]): dice.choice(TEXTS).encode("utf-8", "replace").decode()}
        answer = await client.post("/v1/verify", files=files, data=data)
        held_up(world, answer, name)
