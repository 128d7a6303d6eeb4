"""A decision, and a clock that is moved while the bridge makes its receipt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from starlette.applications import Starlette

from gateway.faces import page_routes
from pipeline.ports.bridge import wire
from tests.portal_world import Browser, World

pytestmark = pytest.mark.anyio
AHEAD = "INSERT INTO qerds.legal_clock (ahead) VALUES (interval '{}')"


@dataclass(frozen=True, slots=True)
class ClockMovingBridge:
    """Before its receipt of a decision comes back, the database's clock is another."""

    portal: World
    move: str

    async def ask(self, items: Sequence[Any]) -> Any:
        answers = await self.portal.ports.bridge.ask(items)
        if any(isinstance(item, wire.Decide) for item in items):
            await self.portal.owner.execute(self.move)
        return answers


@pytest.mark.parametrize("act", ["accept", "refuse"])
@pytest.mark.parametrize(
    ("before", "move"),
    [("SELECT 1", AHEAD.format("10 min")), (AHEAD.format("30 s"), "DELETE FROM qerds.legal_clock")],
    ids=["forward", "back"],
)
async def test_a_decision_under_way_while_a_clock_moves_is_not_recorded(
    portal: World, before: str, move: str, act: str
) -> None:
    """The person is told so and may try again: nothing is drafted at another time than now, and nothing is a fault."""
    letter = await portal.open_letter()
    portal.app = Starlette(routes=page_routes(replace(portal.ports, bridge=ClockMovingBridge(portal, move))))
    async with Browser(portal) as browser:
        await browser.claim(letter)
        await browser.sign_in(letter)
        await portal.owner.execute(before)
        decided = await browser.decide(letter, act)
    assert decided.status_code == 303
    assert decided.headers["location"].endswith("?message=not_recorded")
    assert await portal.drafted(letter) == ["A.1", "C.1"]
