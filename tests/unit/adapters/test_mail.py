"""The relay adapter: what an answer means, over a real SMTP conversation with a relay that says what it is told."""

from contextlib import suppress
from typing import Literal

import anyio
import pytest

from pipeline.errors import Transient
from pipeline.ports.outside import MailRefused, NotTaken, Relayed
from tests.fakes import pki
from tests.relay import HANG_UP, relay

pytestmark = pytest.mark.anyio
MAIL = b"Subject: x\r\n\r\nHello\r\n"


async def test_what_the_relay_takes_is_relayed() -> None:
    """Its answer is kept, for the evidence of the notice."""
    async with relay({}) as mailer:
        assert await mailer.send("jeanne@example.net", MAIL) == Relayed(250, "2.0.0 done", None)


# The command that was answered ("*" is the connection, "." the end of the mail), what the answer is about, the answer
# ("|" ends a line of it). Written down without the table that is tested.
ABOUT_THE_MAILBOX = """
RCPT  mailbox  550 5.1.1 <jeanne@example.net>: user unknown
RCPT  mailbox  550-5.1.1 The email account that you tried to reach|550-5.1.1 does not exist.|550 5.1.1 Bye
RCPT  mailbox  550-5.1.1 No such mailbox.|550 Ask the postmaster
RCPT  mailbox  550 5.1.2 Host unknown
RCPT  mailbox  553 5.1.4 more than one of that name
RCPT  mailbox  551 5.1.6 has moved
RCPT  mailbox  556 5.1.10 Recipient address has null MX
RCPT  mailbox  550 5.1.10 Recipient not found
RCPT  mailbox  556 domain takes no mail
RCPT  mailbox  554 5.2.1 mailbox disabled
.     mailbox  550 5.1.1 no such mailbox
"""
NOT_ABOUT_THE_MAILBOX = """
*     ours     554 no SMTP service here
*     ours     521 host takes no mail
*     ours     554 5.7.1 listed
*     ours     550 5.1.1 no such mailbox
*     later    421 4.3.2 closing
*     later    450 4.7.1 too many connections
EHLO  ours     550 5.7.1 need fully qualified name
EHLO  ours     504 5.5.2 who
EHLO  ours     550 5.1.1 no such mailbox
EHLO  ours     550 no
EHLO  later    421 4.7.0 try again later
MAIL  ours     530 5.7.0 authentication required
MAIL  ours     550 5.7.1 not your address
MAIL  ours     550 5.1.1 no such mailbox
MAIL  ours     556 no
MAIL  ours     550 5.7.23 SPF
MAIL  ours     553 5.1.8 sender's domain
MAIL  ours     501 5.1.7 bad sender
MAIL  later    451 later
MAIL  later    452 4.3.1 no room
MAIL  later    454 4.7.0 no TLS now
MAIL  message  552 5.3.4 too big
RCPT  ours     554 5.7.1 Relay access denied
RCPT  ours     550 5.7.1 blocked using bl.example
RCPT  ours     550 relaying denied
RCPT  ours     550 No such user here
RCPT  ours     551 not local
RCPT  ours     553 not in my list of allowed hosts
RCPT  ours     554 no
RCPT  ours     571 no
RCPT  ours     599 no
RCPT  ours     530 5.7.0 login first
RCPT  ours     535 5.1.1 login first
RCPT  ours     530 5.2.2 login first
RCPT  ours     503 5.1.1 out of sequence
RCPT  ours     500 5.1.1 what
RCPT  ours     501 5.1.3 syntax
RCPT  ours     550 5.7.25 no reverse name
RCPT  ours     550 5.7.26 DMARC
RCPT  ours     550 5.7.27 the sender has a null MX
RCPT  ours     550 5.7.13 user account disabled
RCPT  ours     550 5.7.606 banned
RCPT  ours     550 5.1.0 sender unknown
RCPT  ours     550 5.1.7 sender's address
RCPT  ours     553 5.1.8 sender's domain
RCPT  ours     550 5.6.7 SMTPUTF8 wanted
RCPT  ours     550 5.1.99 nobody has registered it
RCPT  ours     550 5.8.1 nobody has registered it
RCPT  ours     550 9.1.1 no status
RCPT  ours     550 5.1.1x no status
RCPT  ours     550 5.01.1 no status
RCPT  ours     550 they said 5.1.1 of it
RCPT  ours     550-5.1.1 one thing|550 5.7.1 and another
RCPT  ours     550-no|550 5.1.1 no
RCPT  ours     550 2.1.5 fine
RCPT  ours     252 perhaps
RCPT  ours     354 go on
RCPT  ours     999 what
RCPT  ours     199 what
RCPT  later    450 4.2.0 greylisted
RCPT  later    451 later
RCPT  later    452 4.2.2 full
RCPT  later    450 5.1.1 unverified
RCPT  later    421 4.7.0 closing
RCPT  later    552 5.2.2 mailbox full
RCPT  later    552 full
RCPT  later    550 4.1.1 not now
RCPT  later    550 5.4.1 no answer from the host
RCPT  later    554 5.3.2 takes nothing now
RCPT  message  550 5.2.3 too long
DATA  later    451 4.3.0 later
DATA  later    421 closing
DATA  ours     503 5.5.1 a valid recipient first
DATA  ours     530 5.7.0 login first
DATA  ours     250 what
.     ours     550 5.7.1 DKIM
.     ours     550 5.7.509 DMARC
.     ours     550 no
.     ours     571 5.7.1 spam
.     message  554 no
.     message  552 too big
.     message  552 5.3.4 too big
.     message  554 5.6.0 malformed
.     message  550 5.6.9 UTF-8
.     later    451 4.7.1 come back
.     later    552 5.2.2 full
.     later    452 4.3.1 no room
"""


def rows(table: str) -> list[tuple[str, str, bytes]]:
    """Of a table as above, each answer as it goes over the wire."""
    cells = [line.split(maxsplit=2) for line in table.strip().splitlines()]
    return [(verb, subject, answer.replace("|", "\r\n").encode()) for verb, subject, answer in cells]


@pytest.mark.parametrize(("verb", "_subject", "answer"), rows(ABOUT_THE_MAILBOX))
async def test_an_answer_about_the_mailbox_is_a_refusal(verb: str, _subject: str, answer: bytes) -> None:
    """A fact about this recipient, with what was said of it."""
    async with relay({verb: answer}) as mailer:
        refused = await mailer.send("jeanne@example.net", MAIL)
    assert isinstance(refused, MailRefused)
    assert refused.code == int(answer[:3])
    assert refused.text
    assert "\n" not in refused.text


@pytest.mark.parametrize(("verb", "cause", "answer"), rows(NOT_ABOUT_THE_MAILBOX))
async def test_no_other_answer_is(verb: str, cause: str, answer: bytes) -> None:
    """A relay that was set up wrongly, a list, a policy, a full disk: none ends a delivery with evidence against its
    recipient. Codes that nobody has listed, and a bare 550, are for a person."""
    async with relay({verb: answer}) as mailer:
        not_taken = await mailer.send("jeanne@example.net", MAIL)
    assert isinstance(not_taken, NotTaken)
    assert (not_taken.cause, not_taken.code) == (cause, int(answer[:3]))
    phase = {"*": "connect", ".": "data"}.get(verb, verb.lower())
    assert not_taken.phase == phase
    assert not_taken.is_for_everybody is (phase not in ("rcpt", "data") or cause != "later")


@pytest.mark.parametrize("verb", ["*", "EHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("answer", [b"what?", b"\xff\xfe", b"-50 x", b"x" * 600])
async def test_what_is_no_answer_is_a_relay_that_is_away(verb: str, answer: bytes) -> None:
    """Whatever it is, it is not the recipient's."""
    async with relay({verb: answer}) as mailer:
        with suppress(Transient):
            assert isinstance(await mailer.send("jeanne@example.net", MAIL), NotTaken)


@pytest.mark.parametrize("verb", ["*", "EHLO", "MAIL", "RCPT", "DATA", "."])
async def test_a_relay_that_hangs_up_is_away(verb: str) -> None:
    """At any command, the last included: whether it has the mail is not known, so it is sent again."""
    async with relay({verb: HANG_UP}) as mailer:
        with pytest.raises(Transient):
            await mailer.send("jeanne@example.net", MAIL)


@pytest.mark.parametrize(
    ("answers", "address", "security"),
    [
        ({}, None, "starttls"),
        ({"STAR": b"454 4.7.0 not now"}, "127.0.0.1", "starttls"),
        ({"STAR": b"550 5.1.1 x"}, "127.0.0.1", "starttls"),
        ({}, "127.0.0.2", "starttls"),
        ({}, "127.0.0.2", "tls"),
    ],
)
async def test_without_the_tls_that_is_wanted_nothing_is_sent(
    answers: dict[str, bytes], address: str | None, security: Literal["starttls", "tls"]
) -> None:
    """No STARTTLS there, STARTTLS refused, the certificate of another machine: ours, and nobody was named."""
    root, verbs = pki.authority(), list[str]()
    own = None if address is None else pki.leaf(root, addresses=[address])
    async with relay(answers, verbs, certificate=own, authority=root, security=security) as mailer:
        not_taken = await mailer.send("jeanne@example.net", MAIL)
    assert isinstance(not_taken, NotTaken)
    assert (not_taken.phase, not_taken.is_for_everybody) == ("tls", True)
    assert not {"MAIL", "RCPT", "DATA"} & set(verbs)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_with_it_the_mail_is_taken(security: Literal["starttls", "tls"]) -> None:
    """And the evidence says over what."""
    root = pki.authority()
    own = pki.leaf(root, addresses=["127.0.0.1"])
    async with relay({}, certificate=own, authority=root, security=security) as mailer:
        taken = await mailer.send("jeanne@example.net", MAIL)
    assert isinstance(taken, Relayed)
    assert (taken.tls or "").startswith("TLSv1.")


@pytest.mark.parametrize("recipient", ["jos\u00e9@example.net", "\udce9@example.net"])
async def test_an_address_that_we_should_not_have_sent_is_ours(recipient: str) -> None:
    """Intake lets none of these through; should one come, it is no crash and nobody's refusal."""
    verbs: list[str] = []
    async with relay({}, verbs) as mailer:
        assert await mailer.send(recipient, MAIL) == NotTaken("ours", "tls", 0, "bare")
    assert "RCPT" not in verbs


async def test_mails_share_a_warm_connection_and_a_refused_one_is_not_used_again() -> None:
    """A connection for each mail costs a handshake; one whose relay refused something is in an unknown state."""
    verbs: list[str] = []
    async with relay({"RCPT": b"250 ok"}, verbs) as mailer:
        for n in range(3):
            await mailer.send(f"a{n}@example.net", MAIL)
        assert verbs.count("EHLO") == 1
    verbs.clear()
    async with relay({".": b"550 5.1.1 no"}, verbs) as mailer:
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
