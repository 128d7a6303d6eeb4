"""notify: the notice, its date, and the relay's answer."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from uuid import UUID, uuid4

import pytest

from pipeline.delivery.deadlines import PARIS, QUIET_SECONDS_BEFORE_MIDNIGHT
from pipeline.delivery.facts import AcceptanceWindow
from pipeline.delivery.routes import ASK_CONSENT, MAIL_CONSENT, PREPARE, SEND, Emission
from pipeline.errors import Transient
from pipeline.evidence.form.reading import read
from pipeline.notices.consent_facts import ConsentMail, ConsentMailResult
from pipeline.ports.outside import Cause, MailAnswer, MailRefused, NotTaken, Relayed
from pipeline.stages import notify
from tests.stages.line import PROOF, Line

pytestmark = pytest.mark.anyio


async def deposited(line: Line) -> None:
    await line.submit()
    await line.run("ingest", "encrypt", *PROOF)


async def test_a_notice_is_stored_before_it_is_sent() -> None:
    """What leaves are stored bytes: a crash after the relay's answer sends the same again."""
    line = Line()
    await deposited(line)
    [message] = await line.turn("notify")
    [notice] = line.notices(message.subject)
    assert (notice.ordinal, line.relay.mails) == (1, [])
    await line.turn("notify")
    assert line.relay.mails == [notice.mail]


async def test_the_relay_s_answer_is_proved_and_opens_the_window() -> None:
    """C.1 says what the relay answered; its token opens the window and sets the timer: fifteen days after the date."""
    line = Line()
    await deposited(line)
    await line.run("notify")
    [message] = line.waiting("seal")
    assert line.events(message.subject) == ["A.1", "C.1"]
    assert line.results(message.subject) == [(1, "relayed")]
    assert line.database.tables.find(AcceptanceWindow, message.subject) is None
    assert not [t for t in line.database.timers if t.is_legal]
    for said in (b"2026-03-17", b"250 2.0.0 queued", b"jeanne@example.net"):
        assert said in line.last(message.subject).canonical
    await line.run(*PROOF)
    window = line.database.tables.find(AcceptanceWindow, message.subject)
    assert window is not None
    assert window.expires_at == datetime(2026, 3, 18, tzinfo=PARIS)
    [timer] = [t for t in line.database.timers if t.is_legal]
    assert timer.due_at == window.expires_at + timedelta(seconds=120)


@pytest.mark.parametrize(("tls", "words"), [("TLSv1.3", "TLSv1.3"), (None, "none")])
async def test_a_notice_says_how_it_went_to_the_relay(tls: str | None, words: str) -> None:
    """Over which TLS, or that it was over none: C.1 is read as it is, years later."""
    line = Line()
    await deposited(line)
    line.relay.answers = [Relayed(250, "2.0.0 queued", tls)]
    await line.run("notify")
    [message] = line.waiting("seal")
    assert dict(read(line.last(message.subject).canonical).details)["tls"] == words


@pytest.mark.parametrize("days", [1, 14, 15, 16, 20, 400])
async def test_a_notice_that_is_proved_late_opens_its_window_then(days: int) -> None:
    """Held back by whoever sends or seals, or by a trouble: nobody's time has passed before the notice was proved."""
    line = Line()
    delivery = await line.submit()
    await line.run("ingest", "encrypt", "notify", *PROOF)
    other = await line.submit()
    await line.run("ingest", "encrypt", *PROOF)
    await line.run("notify")
    line.later(days=days)
    await line.run(*PROOF, "expire")
    window = line.database.tables.find(AcceptanceWindow, other)
    assert window is not None
    assert window.expires_at == datetime(2026, 3, 18, tzinfo=PARIS) + timedelta(days=days)
    assert (line.state(delivery), line.state(other)) == ("unclaimed" if days > 15 else "notified", "notified")


async def test_a_retry_on_the_same_date_sends_the_same_bytes() -> None:
    """An answer lost costs a second copy of one mail, never a second notice."""
    line = Line()
    await deposited(line)
    line.relay.answers = [Transient("the answer was lost"), Transient("451")]
    for _ in range(3):
        await line.run("notify")
        for timer in [t for t in line.database.timers if not t.is_legal]:
            line.database.timers.remove(timer)
            await line.again(timer.message)
    assert len(line.relay.mails) == 3
    assert len(set(line.relay.mails)) == 1
    await line.run(*PROOF)
    [delivery] = line.database.tables.deliveries()
    assert (line.state(delivery), line.events(delivery)) == ("notified", ["A.1", "C.1"])


async def test_a_refusal_for_good_ends_the_delivery_with_evidence() -> None:
    """The sender learns from C.2 that the notice could not be given; no window opens."""
    line = Line()
    await deposited(line)
    line.relay.answers = [MailRefused(550, "5.1.1 no such mailbox")]
    await line.run("notify", *PROOF, "archive")
    [delivery] = line.database.tables.deliveries()
    assert (line.state(delivery), line.events(delivery)) == ("notice_failed", ["A.1", "C.2"])
    assert line.database.tables.find(AcceptanceWindow, delivery) is None
    assert line.nothing_left()


def test_a_perform_ends_on_the_date_on_which_it_began() -> None:
    """The time is read once for the batch: its last mail leaves on the date that was compared with the printed one."""
    assert 0 < notify.STAGE.perform_seconds <= QUIET_SECONDS_BEFORE_MIDNIGHT


@pytest.mark.parametrize("kind", ["prepare", "send"])
async def test_nothing_leaves_in_the_last_two_minutes_of_a_day(kind: str) -> None:
    """An answer could fall on the next date: it waits for midnight, at no cost of an attempt."""
    line = Line()
    await deposited(line)
    if kind == "send":
        await line.turn("notify")
    line.at(datetime(2026, 3, 2, 23, 58, 30, tzinfo=PARIS))
    await line.turn("notify")
    [timer] = line.database.timers
    assert (timer.message.kind, timer.message.attempts, line.relay.mails) == (kind, 0, [])
    assert abs((timer.due_at - line.clock.now()).total_seconds() - 90) < 5


@pytest.mark.parametrize(
    ("day", "after", "closes"),
    [
        (datetime(2026, 3, 2, 12, tzinfo=PARIS), timedelta(days=1), datetime(2026, 3, 19, tzinfo=PARIS)),
        (datetime(2026, 3, 19, 12, tzinfo=PARIS), timedelta(days=1), datetime(2026, 4, 5, tzinfo=PARIS)),  # 29 March
        (
            datetime(2026, 10, 18, 12, tzinfo=PARIS),
            timedelta(days=1),
            datetime(2026, 11, 4, tzinfo=PARIS),
        ),  # 25 October
        (datetime(2026, 3, 27, 23, 57, tzinfo=PARIS), timedelta(minutes=4), datetime(2026, 4, 13, tzinfo=PARIS)),
    ],
)
async def test_a_passed_date_is_never_sent(day: datetime, after: timedelta, closes: datetime) -> None:
    """A new date makes a new notice with a new ordinal and Message-ID; the last notice rules the window."""
    line = Line()
    line.at(day)
    await deposited(line)
    await line.turn("notify")
    line.clock.ahead += after
    await line.run("notify", *PROOF)
    [delivery] = line.database.tables.deliveries()
    first, second = line.notices(delivery)
    assert line.results(delivery) == [(1, "superseded"), (2, "relayed")]
    assert line.relay.mails == [second.mail]
    assert message_from_bytes(second.mail)["Message-ID"] not in (None, first.message_id)
    window = line.database.tables.find(AcceptanceWindow, delivery)
    assert window is not None
    assert (window.ordinal, window.expires_at.astimezone(UTC)) == (2, closes.astimezone(UTC))
    assert line.state(delivery) == "notified"


async def test_a_notice_proved_on_the_next_date_counts_from_there() -> None:
    """The later of printed and proved: nobody loses a day to a relay that answered after midnight."""
    line = Line()
    line.at(datetime(2026, 3, 2, 23, 57, 50, tzinfo=PARIS))
    await deposited(line)
    await line.turn("notify")
    send = line.relay.send

    async def slow(recipient: str, mail: bytes) -> object:
        line.later(minutes=3)
        return await send(recipient, mail)

    line.relay.send = slow  # type: ignore[method-assign, assignment]
    await line.turn("notify")
    await line.run(*PROOF)
    [delivery] = line.database.tables.deliveries()
    window = line.database.tables.find(AcceptanceWindow, delivery)
    assert window is not None
    assert window.expires_at == datetime(2026, 3, 19, tzinfo=PARIS)


async def test_a_second_answer_to_the_same_notice_changes_nothing() -> None:
    """Sent again by an operator: the first C.1 stands, whatever the relay says now."""
    line = Line()
    delivery = await line.notified()
    line.relay.answers = [MailRefused(550, "gone")]
    await line.emit(Emission(SEND, delivery, ordinal=1), Emission(PREPARE, delivery))
    await line.run("notify", *PROOF)
    assert (line.state(delivery), line.events(delivery)) == ("notified", ["A.1", "C.1"])
    assert len(line.notices(delivery)) == 1
    assert not line.errors


async def test_one_recipient_s_relay_does_not_delay_the_others() -> None:
    """Each mail of a batch has its own outcome."""
    line = Line()
    deliveries = [await line.submit() for _ in range(3)]
    await line.run("ingest", "encrypt", *PROOF)
    line.relay.answers = [Transient("451"), MailRefused(550, "no")]
    await line.run("notify", *PROOF)
    assert sorted(line.state(d) for d in deliveries) == ["deposited", "notice_failed", "notified"]


@pytest.mark.parametrize("cause", ["later", "ours", "message"])
async def test_what_no_relay_takes_is_for_a_person_and_no_fact_about_the_recipient(cause: Cause) -> None:
    """Tried on five dates, each with its own notice; then a dead letter, and put back it is tried again."""
    line = Line()
    await deposited(line)
    answer = NotTaken(cause, "data", 554, "bare")
    line.relay.answers = [answer] * 6
    for day in range(6):
        assert line.dead() == [], day
        await line.run("notify")
        [delivery] = line.database.tables.deliveries()
        retries = [t for t in line.database.timers if not t.is_legal]
        line.database.timers.clear()
        line.later(days=1)
        for timer in retries:
            await line.again(timer.message)
    assert line.dead() == [f"not sent on 5 dates: relay: {cause}, data 554 bare"]
    assert (line.state(delivery), line.events(delivery)) == ("deposited", ["A.1"])
    await line.emit(Emission(SEND, delivery, ordinal=6))
    await line.run("notify", *PROOF)
    assert (line.state(delivery), line.events(delivery)) == ("notified", ["A.1", "C.1"])


@pytest.mark.parametrize(
    "answer",
    [NotTaken("ours", "rcpt", 554, "5.7.1"), NotTaken("ours", "mail", 530, "5.7.0"), MailRefused(550, "5.1.1")],
)
async def test_a_relay_that_refuses_everybody_makes_no_evidence(answer: MailAnswer) -> None:
    """Whatever it says: not one of forty letters ends, few are tried, and each waits for the relay to be put right."""
    line = Line()
    deliveries = [await line.submit(email=f"jeanne@domain{n}.example") for n in range(40)]
    await line.run("ingest", "encrypt", *PROOF)
    line.relay.answers = [answer] * 40
    await line.turn("notify")
    await line.turn("notify")
    assert {line.state(d) for d in deliveries} == {"deposited"}
    assert len(line.relay.mails) < 20
    assert len([t for t in line.database.timers if not t.is_legal]) == 40
    assert line.dead() == []


async def test_unknown_addresses_are_dead_letters() -> None:
    """An address without a row is for a person."""
    line = Line()
    await line.emit(Emission(PREPARE, uuid4()), Emission(SEND, uuid4(), ordinal=1))
    await line.turn("notify")
    assert sorted(line.dead()) == ["no such delivery", "no such notice"]


# ------------------------------------------------------------------ questions to consumers
async def asked(line: Line, days: int = 30) -> UUID:
    request = UUID(bytes=line.randomness.random_bytes(16))
    line.consents.plant(request, days=days)
    await line.emit(Emission(ASK_CONSENT, request))
    return request


def outcome(line: Line, request: UUID) -> str | None:
    found = line.database.tables.find(ConsentMailResult, request)
    return None if found is None else found.outcome


async def test_a_question_is_stored_before_it_is_sent() -> None:
    """As a notice: what leaves are stored bytes, and they say who asks and nothing of a letter."""
    line = Line()
    request = await asked(line)
    await line.turn("notify")
    stored = line.database.tables.find(ConsentMail, request)
    assert stored is not None
    assert line.relay.mails == []
    await line.run("notify")
    assert (line.relay.mails, outcome(line, request), line.nothing_left()) == ([stored.mail], "relayed", True)
    mail = message_from_bytes(stored.mail)
    text = mail.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert mail["To"] == "jeanne@example.net"
    assert "Mairie" in text.decode()
    assert "https://example.org/consent/" in text.decode()


async def test_a_question_is_sent_again_with_the_same_bytes() -> None:
    """An answer lost costs a second copy; a message that comes twice asks nobody twice once the relay has answered."""
    line = Line()
    request = await asked(line)
    line.relay.answers = [Transient("the answer was lost")]
    await line.run("notify")
    [timer] = [t for t in line.database.timers if not t.is_legal]
    line.database.timers.remove(timer)
    await line.again(timer.message)
    await line.run("notify")
    for kind in (ASK_CONSENT, MAIL_CONSENT):
        await line.emit(Emission(kind, request))
    await line.run("notify")
    assert len(line.relay.mails) == 2
    assert len(set(line.relay.mails)) == 1
    assert (outcome(line, request), line.nothing_left()) == ("relayed", True)


async def test_a_question_that_cannot_be_sent_is_settled() -> None:
    """Refused for good by the relay, or expired before it could leave: the sender sees which, and nothing dangles."""
    line = Line()
    line.relay.answers = [MailRefused(550, "5.1.1 no such mailbox")]
    refused, late = await asked(line), await asked(line, days=0)
    await line.run("notify")
    assert (outcome(line, refused), outcome(line, late)) == ("refused", "late")
    assert len(line.relay.mails) == 1
    assert line.nothing_left()


async def test_a_question_that_nobody_made_is_a_dead_letter() -> None:
    """A request, or its mail, that is not there was never promised to anybody."""
    line = Line()
    request = UUID(bytes=line.randomness.random_bytes(16))
    line.consents.plant(request)
    await line.emit(Emission(ASK_CONSENT, uuid4()), Emission(MAIL_CONSENT, request))
    await line.run("notify")
    assert sorted(line.dead()) == ["no such consent request", "no such mail"]
