"""The gateway's edge: whatever a route raises over what somebody sent, before an answer or in the middle of one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from gateway.edge import Edge
from gateway.pages.session import FormRefused
from gateway.problems import Problem
from gateway.verify.page import UploadRefused
from pipeline.adapters.ids import SystemRandomness
from pipeline.errors import Invariant, Transient
from pipeline.formats.configuration import Config, parse
from pipeline.intake.addresses import AddressInvalid, parse_address
from pipeline.intake.columns import ColumnsInvalid
from pipeline.intake.mistakes import Mistake, Unreadable
from pipeline.process.recorder import Recorder
from tests.personal_data import EMAIL, NAME, PERSON, found_in
from tests.portal_world import config_table

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Outside:
    """What the edge needs."""

    config: Config
    ids: SystemRandomness
    recorder: Recorder


def raising(error: Exception) -> Callable[[], object]:
    def work() -> object:
        raise error

    return work


WORKS: list[Callable[[], object]] = [
    lambda: dict[str, str]()[PERSON],
    lambda: date.fromisoformat(PERSON),
    lambda: int(PERSON),
    lambda: parse_address(f"{EMAIL}@{NAME}@"),
    raising(ValueError(PERSON)),
    raising(AddressInvalid(PERSON)),
    raising(Unreadable("malformed_json", PERSON)),
    raising(ColumnsInvalid(PERSON)),
    raising(FormRefused(PERSON)),
    raising(UploadRefused(PERSON)),
    raising(Problem("field_invalid", PERSON, (Mistake("field_invalid", PERSON, PERSON),))),
    raising(ExceptionGroup(PERSON, [KeyError(PERSON)])),
]


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("is_begun", [False, True])
async def test_what_a_route_raises(state_dir: Path, work: Callable[[], object], is_begun: bool) -> None:
    """Nobody's words reach the log; the answer to who sent them may name what was wrong with them."""
    lines: list[str] = []

    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        if is_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        work()

    config = parse(config_table(state_dir))
    edge = Edge(inner, Outside(config, SystemRandomness(), Recorder("gateway", lines.append)))
    transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        await client.post("/v1/consents", content=PERSON)
    assert found_in("".join(lines)) == []
    assert lines or not is_begun


@pytest.mark.parametrize("error", [Transient("no free database connection"), Invariant("no delivery 1")])
async def test_the_words_of_ours_are_kept(state_dir: Path, error: Exception) -> None:
    """An answer that was cut says why it was."""
    lines: list[str] = []

    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error from ValueError(PERSON)

    config = parse(config_table(state_dir))
    edge = Edge(inner, Outside(config, SystemRandomness(), Recorder("gateway", lines.append)))
    transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        await client.get("/v1/events")
    assert str(error) in lines[0]
    assert found_in(lines[0]) == []
