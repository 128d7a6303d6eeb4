"""When a notice may leave: on the date that it prints, and not in the last minutes of it.

Owns     what is prepared or sent now, what waits for midnight, what is never sent, when a person is asked
Rules    docs/adr/0004-time-rules.md: the date D is printed; nothing is prepared and nothing leaves in the last 120 s of
         D; a passed D is never sent, and of two notices only the latest
         what no relay has taken on DATES_MAX dates is a dead letter at its next try: a fact about nobody
Elsewhere: text and bytes (notice.py), many mails at the relay (relaying.py), what its answer means (answers.py)
"""

from collections.abc import Sequence
from datetime import datetime

from pipeline.actors.contract import Bury, Done, Message, Outcome, Retry
from pipeline.delivery.deadlines import paris_date, too_late_to_send
from pipeline.delivery.facts import Notice
from pipeline.notices.answers import Sent
from pipeline.notices.notice import Addressing, Letterhead, compose
from pipeline.notices.relaying import GuardedRelay, StoredMail
from pipeline.ports.outside import Randomness
from pipeline.ports.rows import Announcement, StoredNotice

__all__ = ["GuardedRelay", "judge_before", "prepare_notice", "send"]  # what it asks is named here for the stage

DATES_MAX = 5  # RFC 5321 4.5.4.1: whoever sends mail gives up after four or five days


def prepare_notice(
    message: Message, announcement: Announcement | None, letterhead: Letterhead, randomness: Randomness
) -> Outcome[Notice]:
    """Fix the date, the last day, the link and every byte of the mail."""
    if announcement is None:
        return Bury(message, "no such delivery")
    if quiet := _quiet(message, announcement.legal_time):
        return quiet
    to = Addressing(
        delivery=announcement.delivery,
        ordinal=announcement.next_ordinal,
        number=announcement.number,
        recipient_email=announcement.recipient_email,
        language=announcement.language,
    )
    return Done(message, compose(letterhead, to, announcement.legal_time, randomness.random_bytes))


async def send(
    batch: Sequence[tuple[Message, StoredNotice | None]], now: datetime, relay: GuardedRelay
) -> list[Outcome[Sent]]:
    """Hand to the relay what may leave at this legal time, which has to hold until the end of the perform."""
    outcomes: list[Outcome[Sent]] = []
    due: list[tuple[Message, StoredNotice]] = []
    for m, notice in batch:
        if notice is None:
            outcomes.append(Bury(m, "no such notice"))
        elif early := judge_before(m, notice, now):
            outcomes.append(early)
        else:
            due.append((m, notice))
    answers = await relay.send([StoredMail(m, n.recipient_email, n.mail) for m, n in due])
    for m, notice in due:
        answer = answers[m.id]
        outcomes.append(_patiently(answer, notice) if isinstance(answer, Retry) else Done(m, Sent(notice, answer)))
    return outcomes


def judge_before(message: Message, notice: StoredNotice, now: datetime) -> Outcome[Sent] | None:
    """What is clear without asking the relay; None: it may leave."""
    if paris_date(now) != notice.notice_date or not notice.is_latest:
        return Done(message, Sent(notice, None))
    return _quiet(message, now)


def _patiently(retry: Retry, notice: StoredNotice) -> Retry | Bury:
    """Each notice has a date of its own. A person finds out why, and puts it back: the day of that is its last day."""
    if notice.ordinal <= DATES_MAX:
        return retry
    return Bury(retry.message, f"not sent on {DATES_MAX} dates: {retry.why}")


def _quiet(message: Message, now: datetime) -> Retry | None:
    midnight = too_late_to_send(now)
    if midnight is None:
        return None
    return Retry(message, "too close to midnight in Paris", (midnight - now).total_seconds(), counted=False)
