"""Acceptance against expiry, two hundred times around the deadline: exactly one of them wins, and the loser is told."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from deploy.local.browser import Page, PersonBrowser
from deploy.local.recipient import Recipient, claim_link, mails_to
from tests.e2e.installation import Installation, installation, send_many, states
from tests.servers import short_directory

pytestmark = pytest.mark.timeout(240)
BASE_PORT = 17400
RACES = 200
AT_ONCE = 4  # decisions in flight when the deadline passes


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation(short_directory() / "state", BASE_PORT) as it:
        yield it


def at_the_last_page(it: Installation, mail: dict[str, object]) -> tuple[Recipient, Page]:
    """An identified recipient with the confirmation page open."""
    recipient = Recipient(PersonBrowser())
    recipient.follow(claim_link(mail, it.gateway))
    recipient.identify("angela")
    return recipient, recipient.browser.get(f"{recipient.letter}/accept")


def test_exactly_one_of_acceptance_and_expiry_wins(running: Installation) -> None:
    """Each delivery ends with C.3 and D.1, or with C.5, never with both and never with neither."""
    send_many(running, RACES, "race")
    running.wait("all to be notified", lambda: states(running) == {"notified": RACES})
    mails = mails_to(running.catcher, "race-")
    assert len(mails) == RACES
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ready = list(pool.map(lambda mail: at_the_last_page(running, mail), mails))
        left = "SELECT floor(extract(epoch FROM min(expires_at) - qerds.legal_now())) FROM qerds.acceptance_window"
        running.advance(f"PT{running.count(left) - 60}S")

        def decide(one: tuple[Recipient, Page]) -> None:
            recipient, page = one
            recipient.browser.submit(page, page.form("/accept"), understood="yes")

        def pass_the_deadline() -> None:
            running.advance("PT300S")  # and the grace of decisions under way

        acts: list[Callable[[], None]] = [partial(decide, one) for one in ready]
        acts.insert(RACES // 5, pass_the_deadline)  # a program of its own: the others go on while it starts
        for future in [pool.submit(act) for act in acts]:
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
