"""What is owed, and until when."""

from datetime import UTC, date, datetime, timedelta

import pytest

from pipeline.delivery.deadlines import expires_at, last_day
from pipeline.delivery.duties import next_duty, proof_due_at, slack_seconds

SUBMITTED = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize("notice", [date(2026, 3, 1), date(2026, 3, 13), date(2026, 10, 10), date(2026, 12, 20)])
def test_the_proof_of_a_non_claim_is_owed_the_day_after_the_window(notice: date) -> None:
    """CPCE R.53-3 III: notice on D, window closed at D+16 00:00, the proof before D+17 00:00, all in Paris."""
    duty = next_duty("notified", SUBMITTED, last_day(notice), is_refused=False)
    assert duty is not None and duty.name == "non_claim_proof"
    assert duty.due_at == proof_due_at(last_day(notice)) == expires_at(notice + timedelta(days=1))
    assert duty.due_at.date() == notice + timedelta(days=17)


@pytest.mark.parametrize(("state", "name", "hours"), [("submitted", "deposit_proof", 24), ("deposited", "notice", 48)])
def test_before_the_notice_the_service_keeps_its_own_promise(state: str, name: str, hours: int) -> None:
    """No hour of the law: a day for the proof of deposit, another one for the notice."""
    duty = next_duty(state, SUBMITTED, None, is_refused=False)
    assert duty is not None and duty.name == name
    assert slack_seconds(duty, SUBMITTED + timedelta(hours=hours + 1)) == -3600


def test_a_refusal_is_owed_its_proof() -> None:
    """From the draft of C.4 on the same instant is that of another proof."""
    duty = next_duty("notified", SUBMITTED, date(2026, 3, 16), is_refused=True)
    assert duty is not None and duty.name == "refusal_proof"


@pytest.mark.parametrize("state", ["rejected", "notice_failed", "accepted", "received", "refused", "unclaimed"])
def test_nothing_more_is_owed_by_a_day(state: str) -> None:
    """What has ended has no deadline, and an accepted letter waits for its recipient."""
    assert next_duty(state, SUBMITTED, date(2026, 3, 16), is_refused=False) is None
