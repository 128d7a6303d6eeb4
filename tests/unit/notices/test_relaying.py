"""What is made of a relay's answers: who is tried again and when, and how a relay that refuses everybody is stopped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import anyio
import anyio.lowlevel
import pytest
from trio.testing import MockClock

from pipeline.actors.contract import ATTEMPTS_MAX, Retry
from pipeline.errors import Transient
from pipeline.notices import circuit
from pipeline.notices.relaying import AWAY_SECONDS, GuardedRelay, StoredMail
from pipeline.ports.mailbox import Message
from pipeline.ports.outside import MailAnswer, MailRefused, NotTaken, Relayed
from pipeline.process.measures import RELAY_UP
from pipeline.process.recorder import Recorder

BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CLOCK = MockClock()
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", [pytest.param(("trio", {"clock": CLOCK}), id="virtual")]),
]
TAKEN = Relayed(250, "2.0.0 queued", None)
NOBODY = MailRefused(550, "5.1.1 no such mailbox")
DENIED = NotTaken("ours", "rcpt", 554, "5.7.1")
LOGIN = NotTaken("ours", "mail", 530, "5.7.0")
BUSY = NotTaken("later", "connect", 421, "4.3.2")
SPAM = NotTaken("message", "data", 554, "bare")
GREY = NotTaken("later", "rcpt", 450, "4.2.0")


@dataclass
class Relay:
    """Answers as it is told to, and remembers whom it heard of."""

    says: Callable[[str], MailAnswer | Exception]
    at_once: int = 4
    heard: list[str] = field(default_factory=list)

    async def send(self, recipient: str, _mail: bytes) -> MailAnswer:
        self.heard.append(recipient)
        await anyio.lowlevel.checkpoint()
        answer = self.says(recipient)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Desk:
    """A relay behind its guard, and what the process told."""

    relay: Relay
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recorder = Recorder("notify", self.lines.append)
        self.guarded = GuardedRelay(self.relay, self.recorder)

    async def send(self, *recipients: str, attempts: int = 0) -> list[Relayed | MailRefused | Retry]:
        """A perform, ten seconds after the last one's end."""
        posts = [StoredMail(message(n, attempts), r, b"mail") for n, r in enumerate(recipients, 1)]
        self.relay.heard.clear()
        with anyio.fail_after(120):
            answers = await self.guarded.send(posts)
        return [answers[post.message.id] for post in posts]

    @property
    def is_up(self) -> bool:
        return self.recorder.gauges[RELAY_UP.of()] == 1.0


def message(number: int, attempts: int) -> Message:
    return Message(number, 0, "send", UUID(int=number), None, 1, attempts, 0, BEGAN)


def at_domains(count: int, first: int = 0) -> list[str]:
    return [f"somebody@domain{n}.example" for n in range(first, first + count)]


def at_one_domain(count: int) -> list[str]:
    return [f"person{n}@example.net" for n in range(count)]


def refused(answers: Sequence[object]) -> list[object]:
    return [answer for answer in answers if isinstance(answer, MailRefused)]


@pytest.mark.parametrize("answer", [DENIED, LOGIN, BUSY, SPAM], ids=str)
async def test_a_relay_that_refuses_everybody_is_stopped(answer: NotTaken) -> None:
    """After the first few nobody else's mail is tried, no answer is about anybody, and the process says so."""
    desk = Desk(Relay(lambda _: answer))
    answers = await desk.send(*at_one_domain(100))
    assert len(desk.relay.heard) <= circuit.REFUSED_RECIPIENTS_MAX + desk.relay.at_once
    assert all(isinstance(a, Retry) for a in answers)
    assert not desk.is_up
    assert any("relay_takes_nobodys_mail" in line for line in desk.lines)


@pytest.mark.parametrize("answer", [DENIED, LOGIN, NOBODY], ids=str)
async def test_one_probe_at_a_time_is_tried(answer: MailAnswer) -> None:
    """And not before its time; the others wait at no cost of an attempt, spread over a minute."""
    desk = Desk(Relay(lambda _: answer))
    await desk.send(*at_domains(30))
    assert not desk.is_up
    await desk.send(*at_domains(30))
    assert desk.relay.heard == []
    for _ in range(3):
        CLOCK.jump(circuit.PROBE_SECONDS)
        answers = await desk.send(*at_domains(30))
        assert len(desk.relay.heard) == 1
        assert refused(answers) == []
        waits = [a for a in answers if isinstance(a, Retry) and not a.counted]
        assert len(waits) >= 29
        assert len({wait.after_seconds for wait in waits}) > 20
        assert all(10 < (wait.after_seconds or 0) <= 120 for wait in waits)


async def test_a_probe_that_is_taken_lets_the_others_go() -> None:
    """In the same perform; what the relay says of a mailbox is a fact again."""
    answers: dict[str, MailAnswer] = {}
    desk = Desk(Relay(lambda r: answers.get(r, DENIED)))
    people = at_one_domain(30)
    await desk.send(*people)
    answers.update(dict.fromkeys(people, TAKEN), **{people[3]: NOBODY})
    CLOCK.jump(circuit.PROBE_SECONDS)
    outcomes = await desk.send(*people)
    assert outcomes == [TAKEN, TAKEN, TAKEN, NOBODY, *[TAKEN] * 26]
    assert desk.is_up


async def test_the_probe_is_somebody_whose_domain_did_not_refuse() -> None:
    """One domain's policy about us must not hold back everybody else's mail."""
    desk = Desk(Relay(lambda r: DENIED if r.endswith("example.net") else TAKEN))
    await desk.send(*at_one_domain(20))
    assert not desk.is_up
    CLOCK.jump(circuit.PROBE_SECONDS)
    outcomes = await desk.send(*at_one_domain(3), "other@example.org")
    assert outcomes[-1] == TAKEN
    assert desk.relay.heard[0] == "other@example.org"
    assert desk.is_up


async def test_a_relay_that_knows_no_mailbox_anywhere_is_not_believed() -> None:
    """Its table or its name server is broken: of a perform in which that shows, nobody gets a refusal."""
    desk = Desk(Relay(lambda _: NOBODY))
    assert refused(await desk.send(*at_domains(100))) == []
    assert not desk.is_up
    CLOCK.jump(circuit.PROBE_SECONDS)
    assert refused(await desk.send(*at_domains(5, first=200))) == []


async def test_nor_is_one_that_knows_nobody_at_a_few_large_domains() -> None:
    """Most people are at a handful of domains: one by one, the first few get their refusal, and then nobody."""
    desk = Desk(Relay(lambda _: NOBODY))
    people = [f"person{n}@large{n % 4}.example" for n in range(60)]
    outcomes = [outcome for one in people for outcome in await desk.send(one)]
    assert len(refused(outcomes)) == circuit.GONE_RECIPIENTS_MAX - 1
    assert not desk.is_up
    assert refused(await desk.send("jeanne@large0.example")) == []


async def test_mailboxes_that_are_gone_are_refused_while_others_take_mail() -> None:
    """However many at one domain, and some at many."""
    desk = Desk(Relay(lambda _: NOBODY))
    assert len(refused(await desk.send(*at_one_domain(50)))) == 50
    mixed = Desk(Relay(lambda r: TAKEN if int(r[15:].partition(".")[0]) % 4 else NOBODY))
    assert len(refused(await mixed.send(*at_domains(60)))) == 15
    assert desk.is_up
    assert mixed.is_up


@pytest.mark.parametrize("answer", [GREY, Transient("relay: OSError")], ids=str)
async def test_what_is_only_later_for_each_stops_nobody(answer: NotTaken | Transient) -> None:
    """A greylist says so to everybody once; a relay that is away costs each a connection that fails."""
    desk = Desk(Relay(lambda _: answer))
    people = at_domains(30)
    await desk.send(*people)
    assert len(desk.relay.heard) == 30
    assert desk.is_up
    assert not [line for line in desk.lines if "not_taken" in line]


async def test_the_same_recipient_again_and_again_stops_nobody() -> None:
    """One mailbox whose answers nobody understands is no relay that refuses everybody."""
    desk = Desk(Relay(lambda _: DENIED))
    for _ in range(20):
        await desk.send("jeanne@example.net")
    assert desk.is_up
    assert any('"status": "5.7.1"' in line for line in desk.lines)


@pytest.mark.parametrize("answer", [GREY, LOGIN, SPAM, Transient("relay: OSError")], ids=str)
async def test_what_is_tried_again_is_tried_with_patience(answer: NotTaken | Transient) -> None:
    """By the usual backoff at first; then so seldom that a notice's date passes before its attempts are spent."""
    desk = Desk(Relay(lambda _: answer))
    [soon], [late] = await desk.send("jeanne@example.net"), await desk.send("jeanne@example.net", attempts=50)
    assert isinstance(soon, Retry)
    assert isinstance(late, Retry)
    assert soon.after_seconds is None
    assert late.after_seconds is not None
    assert late.after_seconds >= AWAY_SECONDS
    assert 25 * 3600 / late.after_seconds + 20 < ATTEMPTS_MAX  # a day may have 25 hours
