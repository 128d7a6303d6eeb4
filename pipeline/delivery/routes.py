"""Who receives what: the one map from kinds of message to stages, and from stamped events to what follows.

A literal, not a language. `python -m pipeline graph` draws it; the database grants each role INSERT on exactly the
outboxes that this map makes it write (schemas/schema.sql, kept equal by a test).
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.delivery.deadlines import access_ends_at, expiry_due_at
from pipeline.delivery.states import EvidenceStanding
from pipeline.delivery.windows import window_of
from pipeline.formats.events import EVENTS, Lane

# Kinds of message. A message is an address, not a payload.
SUBMITTED = "submitted"
CHECKED = "checked"
DRAFT = "draft"
SEALED = "sealed"
PREPARE = "prepare"
SEND = "send"
ASK_CONSENT = "ask_consent"  # its subject is a consent request, as that of the next
MAIL_CONSENT = "mail_consent"
EXPIRE = "expire"
ACCESS_END = "access_end"
PRESERVE = "preserve"
DRAW = "draw"  # its subject is a batch, as that of the next
SETTLE = "settle"
BATCH_PROOF = "batch_proof"  # its subject is a batch
EXPORT = "export"  # its subject is an export
PUSH = "push"  # its subject is a webhook, as that of the next
PING = "ping"

RECEIVER: dict[str, str] = {
    SUBMITTED: "ingest",
    DRAW: "ingest",
    SETTLE: "ingest",
    CHECKED: "encrypt",
    DRAFT: "seal",
    SEALED: "timestamp",
    PREPARE: "notify",
    SEND: "notify",
    ASK_CONSENT: "notify",
    MAIL_CONSENT: "notify",
    EXPIRE: "expire",
    ACCESS_END: "expire",
    PRESERVE: "archive",
    BATCH_PROOF: "archive",
    EXPORT: "archive",
    PUSH: "webhook",
    PING: "webhook",
}

# Every stage once, as a letter passes them. Named again only where this cannot be read, and held equal there by tests:
# in each stage itself (pipeline/stages), Procfile, schemas, and the callers of the bridge (its wire).
STAGES = tuple(dict.fromkeys(RECEIVER.values()))
# From a letter's check to its notice: the stages that hold the drawing of a batch back while they are full.
AFTER_INGEST = tuple(RECEIVER[kind] for kind in (CHECKED, DRAFT, SEALED, PREPARE))

# Timers of these kinds are due by the time of the law; all others by the real clock.
LEGAL_KINDS = frozenset({EXPIRE, ACCESS_END})

# What a newly stamped event sets going. C.3 alone sets nothing going: D.1 is its other half.
AFTER: dict[str, tuple[str, ...]] = {
    "A.1": (PREPARE,),
    "A.2": (PRESERVE,),
    "C.1": (EXPIRE,),
    "C.2": (PRESERVE,),
    "C.3": (),
    "D.1": (PRESERVE, ACCESS_END),
    "C.4": (PRESERVE,),
    "C.5": (PRESERVE,),
    "E.1": (PRESERVE,),
    "E.2": (PRESERVE,),
}

# Lanes: 2 * priority + alone. A person is waiting in the interactive lane.
INTERACTIVE = 0
BULK = 2
LANES: dict[Lane, int] = {"interactive": INTERACTIVE, "bulk": BULK}


def interactive_cap(limit: int) -> int:
    """How many interactive messages a take of `limit` may hold: half, so that a steady stream cannot hold bulk back."""
    return max(1, limit // 2)


@dataclass(frozen=True, slots=True)
class Emission:
    """A message to be added to an outbox inside a commit.

    kind: decides the receiving stage, and what the subject is: a delivery, unless said above. at: makes it a timer
    (legal time for LEGAL_KINDS, else real time, both UTC).
    lane: None inherits the priority of the message that caused it, with the alone bit cleared; so does traceparent.
    """

    kind: str
    subject: UUID
    evidence: UUID | None = None
    ordinal: int = 0
    at: datetime | None = None
    lane: int | None = None
    traceparent: str | None = None


def follow(delivery: UUID, stamped: EvidenceStanding) -> list[Emission]:
    """What one newly stamped event of a delivery sets going."""
    return [_following(kind, delivery, stamped) for kind in AFTER[stamped.event]]


def _following(kind: str, delivery: UUID, stamped: EvidenceStanding) -> Emission:
    if kind == ACCESS_END:
        return Emission(kind, delivery, at=access_ends_at(stamped.event_time), lane=BULK)
    if kind == EXPIRE:
        return Emission(kind, delivery, at=expiry_due_at(window_of(delivery, stamped).expires_at), lane=BULK)
    return Emission(kind, delivery)


def lane_of(event: str) -> int | None:
    """The lane an evidence of `event` travels in; None: that of the submission."""
    lane = EVENTS[event].lane
    return None if lane is None else LANES[lane]
