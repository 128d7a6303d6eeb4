"""What the ledger check says of times: the predicates between clocks, and what was proved late.

Owns     the names of these predicates; what is told of a lag that is no violation
Rules    an event out of order, of another time than its draft, or a token from the future cannot have been written by
         this build: a violation. A token long after its event is what an outage leaves: told, and nothing is wrong
Elsewhere: the queries (sql/ledger_times.sql), asking them (ledger.py), a token older than its event (ledger_proofs.py)
"""

from collections.abc import Mapping
from typing import Any

TIME_PREDICATES = (
    "event_is_not_before_its_predecessor",
    "event_is_of_its_drafts_time",
    "token_is_not_later",
)


def late_line(row: Mapping[str, Any], lag_seconds_max: float) -> str | None:
    """A sentence about events that were the service's word alone for longer than the bound; None without any."""
    if not row["evidences"]:
        return None
    return (
        f"{row['evidences']} evidences were proved more than {lag_seconds_max:g} s after they happened by the "
        f"service's word, the latest after {row['longest_seconds']:.0f} s; "
        "no predicate is broken by that (docs/verify.md)"
    )
