"""Proofs of batches and exports over the API: asked for once, told when they are there, given whole or in ranges."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from pipeline.client.api import QerdsClient
from tests.gateway.sender.conftest import PUBLIC_URL, SECRET, World, problem

pytestmark = pytest.mark.anyio
BATCH = "018f0000-0000-7000-8000-000000000001"
PROOF = b"PK a proof of deposit"
PART = b"PK a part of an export"
OBJECTS = ("00112233445566778899aabbccddeeff", "ff112233445566778899aabbccddeeff")


async def stream(content: bytes) -> AsyncIterator[bytes]:
    yield content


def plant_batch(world: World, state: str, client_id: str = "demo") -> None:
    world.psql(
        "INSERT INTO qerds.batch (id, sender, name, format, state, parts, lines, expires_at, submitted_at) "
        f"SELECT '{BATCH}', sender, 'March', 'ndjson', '{state}', 1, 1, 'infinity', now() "
        f"FROM qerds.sender_client WHERE client_id = '{client_id}'"
    )


async def plant_proof(world: World) -> None:
    await world.parts.objects.put(OBJECTS[0], stream(PROOF))
    world.psql(
        "INSERT INTO qerds.batch_proof (batch, object, bytes, sha256, lines) VALUES "
        f"('{BATCH}', '{OBJECTS[0]}', {len(PROOF)}, '\\x{sha256(PROOF).hexdigest()}', 1)"
    )


async def plant_step(world: World, export: str, step: int, *, is_last: bool, content: bytes | None) -> None:
    values = "NULL, NULL, NULL"
    if content is not None:
        await world.parts.objects.put(OBJECTS[step - 1], stream(content))
        values = f"'{OBJECTS[step - 1]}', {len(content)}, '\\x{sha256(content).hexdigest()}'"
    world.psql(
        "INSERT INTO qerds.export_step (export, step, cursor, is_last, deliveries, object, bytes, sha256) VALUES "
        f"('{export}', {step}, 'x', {is_last}, {0 if content is None else 3}, {values})"
    )


async def ordered(client: httpx.AsyncClient, body: dict[str, Any], key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post("/v1/exports", json=body, headers=headers)


async def test_a_proof_is_asked_for_once_and_given_when_it_is_there(world: World) -> None:
    """404 not_yet with Retry-After while it is made, one message however often it is asked; then the file."""
    plant_batch(world, "completed")
    client = await world.sender()
    for _ in range(3):
        answer = await client.get(f"/v1/batches/{BATCH}/proof")
        problem(answer, 404, "not_yet")
        assert answer.headers["retry-after"] == "2"
    assert world.psql("SELECT kind, lane, subject FROM outbox.archive").split() == [f"batch_proof|2|{BATCH}"]
    await plant_proof(world)
    answer = await client.get(f"/v1/batches/{BATCH}/proof")
    assert (answer.status_code, answer.content) == (200, PROOF)
    assert answer.headers["etag"] == f'"{sha256(PROOF).hexdigest()}"'
    part = await client.get(f"/v1/batches/{BATCH}/proof", headers={"Range": "bytes=0-1"})
    assert (part.status_code, part.content) == (206, b"PK")


@pytest.mark.parametrize(
    ("state", "code"),
    [("open", "not_yet"), ("submitted", "not_yet"), ("processing", "not_yet"), ("cancelled", "not_found")],
)
async def test_a_batch_that_is_not_completed_has_none(world: World, state: str, code: str) -> None:
    """The problem says in which state it is; nothing is asked for; a cancelled one never gets it."""
    plant_batch(world, state)
    body = problem(await (await world.sender()).get(f"/v1/batches/{BATCH}/proof"), 404, code)
    assert state in body["detail"]
    assert world.count("outbox.archive") == 0


async def test_the_proof_of_another_sender_is_not_there(world: World) -> None:
    """As if there were no such batch, also for what is no id at all."""
    plant_batch(world, "completed", "other")
    client = await world.sender()
    for name in (BATCH, "x"):
        problem(await client.get(f"/v1/batches/{name}/proof"), 404, "not_found")


async def test_an_export_is_ordered_followed_and_taken(world: World) -> None:
    """202 with its message; parts as they are made, each with its digest; ready at the last one."""
    plant_batch(world, "completed")
    client = await world.sender()
    answer = await ordered(client, {"batch_id": BATCH, "kinds": ["package", "evidence"]})
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert (body["state"], body["parts"], body["kinds"]) == ("in_progress", [], ["evidence", "package"])
    assert answer.headers["location"] == f"/v1/exports/{body['id']}"
    assert world.psql("SELECT kind, subject FROM outbox.archive").split() == [f"export|{body['id']}"]

    await plant_step(world, body["id"], 1, is_last=False, content=PART)
    shown = (await client.get(f"/v1/exports/{body['id']}")).json()
    assert (shown["state"], len(shown["parts"])) == ("in_progress", 1)
    await plant_step(world, body["id"], 2, is_last=True, content=None)
    shown = (await client.get(f"/v1/exports/{body['id']}")).json()
    assert shown["state"] == "ready"
    [part] = shown["parts"]
    assert part["url"] == f"{PUBLIC_URL}/v1/exports/{body['id']}/parts/1"
    got = await client.get(part["url"])
    assert (got.content, sha256(got.content).hexdigest(), part["bytes"]) == (PART, part["sha256"], len(PART))
    problem(await client.get(f"/v1/exports/{body['id']}/parts/2"), 404, "not_found")
    other = await world.sender("other")
    problem(await other.get(f"/v1/exports/{body['id']}"), 404, "not_found")
    problem(await other.get("/v1/exports/x"), 404, "not_found")


async def test_an_order_by_time(world: World) -> None:
    """From and to, in any zone; packages when nothing else is said."""
    client = await world.sender()
    order = {"from": "2026-01-01T00:00:00+01:00", "to": "2026-02-01T00:00:00Z"}
    body = (await ordered(client, order)).json()
    assert (body["from"], body["to"]) == ("2025-12-31T23:00:00.000Z", "2026-02-01T00:00:00.000Z")
    assert body["kinds"] == ["package"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/batch_id"),
        ({"from": "2026-01-01T00:00:00Z"}, "/batch_id"),
        ({"batch_id": BATCH, "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}, "/batch_id"),
        ({"batch_id": BATCH}, "/batch_id"),
        ({"batch_id": "x"}, "/batch_id"),
        ({"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "/to"),
        ({"from": "2026-01-01", "to": "2026-02-01T00:00:00Z"}, "/from"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "kinds": ["pdf"]}, "/kinds"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "kinds": []}, "/kinds"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "kinds": [[]]}, "/kinds"),
    ],
)
async def test_an_order_that_cannot_be_meant(world: World, body: dict[str, Any], pointer: str) -> None:
    """Named with its field, and nothing is recorded; another sender's batch is no batch."""
    plant_batch(world, "completed", "other")
    problem(await ordered(await world.sender(), body), 422, "field_invalid", pointer)
    assert world.count("qerds.export") == world.count("outbox.archive") == 0


async def test_a_key_orders_once(world: World) -> None:
    """The same key and order: the same export; another order under it is refused; another sender's key is another."""
    client = await world.sender()
    order = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    first, again = await ordered(client, order, "k"), await ordered(client, order, "k")
    assert first.json() == again.json()
    assert UUID(first.json()["id"]).hex[12] == "8"
    problem(await ordered(client, {**order, "kinds": ["evidence"]}, "k"), 422, "idempotency_key_reused")
    other = await ordered(await world.sender("other"), order, "k")
    assert other.json()["id"] != first.json()["id"]
    assert world.count("outbox.archive") == world.count("qerds.export") == 2
    problem(await ordered(client, order, "x" * 300), 422, "field_invalid", "Idempotency-Key")


async def test_the_client_takes_both_home(world: World, tmp_path: Path) -> None:
    """Checked against the digest that came along; a file has its name only when it is whole."""
    plant_batch(world, "completed")
    await plant_proof(world)
    home = tmp_path / "home"
    home.mkdir()
    async with QerdsClient(PUBLIC_URL, "demo", SECRET, world.application()) as client:
        assert (await client.batch_proof(BATCH)).content == PROOF
        made = await client.create_export(batch=BATCH)
        await plant_step(world, made["id"], 2, is_last=True, content=PART)
        [part] = (await client.export(made["id"]))["parts"]
        path = httpx.URL(part["url"]).path
        await client.download(path, part["sha256"], home / "part.zip")
        assert (home / "part.zip").read_bytes() == PART
        with pytest.raises(Exception, match="damaged"):
            await client.download(path, "00" * 32, home / "wrong.zip")
        assert sorted(p.name for p in home.iterdir()) == ["part.zip"]
