"""Many mails at the relay, some at a time, as long as a perform lasts. What `notify` sends with.

Rules    no mail begins in the last LAST_MAIL_SECONDS before the deadline of the perform: what is begun is waited for,
         what is not goes back to the mailbox and costs no attempt
         what the relay does not take is tried again: soon, later patiently. Of itself it never becomes a refusal
         while the relay takes nobody's mail (circuit.py), all but a probe wait at no cost of an attempt, and what it
         says of mailboxes is not believed
Elsewhere: what is sent and what the answers mean (answers.py, consents.py), who gives up (departure.py), the wire
         (adapters/mail.py)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from pipeline.actors.contract import Retry
from pipeline.errors import Transient
from pipeline.notices.circuit import Circuit
from pipeline.ports.mailbox import Message
from pipeline.ports.outside import Mailer, MailRefused, NotTaken, Relayed
from pipeline.process.measures import RELAY_UP
from pipeline.process.recorder import Recorder

LAST_MAIL_SECONDS = 30.0  # what is begun, 20 s a mail, must end before the batch does
RELAY_CHARACTERS_MAX = 200  # of what a relay says that are kept, and that go into an evidence
QUICK_ATTEMPTS = 10  # by the usual backoff: some six minutes, in which most greylists and all restarts end
PATIENCE_SECONDS = {"later": 1800.0, "ours": 600.0, "message": 600.0}  # then: RFC 5321 4.5.4.1; an operator mends it
AWAY_SECONDS = 200.0  # then, when nobody answers: a day of it is fewer than ATTEMPTS_MAX
WAIT_SECONDS = 30  # for the relay to be well
WAIT_SPREAD_SECONDS = 60  # and up to so much more: not all come back at once
PROBE_AGAIN_SECONDS = 120.0  # a probe that was refused: another one's turn comes first


@dataclass(frozen=True, slots=True)
class StoredMail:
    """One stored mail, and the message that asks for it."""

    message: Message
    recipient: str
    mail: bytes


Answer = Relayed | MailRefused | Retry


class GuardedRelay:
    """The relay of one process, for as long as the process lives: it remembers whether anybody's mail was taken."""

    def __init__(self, mailer: Mailer, recorder: Recorder) -> None:
        self._mailer = mailer
        self._recorder = recorder
        self._circuit = Circuit()

    async def send(self, posts: Sequence[StoredMail]) -> Mapping[int, Answer]:
        """What became of each, by the id of its message."""
        was_well = self._circuit.is_well
        until = anyio.current_effective_deadline() - LAST_MAIL_SECONDS
        answers: dict[int, Answer] = {}
        if not was_well and (probe := self._circuit.probe(posts, anyio.current_time())):
            answers[probe.message.id] = await self._one(probe, until)
        limit = anyio.CapacityLimiter(self._mailer.at_once)

        async def send(post: StoredMail) -> None:
            async with limit:
                is_well = self._circuit.is_well
                answers[post.message.id] = await self._one(post, until) if is_well else _wait(post.message)

        async with anyio.create_task_group() as tasks:
            for post in posts:
                if post.message.id not in answers:
                    tasks.start_soon(send, post)
        self._tell(posts, was_well)
        return answers if self._circuit.is_well else {post.message.id: _doubted(post, answers) for post in posts}

    async def _one(self, post: StoredMail, until: float) -> Answer:
        if anyio.current_time() > until:
            return Retry(post.message, "the relay is slow", counted=False)
        is_probe = not self._circuit.is_well
        try:
            answer = await self._mailer.send(post.recipient, post.mail)
        except Transient as error:
            return _again(post.message, str(error), AWAY_SECONDS)
        self._circuit.hear(post.recipient, answer, anyio.current_time())
        if not isinstance(answer, NotTaken):
            return answer
        if answer.cause != "later":
            cause, phase, code, status = answer.cause, answer.phase, answer.code, answer.status
            self._recorder.note("mail_not_taken", cause=cause, phase=phase, code=code, status=status)
        if is_probe:
            return Retry(post.message, str(answer), PROBE_AGAIN_SECONDS)
        return _again(post.message, str(answer), PATIENCE_SECONDS[answer.cause])

    def _tell(self, posts: Sequence[StoredMail], was_well: bool) -> None:
        is_well = self._circuit.is_well
        if posts:
            self._recorder.set(RELAY_UP, 1.0 if is_well else 0.0)
        if was_well != is_well:
            self._recorder.note("relay_takes_mail" if is_well else "relay_takes_nobodys_mail")


def _again(message: Message, why: str, patient_seconds: float) -> Retry:
    return Retry(message, why, None if message.attempts < QUICK_ATTEMPTS else patient_seconds)


def _wait(message: Message) -> Retry:
    seconds = WAIT_SECONDS + message.id % WAIT_SPREAD_SECONDS
    return Retry(message, "relay: takes nobody's mail", float(seconds), counted=False)


def _doubted(post: StoredMail, answers: Mapping[int, Answer]) -> Answer:
    """Of a relay that is not well: what it says of a mailbox is no fact."""
    answer = answers[post.message.id]
    return _wait(post.message) if isinstance(answer, MailRefused) else answer
