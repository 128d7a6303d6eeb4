"""Check what a request alone could not tell.

Receives  submitted: a delivery that the gateway answered 202 for
          draw, settle: lines of a submitted batch (pipeline/intake/drawing.py)
Outside   reads only
Commits   nothing, or draft A.2          Emits  checked -> encrypt, or draft -> seal
Fails     Retry: database away. Bury: no such delivery. What draw and settle add: pipeline/intake/drawing.py
Source    CPCE L.100 I (a consumer must have consented)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Stage, Tx, Work, beside
from pipeline.delivery.routes import CHECKED, DRAFT, SUBMITTED
from pipeline.evidence.dossier import WITHDRAWN, Reason
from pipeline.evidence.draft import draft
from pipeline.intake import drawing
from pipeline.ports.outside import Randomness
from pipeline.ports.rows import Facts, SubmittedDelivery
from pipeline.stores.batches import DrawFacts

CONSENT_REASONS = {
    "withdrawn": WITHDRAWN,
    "unknown": Reason("consent_withdrawn", "The recipient's consent named by the sender does not exist."),
}


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    facts: Facts
    draws: DrawFacts
    randomness: Randomness
    mode: str
    config_version: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission and why it is refused, if it is."""

    submission: SubmittedDelivery
    refusal: Reason | None


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[Checked]]:
    """Read the submissions and judge them."""
    submissions = await ports.facts.submissions([m.subject for m in batch])
    return [judge(m, submissions.get(m.subject)) for m in batch]


def judge(message: Message, submission: SubmittedDelivery | None) -> Outcome[Checked]:
    """Consent stands, or the delivery is refused. A delivery that is not there was never answered 202."""
    if submission is None:
        return Bury(message, "no such delivery")
    return Done(message, Checked(submission, CONSENT_REASONS.get(submission.consent)))


async def commit(tx: Tx, done: Sequence[Done[Checked]]) -> list[Emission]:
    """A crash before it leaves the messages running, rescued; after it, the next stage has its own."""
    refused = [(d.message.subject, d.fact.submission, d.fact.refusal) for d in done if d.fact.refusal is not None]
    emissions = [Emission(CHECKED, d.message.subject) for d in done if d.fact.refusal is None]
    heads = await tx.lock([delivery for delivery, _, _ in refused]) if refused else {}
    for delivery, submission, reason in refused:
        if heads[delivery].drafted:
            continue  # judged before: a dead letter that was put back
        rejection = draft(heads[delivery].head, "A.2", submission.dossier, reason=reason)
        await tx.add([rejection])
        emissions.append(Emission(DRAFT, rejection.delivery, rejection.evidence))
    return emissions


WORK = beside(Work(frozenset({SUBMITTED}), perform, commit), drawing.WORK)  # locks deliveries first, then batches
STAGE = Stage("ingest", WORK)
