"""A clock that steps back: nothing is drafted before what happened last, and nothing is lost while it is waited for."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.delivery.deadlines import WINDOW_DAYS
from tests.stages.line import PROOF, Line

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("back", [2, 3600, 86_400])
async def test_an_event_waits_for_a_clock_that_was_set_back(back: int) -> None:
    """The clock steps back before the notice: what comes next is drafted when it has passed, and in order."""
    line = Line()
    delivery = await line.submit()
    await line.run("ingest", "encrypt", *PROOF)
    line.later(seconds=-back)
    await line.run("notify", *PROOF)
    assert line.events(delivery) == ["A.1"]
    line.later(seconds=back)
    line.database.timers = [t if t.is_legal else replace(t, due_at=line.clock.now()) for t in line.database.timers]
    await line.run("notify", *PROOF)
    assert (line.events(delivery), line.state(delivery)) == (["A.1", "C.1"], "notified")
    line.later(days=WINDOW_DAYS + 2)
    await line.run("expire", *PROOF)
    times = [evidence.event_time for evidence in line.database.tables.drafts(delivery)]
    assert line.state(delivery) == "unclaimed"
    assert times == sorted(times)
    assert not line.dead()
    assert timedelta(days=WINDOW_DAYS) < times[-1] - times[-2]
