"""Fifteen days in a second: undecided deliveries expire once, in time, with tokens not older than their events."""

from collections.abc import Iterator

import pytest

from tests.e2e.installation import Installation, installation, send_many, states
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(120)
BASE_PORT = 15400
DELIVERIES = 20


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def test_undecided_deliveries_expire_once_and_in_time(running: Installation) -> None:
    """C.5 once each, not before the printed instant, within 180 s of it, its token not older; `expire` is killed."""
    send_many(running, DELIVERIES, "wait")
    running.wait("all to be notified", lambda: states(running) == {"notified": DELIVERIES})
    # To 100 s before the end of the window, then past it step by step: the printed instant must not be early.
    left = "SELECT floor(extract(epoch FROM min(expires_at) - qerds.legal_now())) FROM qerds.acceptance_window"
    rest = running.count(left)
    running.advance(f"PT{rest - 100}S")
    assert running.count("SELECT count(*) FROM qerds.evidence WHERE event = 'C.5'") == 0
    running.advance("PT215S")
    running.kill("expire")
    running.wait("the non-claims", lambda: states(running) == {"unclaimed": DELIVERIES}, 90)
    late = running.rows(
        "SELECT min(e.event_time - w.expires_at) >= interval '0', max(e.event_time - w.expires_at) <= interval '180 s',"
        " min(t.gen_time - e.event_time) >= interval '0', count(*)"
        " FROM qerds.evidence e JOIN qerds.acceptance_window w USING (delivery)"
        " JOIN qerds.evidence_token t USING (evidence)"
        " WHERE e.event = 'C.5'"
    )
    assert late == [["t", "t", "t", str(DELIVERIES)]]
    running.check_ledger()
