"""The types of events: a literal table, mirrored in the database (qerds.event_type), kept equal by a test.

Owns     which state of a delivery is announced under which name, and which evidence shows it
Rules    a name never changes its meaning: receivers branch on it
Elsewhere: who leaves an event to be placed: triggers of schemas/schema.sql; placing (sequencer.py)
"""

from pipeline.delivery import states

# State -> the event whose evidence shows it, the first of those that lead there: `accepted` is complete with D.1; what
# its sender wants to see is C.3.
PROOF_OF_STATE: dict[str, str] = {state: min(events) for (_, events), state in states.TRANSITIONS.items()}
TYPE_OF_STATE: dict[str, str] = {state: f"delivery.{state}" for state in PROOF_OF_STATE}
PACKAGE_READY = "delivery.package_ready"
BATCH_COMPLETED = "batch.completed"
WEBHOOK_DISABLED = "webhook.disabled"
EXPORT_READY = "export.ready"
IDENTITY_MISMATCH = "delivery.identity_mismatch"  # somebody else identified; nothing is decided, no state changes
CONSENTS = frozenset({"consent.given", "consent.refused", "consent.withdrawn"})  # given, refused: asked by us
TYPES = CONSENTS | frozenset(
    {*TYPE_OF_STATE.values(), IDENTITY_MISMATCH, PACKAGE_READY, BATCH_COMPLETED, WEBHOOK_DISABLED, EXPORT_READY}
)

WEBHOOK_TEST = "webhook.test"  # sent on request only; never in the list of events

# What `subject` names, by the part of the type before the dot.
SUBJECTS: dict[str, str] = {"batch": "batch_id", "webhook": "webhook_id", "export": "export_id"}
# What `client_ref` names there; a client_ref, where nothing is said.
REFS: dict[str, str] = {"consent": "consent_ref"}
