"""Tell the recipient that something waits: prepare the notice, then send exactly those bytes.

Receives  prepare: a deposited delivery            send: a prepared notice (delivery, ordinal)
Outside   prepare: random bytes only; send: one mail at the relay, may be sent twice (same bytes, same Message-ID)
Commits   prepare: Notice       send: NoticeResult, with AcceptanceWindow and draft C.1, or draft C.2
Emits     prepare: send         send: draft -> seal, and the window's end as a timer for expire; prepare, on a new date
Fails     Retry: relay says 4xx, is away or lacks TLS; too close to midnight Paris
Source    CPCE R.53-3 I; rules "Time": D is printed, nothing leaves in the last 120 s of D, a passed D is never sent
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio

from pipeline.actors.contract import Bury, Done, Outcome, Retry, Stage
from pipeline.delivery.deadlines import EXPIRY_GRACE_SECONDS, expires_at, last_day, paris_date, too_late_to_send
from pipeline.delivery.facts import AcceptanceWindow, Notice, NoticeResult
from pipeline.delivery.notice import CLAIM_RANDOM_BYTES, TEXT_VERSION, NoticeText, render_notice
from pipeline.delivery.routes import BULK, DRAFT, EXPIRE, PREPARE, SEND, Emission
from pipeline.delivery.states import DEPOSITED
from pipeline.errors import Transient
from pipeline.evidence.dossier import Reason
from pipeline.evidence.draft import draft, one_line
from pipeline.ports import (
    Announcement,
    Facts,
    Locked,
    Mailer,
    MailRefused,
    Message,
    Randomness,
    Relayed,
    StoredNotice,
    Tx,
)

MAILS_AT_ONCE = 8  # connections one process opens to the relay
RELAY_ANSWER_LENGTH_MAX = 200  # characters of what a relay says that go into an evidence
PERFORM_SECONDS = 120.0  # a hundred mails to a relay that answers each just before its deadline


@dataclass(frozen=True, slots=True)
class Ports:
    """What this stage may ask of the outside, and what it prints."""

    facts: Facts
    mailer: Mailer
    randomness: Randomness
    provider: str
    mode: str
    from_address: str
    public_url: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """The date printed had passed before the notice could leave."""

    notice: StoredNotice


@dataclass(frozen=True, slots=True)
class Answered:
    """What the relay said to one notice."""

    notice: StoredNotice
    answer: Relayed | MailRefused


async def perform(batch: Sequence[Message], ports: Ports) -> list[Outcome]:
    """Prepare those that have no notice yet, send those that have."""
    prepared = await _prepare([m for m in batch if m.kind == PREPARE], ports)
    return prepared + await _send([m for m in batch if m.kind == SEND], ports)


async def _prepare(batch: Sequence[Message], ports: Ports) -> list[Outcome]:
    announcements = await ports.facts.announcements([m.delivery for m in batch]) if batch else {}
    return [prepare(m, announcements.get(m.delivery), ports) for m in batch]


def prepare(message: Message, announcement: Announcement | None, ports: Ports) -> Outcome:
    """Fix the date, the last day, the link and every byte of the mail."""
    if announcement is None:
        return Bury(message, "no such delivery")
    if (wait := _quiet_seconds(announcement.legal_time)) is not None:
        return Retry(message, "too close to midnight in Paris", wait, counted=False)
    day = paris_date(announcement.legal_time)
    claim = base64.urlsafe_b64encode(ports.randomness.random_bytes(CLAIM_RANDOM_BYTES)).rstrip(b"=").decode()
    domain = ports.from_address.rpartition("@")[2]
    text = NoticeText(
        provider=ports.provider,
        mode=ports.mode,
        number=announcement.number,
        language=announcement.language,
        recipient=announcement.recipient_email,
        sender_address=ports.from_address,
        notice_date=day,
        last_day=last_day(day),
        claim_url=f"{ports.public_url}/c/{claim}",
        message_id=f"<{ports.randomness.random_bytes(CLAIM_RANDOM_BYTES).hex()}@{domain}>",
        sent_at=announcement.legal_time,
    )
    rendered = render_notice(text)
    notice = Notice(
        delivery=announcement.delivery,
        ordinal=announcement.next_ordinal,
        notice_date=day,
        last_day=text.last_day,
        language=text.language,
        message_id=text.message_id,
        claim_sha256=hashlib.sha256(claim.encode()).digest(),
        text_sha256=rendered.text_sha256,
        mail=rendered.mail,
        prepared_at=announcement.legal_time,
    )
    return Done(message, notice)


async def _send(batch: Sequence[Message], ports: Ports) -> list[Outcome]:
    if not batch:
        return []
    notices = await ports.facts.notices([(m.delivery, m.ordinal) for m in batch])
    now = await ports.facts.legal_now()
    outcomes: dict[int, Outcome] = {}
    limit = anyio.CapacityLimiter(MAILS_AT_ONCE)
    async with anyio.create_task_group() as tasks:
        for m in batch:
            notice = notices.get((m.delivery, m.ordinal))
            early = judge_before(m, notice, now)
            if early is not None or notice is None:
                outcomes[m.id] = early or Bury(m, "no such notice")
            else:
                tasks.start_soon(_mail, m, notice, ports.mailer, limit, outcomes)
    return [outcomes[m.id] for m in batch]


def judge_before(message: Message, notice: StoredNotice | None, now: datetime) -> Outcome | None:
    """What is clear without asking the relay."""
    if notice is None:
        return Bury(message, "no such notice")
    if paris_date(now) != notice.notice_date or not notice.is_latest:
        return Done(message, Superseded(notice))
    if (wait := _quiet_seconds(now)) is not None:
        return Retry(message, "too close to midnight in Paris", wait, counted=False)
    return None


async def _mail(
    message: Message, notice: StoredNotice, mailer: Mailer, limit: anyio.CapacityLimiter, outcomes: dict[int, Outcome]
) -> None:
    async with limit:
        try:
            answer = await mailer.send(notice.recipient_email, notice.mail)
        except Transient as error:
            outcomes[message.id] = Retry(message, str(error))
        else:
            outcomes[message.id] = Done(message, Answered(notice, answer))


def _quiet_seconds(now: datetime) -> float | None:
    midnight = too_late_to_send(now)
    return None if midnight is None else (midnight - now).total_seconds()


async def commit(tx: Tx, done: Sequence[Done]) -> list[Emission]:
    """A crash between the relay's answer and this commit sends the same mail again; the last notice rules."""
    notices = [d for d in done if isinstance(d.fact, Notice)]
    sent = [d for d in done if not isinstance(d.fact, Notice)]
    heads = await tx.lock([d.message.delivery for d in done])
    emissions = []
    for d in notices:
        if heads[d.message.delivery].state == DEPOSITED and not heads[d.message.delivery].drafted & {"C.1", "C.2"}:
            await tx.add([d.fact])
            emissions.append(Emission(SEND, d.message.delivery, ordinal=d.fact.ordinal))
    for d in sent:
        emissions += await settle(tx, heads[d.message.delivery], d.fact)
    return emissions


async def settle(tx: Tx, locked: Locked, fact: Superseded | Answered) -> list[Emission]:
    """The relay's answer as facts: a window and C.1, or C.2; once, whatever a second answer says."""
    notice = fact.notice
    if locked.drafted & {"C.1", "C.2"}:
        return []
    if isinstance(fact, Superseded):
        await tx.add(
            [NoticeResult(notice.delivery, notice.ordinal, "superseded", 0, "its date had passed", locked.legal_time)]
        )
        return [Emission(PREPARE, notice.delivery)] if notice.is_latest else []
    if isinstance(fact.answer, MailRefused):
        return await _fail(tx, locked, notice, fact.answer)
    return await _open_window(tx, locked, notice, fact.answer)


async def _open_window(tx: Tx, locked: Locked, notice: StoredNotice, answer: Relayed) -> list[Emission]:
    proved = max(notice.notice_date, paris_date(locked.legal_time))  # the later of printed and proved
    closes = expires_at(proved)
    details = (
        ("channel", "smtp"),
        ("recipient_email", notice.recipient_email),
        ("message_id", notice.message_id),
        ("relay_answer", one_line(f"{answer.code} {answer.text}", RELAY_ANSWER_LENGTH_MAX)),
        ("tls", answer.tls or "none"),
        ("notice_text_version", TEXT_VERSION),
        ("notice_text_sha256", notice.text_sha256.hex()),
        ("notice_date", notice.notice_date.isoformat()),
        ("last_day", last_day(proved).isoformat()),
        ("expires_at", closes.isoformat()),
    )
    drafted = draft(locked.head, "C.1", notice.dossier, ordinal=notice.ordinal, details=details)
    result = NoticeResult(notice.delivery, notice.ordinal, "relayed", answer.code, answer.text[:500], locked.legal_time)
    await tx.add([result, AcceptanceWindow(notice.delivery, notice.ordinal, last_day(proved), closes), drafted])
    due_at = closes + timedelta(seconds=EXPIRY_GRACE_SECONDS)
    return [
        Emission(DRAFT, drafted.delivery, drafted.evidence),
        Emission(EXPIRE, drafted.delivery, at=due_at, lane=BULK),
    ]


async def _fail(tx: Tx, locked: Locked, notice: StoredNotice, answer: MailRefused) -> list[Emission]:
    reason = Reason("notice_refused", "The recipient's mail system refused the notice for good.")
    details = (("recipient_email", notice.recipient_email), ("relay_answer", one_line(f"{answer.code} {answer.text}", RELAY_ANSWER_LENGTH_MAX)))
    drafted = draft(locked.head, "C.2", notice.dossier, ordinal=notice.ordinal, reason=reason, details=details)
    result = NoticeResult(notice.delivery, notice.ordinal, "refused", answer.code, answer.text[:500], locked.legal_time)
    await tx.add([result, drafted])
    return [Emission(DRAFT, drafted.delivery, drafted.evidence)]


STAGE = Stage(
    "notify",
    receives=frozenset({PREPARE, SEND}),
    perform=perform,
    commit=commit,
    perform_seconds=PERFORM_SECONDS,
)
