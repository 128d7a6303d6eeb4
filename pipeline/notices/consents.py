"""The part of `notify` that asks consumers for consent: prepare the mail, then send exactly those bytes.

Receives  ask_consent: a request               mail_consent: a request whose mail is stored
Outside   as for notices: one mail at the relay, may be sent twice (same bytes, same Message-ID)
Commits   ConsentMail, ConsentMailResult       Emits  mail_consent
Fails     Retry: the relay does not take it, is away or slow; database away. Bury: no such consent request, no such mail
Crash     between the relay's answer and the commit: the same mail again; a second answer of the relay changes nothing
Elsewhere: notices (pipeline/stages/notify.py), what the consumer answers (gateway/portal/consent.py)
"""

from collections.abc import Sequence

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Retry, Tx, Work
from pipeline.delivery.routes import ASK_CONSENT, MAIL_CONSENT
from pipeline.evidence.draft import one_line
from pipeline.notices.consent_facts import ConsentMail, ConsentMailResult
from pipeline.notices.consent_mail import compose
from pipeline.notices.consent_ports import ConsentFacts, ConsentPorts, ConsentQuestion
from pipeline.notices.relaying import RELAY_CHARACTERS_MAX, StoredMail
from pipeline.ports.outside import MailRefused, Relayed

__all__ = ["CONSENTS", "ConsentFacts"]  # what it asks of the outside is named here for the stage

Fact = ConsentMail | ConsentMailResult | None  # None: there is nothing to be done any more


async def perform(batch: Sequence[Message], ports: ConsentPorts) -> list[Outcome[Fact]]:
    """Prepare the mails that are not stored yet, send those that are."""
    questions = await ports.consents.questions([m.subject for m in batch])
    outcomes: list[Outcome[Fact]] = []
    due: dict[int, tuple[Message, ConsentQuestion, bytes]] = {}
    for m in batch:
        question = questions.get(m.subject)
        if question is None:
            outcomes.append(Bury(m, "no such consent request"))
        elif m.kind == ASK_CONSENT:
            is_composed = question.mail is not None
            outcomes.append(
                Done(m, None if is_composed else compose(ports.letterhead, question, ports.randomness.random_bytes))
            )
        elif question.mail is None:
            outcomes.append(Bury(m, "no such mail"))
        elif question.is_settled:
            outcomes.append(Done(m, None))
        elif question.now >= question.expires_at:
            outcomes.append(Done(m, ConsentMailResult(question.request, "late", 0, "the request had expired")))
        else:
            due[m.id] = (m, question, question.mail)
    answers = await ports.relay.send([StoredMail(m, question.email, mail) for m, question, mail in due.values()])
    return outcomes + [_outcome(m, question, answers[m.id]) for m, question, _ in due.values()]


def _outcome(
    message: Message, question: ConsentQuestion, answer: Relayed | MailRefused | Retry
) -> Outcome[ConsentMailResult]:
    if isinstance(answer, Retry):
        return answer
    outcome = "relayed" if isinstance(answer, Relayed) else "refused"
    return Done(
        message, ConsentMailResult(question.request, outcome, answer.code, one_line(answer.text, RELAY_CHARACTERS_MAX))
    )


async def commit(tx: Tx, done: Sequence[Done[Fact]]) -> list[Emission]:
    """The mail and the order to send it, or what the relay said."""
    facts = [d.fact for d in done if d.fact is not None]
    await tx.add(facts)
    return [Emission(MAIL_CONSENT, f.request) for f in facts if isinstance(f, ConsentMail)]


CONSENTS = Work(frozenset({ASK_CONSENT, MAIL_CONSENT}), perform, commit)
