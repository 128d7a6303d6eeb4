"""Where a letter stands for its recipient: the one answer from which every page follows. Pure.

A decision counts for the page from its draft ("recorded, being sealed") and is complete with its time-stamps; the
content is released only then. An intent that lives means that the bridge is being asked at this moment.
"""

from enum import Enum

from pipeline.delivery import states
from pipeline.stores.letters import Letter


class Standing(Enum):
    """What the recipient can do now."""

    NOT_OPEN = "not_open"  # announced, the proof of it not stamped yet: seconds
    OPEN = "open"
    DECIDING = "deciding"
    ACCEPTING = "accepting"
    ACCEPTED = "accepted"
    REFUSING = "refusing"
    REFUSED = "refused"
    CLOSED = "closed"


BY_STATE = {
    states.SUBMITTED: Standing.NOT_OPEN,
    states.DEPOSITED: Standing.NOT_OPEN,
    states.ACCEPTED: Standing.ACCEPTED,
    states.RECEIVED: Standing.ACCEPTED,
    states.REFUSED: Standing.REFUSED,
}


def standing(letter: Letter) -> Standing:
    """The standing of `letter` at its own legal time."""
    if letter.state != states.NOTIFIED:
        return BY_STATE.get(letter.state, Standing.CLOSED)
    if "C.3" in letter.drafted:
        return Standing.ACCEPTING
    if "C.4" in letter.drafted:
        return Standing.REFUSING
    if letter.drafted & {"C.2", "C.5"}:
        return Standing.CLOSED
    if letter.intent_alive:
        return Standing.DECIDING
    if letter.expires_at is None or letter.legal_time >= letter.expires_at:
        return Standing.CLOSED
    return Standing.OPEN
