"""The relay adapter: what an answer means, over a real SMTP conversation with a relay that says what it is told."""

import anyio
import pytest

from pipeline.errors import Transient
from pipeline.ports.outside import MailRefused, Relayed
from tests.relay import relay

pytestmark = pytest.mark.anyio
MAIL = b"Subject: x\r\n\r\nHello\r\n"


async def test_what_the_relay_takes_is_relayed() -> None:
    """Its answer is kept, for the evidence of the notice."""
    async with relay({}) as mailer:
        assert await mailer.send("jeanne@example.net", MAIL) == Relayed(250, "2.0.0 done", None)


@pytest.mark.parametrize(("verb", "code"), [("RCPT", 550), ("RCPT", 553), (".", 554)])
async def test_a_recipient_or_a_mail_refused_for_good_is_refused(verb: str, code: int) -> None:
    """5xx to the recipient or to the mail is a fact about this notice."""
    async with relay({verb: f"{code} no".encode()}) as mailer:
        assert await mailer.send("jeanne@example.net", MAIL) == MailRefused(code, "no")


@pytest.mark.parametrize("answer", [b"530 5.7.0 authentication required", b"550 5.7.1 not your address", b"451 later"])
async def test_a_refusal_of_ourselves_is_no_refusal_of_the_recipient(answer: bytes) -> None:
    """A relay that was set up wrongly must not end every delivery with evidence against its recipient."""
    async with relay({"MAIL": answer}) as mailer:
        with pytest.raises(Transient):
            await mailer.send("jeanne@example.net", MAIL)


@pytest.mark.parametrize("verb", ["RCPT", "."])
async def test_4xx_is_tried_again(verb: str) -> None:
    """Greylisting and full queues pass."""
    async with relay({verb: b"451 4.7.1 come back"}) as mailer:
        with pytest.raises(Transient):
            await mailer.send("jeanne@example.net", MAIL)


async def test_mails_share_a_warm_connection_and_a_refused_one_is_not_used_again() -> None:
    """A connection for each mail costs a handshake; one whose relay refused something is in an unknown state."""
    verbs: list[str] = []
    async with relay({"RCPT": b"250 ok"}, verbs) as mailer:
        for n in range(3):
            await mailer.send(f"a{n}@example.net", MAIL)
        assert verbs.count("EHLO") == 1
    verbs.clear()
    async with relay({".": b"554 no"}, verbs) as mailer:
        for n in range(2):
            await mailer.send(f"a{n}@example.net", MAIL)
        assert verbs.count("EHLO") == 2


async def test_an_idle_connection_that_the_relay_closed_costs_no_attempt() -> None:
    """The relay's idle timeout is not ours: the next mail goes over a new connection, once."""
    verbs: list[str] = []
    async with relay({".": b"250 taken"}, verbs, closes_after_mails=1) as mailer:
        for n in range(3):
            assert isinstance(await mailer.send(f"a{n}@example.net", MAIL), Relayed)
    assert verbs.count(".") == 3


async def test_an_idle_connection_that_the_relay_gives_up_with_421_costs_no_attempt() -> None:
    """RFC 5321 section 3.8: a server may say 421 to any command of a connection that it wants to end."""
    verbs: list[str] = []
    async with relay({}, verbs, gives_up_after_mails=1) as mailer:
        for n in range(3):
            assert isinstance(await mailer.send(f"a{n}@example.net", MAIL), Relayed)
    assert verbs.count(".") == 3


async def test_a_limit_of_mails_a_second_is_kept() -> None:
    """However many tasks ask at once."""
    verbs: list[str] = []
    async with relay({}, verbs, mails_per_second_max=20) as mailer, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        for n in range(5):
            tasks.start_soon(mailer.send, f"a{n}@example.net", MAIL)
        async with anyio.create_task_group() as last:
            last.start_soon(mailer.send, "last@example.net", MAIL)
        assert anyio.current_time() - began >= 4 / 20
