"""Acceptance against expiry, two hundred times around the deadline: exactly one of them wins, and the loser is told."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.local.browser import Browser, Page
from deploy.local.recipient import Recipient, claim_link, mails_to
from tests.e2e.installation import Installation, installation, send_many, states
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(240)
BASE_PORT = 17400
RACES = 200
AT_ONCE = 4
SPREAD_SECONDS = 4.0  # the decisions fall into this, the deadline into its middle
SEED = 20261124


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def at_the_last_page(it: Installation, mail: dict[str, object]) -> tuple[Recipient, Page]:
    """An identified recipient with the confirmation page open."""
    recipient = Recipient(Browser())
    recipient.follow(claim_link(mail, it.gateway))
    recipient.identify("angela")
    return recipient, recipient.browser.get(f"{recipient.letter}/accept")


def test_exactly_one_of_acceptance_and_expiry_wins(running: Installation) -> None:
    """Each delivery ends with C.3 and D.1, or with C.5, never with both and never with neither."""
    send_many(running, RACES, "race")
    running.wait("all to be notified", lambda: states(running) == {"notified": RACES})
    mails = mails_to(running.catcher, "race-")
    assert len(mails) == RACES
    chance = random.Random(SEED)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ready = list(pool.map(lambda mail: at_the_last_page(running, mail), mails))
        left = "SELECT floor(extract(epoch FROM min(expires_at) - qerds.legal_now())) FROM qerds.acceptance_window"
        running.advance(f"PT{running.count(left) - 60}S")
        begin = time.monotonic()

        def decide(one: tuple[Recipient, Page]) -> None:
            recipient, page = one
            time.sleep(max(0.0, begin + chance.random() * SPREAD_SECONDS - time.monotonic()))
            recipient.browser.submit(page, page.form("/accept"), understood="yes")

        decided = [pool.submit(decide, one) for one in ready]
        time.sleep(SPREAD_SECONDS / 2)
        running.advance("PT300S")  # past the deadline and past the grace of decisions under way
        for future in decided:
            future.result()
    for recipient, _ in ready:
        recipient.browser.__exit__(None, None, None)
    running.wait("every race to be over", lambda: set(states(running)) <= {"accepted", "unclaimed"}, 150)
    outcome = states(running)
    assert sum(outcome.values()) == RACES
    assert outcome.get("accepted") and outcome.get("unclaimed"), f"nothing raced: {outcome}"
    decided_by = "SELECT count(*) FROM qerds.evidence WHERE event IN ('C.3', 'C.4', 'C.5')"
    assert running.rows(f"{decided_by} GROUP BY delivery HAVING count(*) <> 1") == []
    assert running.count("SELECT count(*) FROM qerds.evidence WHERE event = 'D.1'") == outcome["accepted"]
    running.check_ledger()
