"""The window in which a recipient may decide, opened by a notice that is proved. Pure.

Owns     from which day the fifteen days count
Rules    from the later of the day that the evidence says and the day since which it is proved: a notice of long ago
         that is proved today opens the window today, so that nobody's time has passed before anyone could know
Elsewhere: the arithmetic of days (deadlines.py), who writes the window (pipeline/stages/timestamp.py)
Source   CPCE R.53-3 I
"""

from uuid import UUID

from pipeline.delivery.deadlines import expires_at, last_day, paris_date
from pipeline.delivery.facts import AcceptanceWindow
from pipeline.delivery.states import EvidenceStanding
from pipeline.errors import Invariant

OPENS = "C.1"


def window_of(delivery: UUID, notice: EvidenceStanding) -> AcceptanceWindow:
    """The window of a stamped C.1. Raises Invariant for anything else."""
    if notice.event != OPENS or notice.proved_at is None:
        raise Invariant(f"a window is opened by a proved {OPENS}")
    counts_from = max(paris_date(notice.event_time), paris_date(notice.proved_at))
    return AcceptanceWindow(delivery, notice.ordinal, last_day(counts_from), expires_at(counts_from))


def windows_of(delivery: UUID, stamped: tuple[EvidenceStanding, ...]) -> list[AcceptanceWindow]:
    """Of newly stamped evidences, the windows that they open."""
    return [window_of(delivery, standing) for standing in stamped if standing.event == OPENS]
