"""What acceptance discloses is read from the database by nobody before it: each statement is a wall of its own.

The pages ask only when the letter is accepted; a page that forgot to would still be told nothing.
"""

import pytest

from pipeline.formats.evidence_head import evidence_id
from tests.portal_world import Browser, Letter, World

pytestmark = pytest.mark.anyio
DISCLOSING = ("portal_opened", "portal_documents", "portal_segments", "portal_acceptance", "portal_evidences")


async def told(portal: World, letter: Letter) -> dict[str, int]:
    """How many rows each statement gives."""
    gateway, deposit = portal.roles["gateway"], evidence_id(letter.delivery, "A.1", 0)
    rows = {name: len(await gateway.fetch(name, letter.delivery)) for name in DISCLOSING}
    return rows | {"portal_evidence": len(await gateway.fetch("portal_evidence", letter.delivery, deposit))}


async def test_a_number_leads_to_letters_that_the_session_opened(portal: World) -> None:
    """Who only knows a number, or another letter's link, is told of no letter."""
    opened, other = await portal.open_letter(), await portal.open_letter()
    gateway = portal.roles["gateway"]
    for session in ([], [other.delivery]):
        assert await gateway.fetch("portal_numbered", opened.number, session) == []
    rows = await gateway.fetch("portal_numbered", opened.number, [other.delivery, opened.delivery])
    assert [row["delivery"] for row in rows] == [opened.delivery]


@pytest.mark.parametrize("act", ["accept", "refuse"])
async def test_nothing_is_disclosed_before_the_acceptance_is_proved(portal: World, browser: Browser, act: str) -> None:
    """Not while it waits, nor while the decision is being sealed, nor ever after a refusal."""
    letter = await portal.open_letter()
    await browser.claim(letter)
    await browser.sign_in(letter)
    assert not any((await told(portal, letter)).values())
    await browser.decide(letter, act)
    assert not any((await told(portal, letter)).values())
    await portal.stamp()
    assert all(count > 0 for count in (await told(portal, letter)).values()) == (act == "accept")
    assert any((await told(portal, letter)).values()) == (act == "accept")
