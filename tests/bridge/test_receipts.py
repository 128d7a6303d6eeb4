"""Nonces, tickets and receipts over time, with clocks that a test turns."""

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from hsm_bridge.operations import tickets
from pipeline.errors import Transient
from pipeline.formats.context import person_sha256
from pipeline.formats.person import IdentifiedPerson
from pipeline.ports.bridge import wire
from tests.bridge_process import describe
from tests.contract.bridge_cases import DELIVERY, SESSION, BridgeCase
from tests.fakes.bridge import FakeBridge

LOGIN = tickets.Login(DELIVERY, SESSION, "embedded")
START = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)
WHO = IdentifiedPerson(
    "Jeanne",
    "Martin",
    None,
    None,
    "subject-1",
    "substantial",
    "demo",
    START,
    person_sha256("Jeanne", "Martin", None, "s"),
)

pytestmark = pytest.mark.anyio


@dataclass(slots=True)
class Clocks:
    """The system's clock and how far the legal one is ahead."""

    now: datetime = START
    ahead: timedelta = field(default_factory=timedelta)

    def legal_now(self) -> datetime:
        return self.now + self.ahead


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def fake(clocks: Clocks) -> FakeBridge:
    return FakeBridge(legal_now=clocks.legal_now, now=lambda: clocks.now, random=secrets.token_bytes)


async def sealed_after(fake: FakeBridge, clocks: Clocks, event: str, seconds: float) -> str:
    """The outcome of sealing an act whose EventTime is so many seconds after its receipt."""
    act: tickets.Act = {"C.3": "accept", "D.1": "accept", "C.4": "refuse", "E.1": "handover"}[event]  # type: ignore[assignment]
    receipt = tickets.issue_receipt(
        fake.vault.mac, tickets.Receipt(DELIVERY, act, WHO.person_sha256, clocks.legal_now())
    )
    case = BridgeCase(fake.client, clocks.legal_now, None, await describe(fake.client("seal")))  # type: ignore[arg-type]
    event_time = clocks.legal_now() + timedelta(seconds=seconds)
    drafted = case.draft(event, at=event_time, identification=WHO, receipt=receipt)
    clocks.ahead += timedelta(seconds=max(seconds, 0))
    [answer] = await fake.bridge("seal").ask([wire.SealEvidence(drafted.canonical, receipt)])
    return answer.code if isinstance(answer, wire.Denied) else "ok"


@pytest.mark.parametrize(
    ("event", "seconds", "outcome"),
    [
        ("C.3", 0, "ok"),
        ("C.3", -120, "ok"),
        ("D.1", 120, "ok"),
        ("C.4", 120.001, "receipt_invalid"),
        ("C.3", -120.001, "receipt_invalid"),
        ("E.1", 7200, "ok"),
        ("E.1", 7200.001, "receipt_invalid"),
        ("E.1", -121, "receipt_invalid"),
    ],
)
async def test_a_receipt_counts_near_its_own_time(
    fake: FakeBridge, clocks: Clocks, event: str, seconds: float, outcome: str
) -> None:
    """An act is sealed with a time close to the bridge's own record of it: a receipt cannot be kept for later."""
    assert await sealed_after(fake, clocks, event, seconds) == outcome


async def test_a_ticket_lives_an_hour_of_the_system_clock(fake: FakeBridge, clocks: Clocks) -> None:
    """The demo clock does not end it, an hour does; the receipt carries the legal time."""
    ticket = fake.ticket(DELIVERY, WHO.person_sha256)
    clocks.ahead = timedelta(days=16)
    clocks.now += timedelta(seconds=3599)
    [decided] = await fake.bridge("gateway").ask([wire.Decide(ticket, DELIVERY, "accept")])
    assert isinstance(decided, wire.Decided)
    assert decided.at == clocks.legal_now()
    clocks.now += timedelta(seconds=1)
    [late] = await fake.bridge("gateway").ask([wire.Decide(ticket, DELIVERY, "accept")])
    assert isinstance(late, wire.Denied) and late.code == "ticket_invalid"


def test_a_ticket_of_more_than_an_hour_is_not_made(fake: FakeBridge) -> None:
    """The limit is in the form itself, not in its users."""
    long = tickets.Ticket(DELIVERY, bytes(32), "high", START, START + timedelta(seconds=3601))
    with pytest.raises(tickets.TicketInvalid):
        tickets.issue_ticket(fake.vault.mac, long)


def test_a_nonce_lives_ten_minutes(fake: FakeBridge) -> None:
    """An older nonce, or one from the future, begins no identification; a second one differs."""
    mac = fake.vault.mac
    nonce = tickets.issue_nonce(mac, LOGIN, bytes(16), START)
    tickets.check_nonce(mac, nonce, LOGIN, START + timedelta(seconds=600))
    for wrong in (timedelta(seconds=600.001), timedelta(seconds=-6)):
        with pytest.raises(tickets.TicketInvalid, match="old"):
            tickets.check_nonce(mac, nonce, LOGIN, START + wrong)
    assert nonce != tickets.issue_nonce(mac, LOGIN, bytes(15) + b"\x01", START)


@pytest.mark.parametrize(
    "other",
    [
        replace(LOGIN, delivery=UUID(int=7)),
        replace(LOGIN, session=bytes(32)),
        replace(LOGIN, provider="another"),
    ],
)
def test_a_nonce_is_for_one_login(fake: FakeBridge, other: tickets.Login) -> None:
    """Another letter, browser or identity provider: refused."""
    mac = fake.vault.mac
    nonce = tickets.issue_nonce(mac, LOGIN, bytes(16), START)
    with pytest.raises(tickets.TicketInvalid, match="not ours"):
        tickets.check_nonce(mac, nonce, other, START)


def test_no_form_stands_for_another(fake: FakeBridge) -> None:
    """A receipt shown as a ticket, a ticket as a receipt, a MAC made for one under the other's name: refused."""
    mac = fake.vault.mac
    ticket = fake.ticket(DELIVERY)
    receipt = tickets.issue_receipt(mac, tickets.Receipt(DELIVERY, "accept", bytes(32), START))
    with pytest.raises(tickets.TicketInvalid, match="not ours"):
        tickets.open_ticket(mac, receipt, DELIVERY, START)
    with pytest.raises(tickets.TicketInvalid, match="not ours"):
        tickets.open_receipt(mac, ticket, DELIVERY, "accept")
    with pytest.raises(tickets.TicketInvalid, match="another delivery"):
        tickets.open_receipt(mac, receipt, UUID(int=1), "accept")
    with pytest.raises(tickets.TicketInvalid, match="another form"):
        tickets.open_receipt(mac, b"\x01" * 2000, DELIVERY, "accept")


async def test_an_answer_may_be_lost_and_asked_again(fake: FakeBridge, clocks: Clocks) -> None:
    """Failed, and done but lost: both are repeated, and the second seal is as good as the first."""
    case = BridgeCase(fake.client, clocks.legal_now, None, await describe(fake.client("seal")))  # type: ignore[arg-type]
    item = wire.SealEvidence(case.draft("A.1").canonical, None)
    seal = fake.bridge("seal")
    fake.away = True
    with pytest.raises(Transient):
        await seal.ask([item])
    fake.away, fake.lose_answers = False, 1
    with pytest.raises(Transient):
        await seal.ask([item])
    [answer] = await seal.ask([item])
    assert isinstance(answer, wire.Sealed)
