"""What is owed next about a delivery, and until when.

Owns     the duties with a day: proof of deposit, notice, proof of a refusal, proof of a non-claim
Rules    CPCE R.53-3 III: the proof of a refusal or non-claim is available to the sender at the latest on the day after
         the fifteen days, so before midnight Paris after that day. For the other two the law names no hour: they have
         the service's own promise
Elsewhere: doing it (the stages), measuring it over all deliveries (pipeline/measures)
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pipeline.delivery.deadlines import paris_midnight

DEPOSIT_PROOF, NOTICE, REFUSAL_PROOF, NON_CLAIM_PROOF = "deposit_proof", "notice", "refusal_proof", "non_claim_proof"
PROMISE = timedelta(days=1)  # for the proof of deposit after the submission; as much again for the notice


@dataclass(frozen=True, slots=True)
class Duty:
    """What is owed, and the instant of legal time by which it has to be there."""

    name: str
    due_at: datetime


def next_duty(state: str, submitted_at: datetime, last_day: date | None, *, is_refused: bool) -> Duty | None:
    """is_refused: a refusal was drafted and is not stamped yet. None: it ended or was accepted, no day is near."""
    if state == "submitted":
        return Duty(DEPOSIT_PROOF, submitted_at + PROMISE)
    if state == "deposited":
        return Duty(NOTICE, submitted_at + 2 * PROMISE)
    if state == "notified" and last_day is not None:
        return Duty(REFUSAL_PROOF if is_refused else NON_CLAIM_PROOF, proof_due_at(last_day))
    return None


def proof_due_at(last_day: date) -> datetime:
    """Midnight Paris after the day that follows the window's last one."""
    return paris_midnight(last_day + timedelta(days=2))


def slack_seconds(duty: Duty, legal_now: datetime) -> float:
    """Time that is left; negative when the instant has passed."""
    return (duty.due_at - legal_now).total_seconds()
