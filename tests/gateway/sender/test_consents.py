"""Consents: recorded once, never changed, withdrawn for ever, nobody else's."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from pipeline.formats.instants import time_text
from tests.gateway.sender.conftest import CONSENT, World, problem

pytestmark = pytest.mark.anyio


async def test_a_consent_is_recorded_once(world: World) -> None:
    """The first PUT is 201, the same again 200; another under the reference is a conflict and changes nothing."""
    client = await world.sender()
    first = await client.put("/v1/consents/c-1", json=CONSENT)
    assert first.status_code == 201, first.text
    assert first.json()["state"] == "given"
    again = await client.put("/v1/consents/c-1", json=CONSENT)
    assert (again.status_code, again.json()) == (200, first.json())
    problem(await client.put("/v1/consents/c-1", json={**CONSENT, "birth_name": "Durand"}), 409, "client_ref_conflict")
    assert (await client.get("/v1/consents/c-1")).json() == first.json()


async def test_a_withdrawal_is_for_ever(world: World) -> None:
    """Withdrawn twice is withdrawn once, at the first time; a new PUT does not bring it back."""
    client = await world.sender()
    await client.put("/v1/consents/c-1", json=CONSENT)
    first = await client.post("/v1/consents/c-1/withdraw")
    assert first.json()["state"] == "withdrawn"
    assert (await client.post("/v1/consents/c-1/withdraw")).json() == first.json()
    assert (await client.put("/v1/consents/c-1", json=CONSENT)).json()["state"] == "withdrawn"


async def test_another_senders_consent_is_not_there(world: World) -> None:
    """Reading or withdrawing it is 404, and it still stands."""
    await (await world.sender()).put("/v1/consents/c-1", json=CONSENT)
    other = await world.sender("other")
    problem(await other.get("/v1/consents/c-1"), 404, "not_found")
    problem(await other.post("/v1/consents/c-1/withdraw"), 404, "not_found")
    assert world.count("qerds.consent_withdrawal") == 0


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"email": "nobody"}, "email_invalid", "/email"),
        ({"obtained_at": "yesterday"}, "field_invalid", "/obtained_at"),
        ({"obtained_at": "2026-01-05T10:00:00"}, "field_invalid", "/obtained_at"),
        ({"obtained_at": "0001-01-01T00:00:00Z"}, "field_invalid", "/obtained_at"),
        ({"obtained_at": "1970-01-02T00:00:00Z"}, "field_invalid", "/obtained_at"),
        ({"obtained_at": "2010-12-31T23:59:59Z"}, "field_invalid", "/obtained_at"),
        ({"obtained_at": "2199-01-01T00:00:00Z"}, "field_invalid", "/obtained_at"),
        ({"email": "jean+tag@example.org"}, "email_invalid", "/email"),
        ({"email": "jean+@example.org"}, "email_invalid", "/email"),
        ({"text_sha256": hashlib.sha256(b"").hexdigest()}, "field_invalid", "/text_sha256"),
        ({"method": "By telephone"}, "field_invalid", "/method"),
        ({"text_sha256": "abc"}, "field_invalid", "/text_sha256"),
        ({"given_names": ""}, "field_invalid", "/given_names"),
        ({"birth_name": None}, "field_invalid", "/birth_name"),
        ({"colour": "blue"}, "field_unknown", "/colour"),
    ],
)
async def test_bad_consents_are_not_recorded(world: World, changes: dict[str, Any], code: str, pointer: str) -> None:
    """Each wrong field is named, and nothing is stored."""
    client = await world.sender()
    problem(await client.put("/v1/consents/c-1", json={**CONSENT, **changes}), 422, code, pointer)
    assert world.count("qerds.consent") == 0


async def test_a_consent_from_the_future(world: World) -> None:
    """Nobody can have agreed tomorrow."""
    client = await world.sender()
    future = time_text(world.parts.clock.now() + timedelta(days=1))
    answer = await client.put("/v1/consents/c-1", json={**CONSENT, "obtained_at": future})
    problem(answer, 422, "field_invalid", "/obtained_at")


async def test_references_with_control_characters(world: World) -> None:
    """A reference is text that can stand in an evidence."""
    client = await world.sender()
    problem(await client.put("/v1/consents/a%0Ab", json=CONSENT), 422, "field_invalid", "ref")
    problem(await client.put(f"/v1/consents/{'a' * 65}", json=CONSENT), 422, "field_invalid", "ref")
