"""Many mails at the relay, some at a time, as long as a perform lasts. What `notify` sends with.

Rules    no mail begins in the last LAST_MAIL_SECONDS before the deadline of the perform: what is begun is waited for,
         what is not goes back to the mailbox and costs no attempt
Elsewhere: what is sent and what the answers mean (answers.py, consents.py), the wire (adapters/mail.py)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from pipeline.actors.contract import Retry
from pipeline.errors import Transient
from pipeline.ports.mailbox import Message
from pipeline.ports.outside import Mailer, MailRefused, Relayed

LAST_MAIL_SECONDS = 30.0  # what is begun, 20 s a mail, must end before the batch does
RELAY_CHARACTERS_MAX = 200  # of what a relay says that are kept, and that go into an evidence


@dataclass(frozen=True, slots=True)
class StoredMail:
    """One stored mail, and the message that asks for it."""

    message: Message
    recipient: str
    mail: bytes


async def relay(posts: Sequence[StoredMail], mailer: Mailer) -> Mapping[int, Relayed | MailRefused | Retry]:
    """What became of each, by the id of its message."""
    until = anyio.current_effective_deadline() - LAST_MAIL_SECONDS
    limit = anyio.CapacityLimiter(mailer.at_once)
    answers: dict[int, Relayed | MailRefused | Retry] = {}

    async def send(post: StoredMail) -> None:
        async with limit:
            if anyio.current_time() > until:
                answers[post.message.id] = Retry(post.message, "the relay is slow", counted=False)
                return
            try:
                answers[post.message.id] = await mailer.send(post.recipient, post.mail)
            except Transient as error:
                answers[post.message.id] = Retry(post.message, str(error))

    async with anyio.create_task_group() as tasks:
        for post in posts:
            tasks.start_soon(send, post)
    return answers
