"""The clock of a sandbox: moved by a sender's program, and not there in any other installation."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from msgspec.structs import replace

from gateway.sender import routes
from pipeline.client.answers import Refused, Unreachable
from pipeline.client.api import QerdsClient
from pipeline.connect import connect_gateway
from pipeline.formats.configuration import Config
from pipeline.process.recorder import Recorder
from tests.gateway.sender.conftest import PUBLIC_URL, SECRET, World, problem

pytestmark = pytest.mark.anyio
CLOCK = "/v1/sandbox/clock"


def ahead(world: World) -> timedelta:
    """How far the time of the law is ahead."""
    seconds = world.psql("SELECT coalesce((SELECT extract(epoch FROM ahead) FROM qerds.legal_clock), 0)")
    return timedelta(seconds=float(seconds))


async def test_the_clock_goes_forward(world: World) -> None:
    """The answer is the new time of the law; twice is twice; every stage is rung."""
    client = await world.sender()
    answer = await client.post(CLOCK, json={"advance": "P16D"})
    assert answer.status_code == 200, answer.text
    told = datetime.fromisoformat(answer.json()["legal_time"])
    assert timedelta(0) <= datetime.now(UTC) + timedelta(days=16) - told < timedelta(seconds=10)
    assert (await client.post(CLOCK, json={"advance": "PT90M"})).status_code == 200
    assert ahead(world) == timedelta(days=16, minutes=90)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "field_invalid", "/advance"),
        ({"advance": None}, "field_invalid", "/advance"),
        ({"advance": 16}, "field_invalid", "/advance"),
        ({"advance": "-P1D"}, "field_invalid", "/advance"),
        ({"advance": "P1M"}, "field_invalid", "/advance"),
        ({"advance": "P0D"}, "field_invalid", "/advance"),
        ({"advance": "P3651D"}, "field_invalid", "/advance"),
        ({"advance": "P1D", "back": True}, "field_unknown", "/back"),
    ],
)
async def test_what_is_no_period_moves_nothing(world: World, body: dict[str, object], code: str, pointer: str) -> None:
    """Strict as every body is: the field is named, and the clock stands."""
    client = await world.sender()
    problem(await client.post(CLOCK, json=body), 422, code, pointer)
    problem(
        await client.post(CLOCK, content=b"[]", headers={"Content-Type": "application/json"}), 400, "malformed_json"
    )
    problem(await client.post(CLOCK, data={"advance": "P1D"}), 415, "type_not_allowed")
    assert ahead(world) == timedelta(0)


async def test_the_clock_goes_not_too_far(world: World) -> None:
    """By several steps as little as by one: the certificates of a sandbox end some day."""
    world.psql("DELETE FROM qerds.published_key")
    client = await world.sender()
    assert (await client.post(CLOCK, json={"advance": "P3000D"})).status_code == 200
    problem(await client.post(CLOCK, json={"advance": "P651D"}), 422, "field_invalid", "/advance")
    assert (await client.post(CLOCK, json={"advance": "P650D"})).status_code == 200
    assert ahead(world) == timedelta(days=3650)


def publish(world: World, use: str, days: int) -> None:
    """A key of the bridge that ends in so many days."""
    world.psql(
        "INSERT INTO qerds.published_key (key_id, use, spki, not_before, until)"
        f" VALUES ('{use}-{days}', '{use}', 'x', now() - interval '1 day', now() + interval '{days} days')"
    )


@pytest.mark.parametrize("first", ["seal", "time", "intake"])
async def test_the_clock_stays_within_its_keys(world: World, first: str) -> None:
    """By one step or by several, whichever kind ends first: a month before, so that what was begun can end.

    It says when, and a newer key lets it go on.
    """
    world.psql("DELETE FROM qerds.published_key")
    for use in {"seal", "time", "intake"} - {first}:
        publish(world, use, 1000)
    publish(world, first, 300)
    publish(world, first, 100)  # the newest rules
    client = await world.sender()
    told = problem(await client.post(CLOCK, json={"advance": "P271D"}), 422, "field_invalid", "/advance")
    until = datetime.now(UTC) + timedelta(days=270)
    assert f"{until:%Y-%m-%dT}" in str(told)
    moved = (await client.post(CLOCK, json={"advance": "P200D"})).json()
    assert abs(datetime.fromisoformat(moved["until"]) - until) < timedelta(minutes=1)
    problem(await client.post(CLOCK, json={"advance": "P70DT1M"}), 422, "field_invalid", "/advance")
    assert (await client.post(CLOCK, json={"advance": "P69D"})).status_code == 200
    assert ahead(world) == timedelta(days=269)
    publish(world, first, 500)
    assert (await client.post(CLOCK, json={"advance": "P200D"})).status_code == 200


async def test_only_who_may_send_moves_the_clock(world: World) -> None:
    """Nobody without a token, and no token without the scope."""
    problem(await world.anonymous().post(CLOCK, json={"advance": "P1D"}), 401, "token_invalid")
    world.psql("UPDATE qerds.sender_client SET scopes = '{deliveries:read}' WHERE client_id = 'other'")
    reader = await world.sender("other")
    problem(await reader.post(CLOCK, json={"advance": "P1D"}), 403, "scope_missing")
    assert ahead(world) == timedelta(0)


async def test_elsewhere_there_is_no_such_address(world: World) -> None:
    """Without the port: no route, no description, and the answer is that of any address that is not there."""
    world.parts.sandbox = None
    assert not [route for route in routes.routes(world.parts) if "sandbox" in getattr(route, "path", "")]
    client = await world.sender()
    told = problem(await client.post(CLOCK, json={"advance": "P1D"}), 404, "not_found")
    other = problem(await client.post("/v1/nothing", json={"advance": "P1D"}), 404, "not_found")
    own = {"request_id", "instance"}
    assert {k: v for k, v in told.items() if k not in own} == {k: v for k, v in other.items() if k not in own}
    problem(await client.get(CLOCK), 404, "not_found")
    assert CLOCK not in (await client.get("/v1/openapi.json")).json()["paths"]


@pytest.mark.parametrize("embedded", [True, False])
async def test_the_port_exists_in_an_embedded_installation_only(world: World, embedded: bool) -> None:
    """What connects a real gateway gives it no clock to move."""
    config: Config = replace(world.parts.config, embedded=embedded)
    async with connect_gateway(config, Recorder("gateway", write=lambda line: None)) as ports:
        assert (ports.sandbox is not None) is embedded


async def test_the_client_moves_it_once(world: World) -> None:
    """Typed; a lost answer is not asked for again, because the clock may have moved; where there is none, Refused."""
    transport = world.application()
    lost: list[str] = []

    async def loses(request: httpx.Request) -> httpx.Response:
        answer = await transport.handle_async_request(request)
        if request.url.path == CLOCK and not lost:
            lost.append(request.url.path)
            raise httpx.ReadError("lost")
        return answer

    async with QerdsClient(PUBLIC_URL, "demo", SECRET, transport=httpx.MockTransport(loses)) as client:
        with pytest.raises(Unreachable):
            await client.advance_clock("P1D")
        assert ahead(world) == timedelta(days=1)
        told = datetime.fromisoformat(await client.advance_clock("PT1H"))
        assert told > datetime.now(UTC) + timedelta(days=1, minutes=59)
    world.parts.sandbox = None
    async with QerdsClient(PUBLIC_URL, "demo", SECRET, transport=world.application()) as client:
        with pytest.raises(Refused, match="not_found"):
            await client.advance_clock("P1D")
