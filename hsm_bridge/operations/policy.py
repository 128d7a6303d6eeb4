"""Who may ask for what: one literal table, nothing computed.

Owns     the caller kinds (one socket each) and the operations each may ask for
Rules    what is not listed is denied; `release` is the only operation that gives a letter's keys out
Elsewhere: conditions on single items (receipts, tickets, clocks), which operations checks
"""

from typing import Literal, get_args

Caller = Literal["gateway", "encrypt", "seal", "timestamp", "archive", "webhook", "operator"]
CALLERS: tuple[Caller, ...] = get_args(Caller)

ANYONE = frozenset({"describe", "health"})
PERMISSIONS: dict[Caller, frozenset[str]] = {
    "gateway": ANYONE | {"begin_identity", "verify_identity", "decide", "release"},
    "encrypt": ANYONE | {"open_intake", "wrap_content", "derive_wrap"},
    "seal": ANYONE | {"seal_evidence"},
    "timestamp": ANYONE | {"time_stamp"},
    "archive": ANYONE | {"time_stamp", "seal_package"},
    "webhook": ANYONE | {"sign_webhook"},
    "operator": ANYONE,
}


def may(caller: Caller, operation: str) -> bool:
    """Whether the table lists this operation for this caller."""
    return operation in PERMISSIONS[caller]
