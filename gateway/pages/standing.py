"""Where a letter stands for its recipient: the one answer from which every page follows. Pure.

A decision counts for the page from its draft ("recorded, being sealed") and is complete with its time-stamps; the
content is released only then. An intent that lives means that the bridge is being asked at this moment.
"""

from enum import Enum

from pipeline.delivery import states
from pipeline.formats.events import ENDING_CHOICE
from pipeline.stores.letters import Letter


class LetterStanding(Enum):
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
    states.SUBMITTED: LetterStanding.NOT_OPEN,
    states.DEPOSITED: LetterStanding.NOT_OPEN,
    states.ACCEPTED: LetterStanding.ACCEPTED,
    states.RECEIVED: LetterStanding.ACCEPTED,
    states.REFUSED: LetterStanding.REFUSED,
}


def standing(letter: Letter) -> LetterStanding:
    """The standing of `letter` at its own legal time."""
    if letter.state != states.NOTIFIED:
        return BY_STATE.get(letter.state, LetterStanding.CLOSED)
    if "C.3" in letter.drafted:
        return LetterStanding.ACCEPTING
    if "C.4" in letter.drafted:
        return LetterStanding.REFUSING
    if letter.drafted & ENDING_CHOICE:
        return LetterStanding.CLOSED
    if letter.intent_alive:
        return LetterStanding.DECIDING
    if letter.expires_at is None or letter.legal_time >= letter.expires_at:
        return LetterStanding.CLOSED
    return LetterStanding.OPEN
