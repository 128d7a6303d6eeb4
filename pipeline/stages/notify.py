"""Tell the recipient that something waits: prepare the notice, then send exactly those bytes.

Receives  prepare: a deposited delivery            send: a prepared notice (delivery, ordinal)
          ask_consent, mail_consent: a question to a consumer (pipeline/notices)
Outside   prepare: random bytes only; send: one mail at the relay, may be sent twice (same bytes, same Message-ID)
Commits   prepare: Notice       send: NoticeResult, with AcceptanceWindow and draft C.1, or draft C.2
Emits     prepare: send         send: draft -> seal, and the window's end as a timer for expire; prepare, on a new date
Fails     Retry: relay says 4xx, is away or lacks TLS; too close to midnight Paris
Source    CPCE R.53-3 I; docs/adr/0004-time-rules.md: D is printed, nothing leaves in the last 120 s of D, a passed D is
          never sent
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.actors.contract import Bury, Done, Emission, Message, Outcome, Retry, Stage, Tx, Work, beside
from pipeline.delivery.deadlines import EXPIRY_GRACE_SECONDS, expires_at, last_day, paris_date, too_late_to_send
from pipeline.delivery.facts import AcceptanceWindow, Notice, NoticeResult
from pipeline.delivery.routes import BULK, DRAFT, EXPIRE, PREPARE, SEND
from pipeline.delivery.states import DEPOSITED
from pipeline.evidence.dossier import Reason
from pipeline.evidence.draft import draft, one_line
from pipeline.notices import consents
from pipeline.notices.consent_ports import ConsentFacts
from pipeline.notices.notice import TEXT_VERSION, Addressing, Letterhead, compose
from pipeline.notices.relaying import Post, relay
from pipeline.ports.mailbox import Locked
from pipeline.ports.outside import Mailer, MailRefused, Randomness, Relayed
from pipeline.ports.rows import Announcement, Facts, StoredNotice

RELAY_CHARACTERS_MAX = 200  # of what a relay says that go into an evidence
PERFORM_SECONDS = 120.0  # no longer than the quiet seconds before midnight


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside, and what it prints."""

    facts: Facts
    mailer: Mailer
    randomness: Randomness
    letterhead: Letterhead
    consents: ConsentFacts


@dataclass(frozen=True, slots=True)
class Sent:
    """What the relay said to one notice; None: the date it prints had passed before it could leave."""

    notice: StoredNotice
    answer: Relayed | MailRefused | None


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome[Notice | Sent]]:
    """Prepare those that have no notice yet, send those that have."""
    new, known = [m for m in batch if m.kind == PREPARE], [m for m in batch if m.kind == SEND]
    announcements = await ports.facts.announcements([m.subject for m in new]) if new else {}
    prepared = [prepare(m, announcements.get(m.subject), ports) for m in new]
    return [*prepared, *(await _send(known, ports) if known else [])]


def prepare(message: Message, announcement: Announcement | None, ports: Ports) -> Outcome[Notice]:
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
    return Done(message, compose(ports.letterhead, to, announcement.legal_time, ports.randomness.random_bytes))


async def _send(batch: Sequence[Message], ports: Ports) -> list[Outcome[Sent]]:
    notices = await ports.facts.notices([(m.subject, m.ordinal) for m in batch])
    now = await ports.facts.legal_now()  # holds for the whole batch: it ends within the quiet seconds before midnight
    outcomes: list[Outcome[Sent]] = []
    due: list[tuple[Message, StoredNotice]] = []
    for m in batch:
        notice = notices.get((m.subject, m.ordinal))
        if notice is None:
            outcomes.append(Bury(m, "no such notice"))
        elif early := judge_before(m, notice, now):
            outcomes.append(early)
        else:
            due.append((m, notice))
    answers = await relay([Post(m, n.recipient_email, n.mail) for m, n in due], ports.mailer)
    for m, notice in due:
        answer = answers[m.id]
        outcomes.append(answer if isinstance(answer, Retry) else Done(m, Sent(notice, answer)))
    return outcomes


def judge_before(message: Message, notice: StoredNotice, now: datetime) -> Outcome[Sent] | None:
    """What is clear without asking the relay."""
    if paris_date(now) != notice.notice_date or not notice.is_latest:
        return Done(message, Sent(notice, None))
    return _quiet(message, now)


def _quiet(message: Message, now: datetime) -> Retry | None:
    midnight = too_late_to_send(now)
    if midnight is None:
        return None
    return Retry(message, "too close to midnight in Paris", (midnight - now).total_seconds(), counted=False)


async def commit(tx: Tx, done: Sequence[Done[Notice | Sent]]) -> list[Emission]:
    """A crash between the relay's answer and this commit sends the same mail again; the last notice rules."""
    heads = await tx.lock([d.message.subject for d in done])
    settled = [settle(heads[d.message.subject], d.fact) for d in done]
    await tx.add([fact for facts, _ in settled for fact in facts])
    return [emission for _, emissions in settled for emission in emissions]


def settle(locked: Locked, fact: Notice | Sent) -> tuple[list[Any], list[Emission]]:
    """A notice to be sent; or the relay's answer: a window and C.1, or C.2, once, whatever a second answer says."""
    if locked.drafted & {"C.1", "C.2"}:
        return [], []
    if isinstance(fact, Notice):
        return (
            ([fact], [Emission(SEND, fact.delivery, ordinal=fact.ordinal)]) if locked.state == DEPOSITED else ([], [])
        )
    notice = fact.notice
    if fact.answer is None:
        passed = _result(notice, "superseded", 0, "its date had passed", locked.legal_time)
        return [passed], [Emission(PREPARE, notice.delivery)] if notice.is_latest else []
    if isinstance(fact.answer, MailRefused):
        return _fail(locked, notice, fact.answer)
    return _open_window(locked, notice, fact.answer)


def _open_window(locked: Locked, notice: StoredNotice, answer: Relayed) -> tuple[list[Any], list[Emission]]:
    proved = max(notice.notice_date, paris_date(locked.legal_time))  # the later of printed and proved
    closes = expires_at(proved)
    details = (
        *_relay_details(notice, answer),
        ("tls", answer.tls or "none"),
        ("notice_text", f"{TEXT_VERSION} sha256 {notice.text_sha256.hex()}"),
        ("notice_date", notice.notice_date.isoformat()),
        ("last_day", last_day(proved).isoformat()),
        ("expires_at", closes.isoformat()),
    )
    drafted = draft(locked.head, "C.1", notice.dossier, ordinal=notice.ordinal, details=details)
    result = _result(notice, "relayed", answer.code, answer.text, locked.legal_time)
    window = AcceptanceWindow(notice.delivery, notice.ordinal, last_day(proved), closes)
    expiry = Emission(EXPIRE, drafted.delivery, at=closes + timedelta(seconds=EXPIRY_GRACE_SECONDS), lane=BULK)
    return [result, window, drafted], [Emission(DRAFT, drafted.delivery, drafted.evidence), expiry]


def _fail(locked: Locked, notice: StoredNotice, answer: MailRefused) -> tuple[list[Any], list[Emission]]:
    reason = Reason("notice_refused", "The recipient's mail system refused the notice for good.")
    said = _relay_details(notice, answer)
    drafted = draft(locked.head, "C.2", notice.dossier, ordinal=notice.ordinal, reason=reason, details=said)
    result = _result(notice, "refused", answer.code, answer.text, locked.legal_time)
    return [result, drafted], [Emission(DRAFT, drafted.delivery, drafted.evidence)]


def _relay_details(notice: StoredNotice, answer: Relayed | MailRefused) -> tuple[tuple[str, str], ...]:
    said = one_line(f"{answer.code} {answer.text}", RELAY_CHARACTERS_MAX)
    return (("recipient_email", notice.recipient_email), ("message_id", notice.message_id), ("relay_answer", said))


def _result(notice: StoredNotice, outcome: str, code: int, text: str, at: datetime) -> NoticeResult:
    return NoticeResult(notice.delivery, notice.ordinal, outcome, code, one_line(text, RELAY_CHARACTERS_MAX), at)


WORK = beside(Work(frozenset({PREPARE, SEND}), perform, commit), consents.WORK)
STAGE = Stage("notify", WORK, perform_seconds=PERFORM_SECONDS)
