"""The table of events that this service proves (ETSI EN 319 522-1 clause 6, names of EN 319 522-3 Table 2).

Owns what an event is: code, name, URI, whether it records the recipient's own act (sealed only against a receipt of
the bridge) and whether a reason must be given. Which event may follow which is in `lifecycle`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from pipeline.formats.evidence_head import EVENT_NAMES, event_uri


@dataclass(frozen=True, slots=True)
class Event:
    code: str
    name: str
    uri: str
    by_recipient: bool  # needs the recipient's identification and a receipt
    with_reason: bool  # EN 319 522-2 clause 8: a negative event says why


def _event(code: str, *, by_recipient: bool = False, with_reason: bool = False) -> Event:
    return Event(code, EVENT_NAMES[code], event_uri(code), by_recipient, with_reason)


EVENTS = MappingProxyType(
    {
        event.code: event
        for event in (
            _event("A.1"),
            _event("A.2", with_reason=True),
            _event("C.1"),
            _event("C.2", with_reason=True),
            _event("C.3", by_recipient=True),
            _event("C.4", by_recipient=True),
            _event("C.5", with_reason=True),
            _event("D.1", by_recipient=True),
            _event("E.1", by_recipient=True),
            _event("E.2", with_reason=True),
        )
    }
)
