"""Which stored notice may leave now."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from pipeline.actors.contract import Done, Message, Retry
from pipeline.notices.answers import Sent
from pipeline.notices.departure import judge_before
from pipeline.ports.rows import StoredNotice
from tests.fakes import letters, pki

NOON = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)
TODAY = NOON.date()
DELIVERY = UUID(int=7)
MESSAGE = Message(1, 0, "send", DELIVERY, None, 1, 0, 0, NOON)


def notice(days: int, is_latest: bool) -> StoredNotice:
    """One that prints the date of so many days from today."""
    day = TODAY + timedelta(days=days)
    dossier = letters.dossier(pki.Provider.new())
    return StoredNotice(
        DELIVERY, 1, day, day + timedelta(days=15), "r@example.org", "<m>", b"", b"", b"", NOON, dossier, is_latest
    )


@pytest.mark.parametrize("days", [-1, 0, 1])
@pytest.mark.parametrize("is_latest", [False, True])
def test_only_the_latest_leaves_and_only_on_its_date(days: int, *, is_latest: bool) -> None:
    """Two notices with two last days would leave nobody sure; one of another date prints a last day that is wrong."""
    stored = notice(days, is_latest)
    judged = judge_before(MESSAGE, stored, NOON)
    assert judged == (None if days == 0 and is_latest else Done(MESSAGE, Sent(stored, None)))


def test_it_waits_in_the_last_minutes_of_its_date() -> None:
    """An answer could fall on the next: it leaves no more today, at no cost of an attempt."""
    late = datetime(2026, 3, 2, 22, 59, tzinfo=UTC)
    judged = judge_before(MESSAGE, notice(0, is_latest=True), late)
    assert isinstance(judged, Retry) and not judged.counted
