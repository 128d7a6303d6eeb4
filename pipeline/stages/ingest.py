"""Check what a request alone could not tell.                     pipeline/stages/ingest.py

Receives  submitted: a delivery that the gateway answered 202 for
Outside   reads only
Commits   nothing, or draft A.2                Emits  checked -> encrypt, or draft -> seal
Fails     Retry: database away
Source    rules "Words and people"; CPCE L.100 I (a consumer must have consented)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.actors.contract import Bury, Done, Outcome, Stage
from pipeline.delivery.routes import CHECKED, DRAFT, SUBMITTED, Emission
from pipeline.evidence.dossier import Reason
from pipeline.evidence.draft import draft
from pipeline.ports import Facts, Message, Submission, Tx

CONSENT_REASONS = {
    "withdrawn": Reason("consent_withdrawn", "The recipient's consent was withdrawn before the deposit."),
    "unknown": Reason("consent_withdrawn", "The recipient's consent named by the sender does not exist."),
}


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside."""

    facts: Facts


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission and why it is refused, if it is."""

    submission: Submission
    refusal: Reason | None


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome]:
    """Read the submissions and judge them."""
    submissions = await ports.facts.submissions([m.delivery for m in batch])
    return [judge(m, submissions.get(m.delivery)) for m in batch]


def judge(message: Message, submission: Submission | None) -> Outcome:
    """Consent stands, or the delivery is refused. A delivery that is not there was never answered 202."""
    if submission is None:
        return Bury(message, "no such delivery")
    return Done(message, Checked(submission, CONSENT_REASONS.get(submission.consent)))


async def commit(tx: Tx, done: Sequence[Done]) -> list[Emission]:
    """A crash before it leaves the message running, rescued; after it, `encrypt` or `seal` has its own."""
    refused = [d for d in done if d.fact.refusal is not None]
    emissions = [Emission(CHECKED, d.message.delivery) for d in done if d.fact.refusal is None]
    heads = await tx.lock([d.message.delivery for d in refused])
    for d in refused:
        locked = heads[d.message.delivery]
        if locked.drafted:
            continue  # judged before: a dead letter that was put back
        rejection = draft(locked.head, "A.2", d.fact.submission.dossier, reason=d.fact.refusal)
        await tx.add([rejection])
        emissions.append(Emission(DRAFT, rejection.delivery, rejection.evidence))
    return emissions


STAGE = Stage("ingest", receives=frozenset({SUBMITTED}), perform=perform, commit=commit)
