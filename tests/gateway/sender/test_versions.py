"""Qerds-Version: asked for or not, answered always."""

import pytest

from gateway.sender.openapi import FILE_ADDRESS, description
from gateway.versions import NEWEST
from pipeline.client.wire import API_VERSION
from tests.gateway.sender.conftest import World, problem, uploaded_letter
from tests.gateway.sender.stored import nothing_stored

pytestmark = pytest.mark.anyio


async def test_every_answer_of_the_api_names_its_version(world: World) -> None:
    """Good and bad ones, asked for or not; pages and health are no API and have none. /v1/me shows the newest."""
    client = await world.sender()
    for headers in ({}, {"Qerds-Version": NEWEST}):
        for path in ("/v1/me", "/v1/nothing", "/v1/status", "/.well-known/oauth-authorization-server"):
            assert (await client.get(path, headers=headers)).headers["qerds-version"] == NEWEST
    assert (await client.get("/v1/me")).json()["api_version"] == NEWEST
    assert "qerds-version" not in (await client.get("/healthz", headers={"Qerds-Version": "1999-01-01"})).headers


@pytest.mark.parametrize("asked", ["", "1", "2020-01-01", f"{NEWEST}, {NEWEST}", "latest", "é"])
async def test_versions_that_are_none(world: World, asked: str) -> None:
    """400 before anything is done; the answer says which there are."""
    client = await world.sender()
    body = await uploaded_letter(client)
    answer = await client.post("/v1/deliveries", json=body, headers={b"Qerds-Version": asked.encode()})
    assert NEWEST in problem(answer, 400, "version_unknown")["detail"]
    assert answer.headers["qerds-version"] == NEWEST
    assert nothing_stored(world)


def test_the_description_is_of_the_newest() -> None:
    """The document is of it, as our client is; it allows what the table has, in every operation of the API."""
    described = description(FILE_ADDRESS, is_sandbox=True)
    assert API_VERSION == NEWEST
    assert described["info"]["version"] == NEWEST
    assert described["components"]["parameters"]["QerdsVersion"]["schema"]["enum"] == [NEWEST]
    wanted = {"$ref": "#/components/parameters/QerdsVersion"}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            takes_it = wanted in operation.get("parameters", []) and "4XX" in operation["responses"]
            assert takes_it == path.startswith("/v1/"), f"{method} {path}"
