"""Nonces, tickets and receipts over time, with clocks that a test turns."""

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from hsm_bridge.operations import tickets
from pipeline.errors import Transient
from pipeline.formats.context import parse_wrap_context, person_sha256, wrap_context
from pipeline.formats.events import BY_RECIPIENT
from pipeline.formats.evidence_head import evidence_id
from pipeline.formats.legal_texts import decision_words
from pipeline.formats.person import IdentifiedPerson
from pipeline.ports.bridge import wire
from tests.bridge_process import describe, provider_key, write_jwks
from tests.contract.bridge_cases import DELIVERY, SESSION, BridgeCase, letter_context
from tests.fakes import letters
from tests.fakes.bridge import FakeBridge, decision_item, pinned, right_to

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

DOCUMENT = letters.part().sha256
RIGHT = right_to(DELIVERY, [DOCUMENT], WHO.person_sha256)
DECISION = tickets.Decision(UUID(int=5), "1/en", bytes(32))

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
        fake.vault.mac, tickets.Receipt(RIGHT, act, clocks.legal_now(), None if act == "handover" else DECISION)
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
        ("D.1", 86_400, "ok"),
        ("D.1", -121, "receipt_invalid"),
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
    ticket = fake.ticket(DELIVERY, [DOCUMENT], WHO.person_sha256)
    clocks.ahead = timedelta(days=16)
    clocks.now += timedelta(seconds=3599)
    [decided] = await fake.bridge("gateway").ask([decision_item(ticket, DELIVERY, "accept")])
    assert isinstance(decided, wire.Decided)
    assert decided.at == clocks.legal_now()
    clocks.now += timedelta(seconds=1)
    [late] = await fake.bridge("gateway").ask([decision_item(ticket, DELIVERY, "accept")])
    assert isinstance(late, wire.Denied) and late.code == "ticket_invalid"


def test_a_ticket_of_more_than_an_hour_is_not_made(fake: FakeBridge) -> None:
    """The limit is in the form itself, not in its users."""
    long = tickets.Ticket(RIGHT, START, START + timedelta(seconds=3601))
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
    ticket = fake.ticket(DELIVERY, [DOCUMENT])
    receipt = tickets.issue_receipt(mac, tickets.Receipt(RIGHT, "accept", START, DECISION))
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


# ------------------------------------------------------------------ what a receipt is for
ACTS: dict[tickets.Act, frozenset[str]] = {
    "accept": frozenset({"C.3", "D.1"}),
    "refuse": frozenset({"C.4"}),
    "handover": frozenset({"E.1"}),
}
OTHER = UUID(int=77)
BENT: dict[str, dict[str, Any]] = {
    "own": {},
    "another letter": {"delivery": OTHER},
    "another ordinal": {"ordinal": 1},
    "the last ordinal": {"ordinal": 2**31 - 1},
    "other documents": {"contents": (b"another letter",)},
    "one document more": {"contents": (letters.CONTENT, b"annex")},
    "another person": {"identification": replace(WHO, person_sha256=bytes(32))},
    "backdated": {"at": START - timedelta(days=1)},
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("bent", BENT)
async def test_a_receipt_is_for_its_evidences_and_nothing_else(
    fake: FakeBridge, clocks: Clocks, act: tickets.Act, bent: str
) -> None:
    """Every receipt with every act of a recipient: own or another letter, ordinal, documents, person, time. A receipt
    that was given once seals no second fact, however honest it is."""
    receipt = tickets.issue_receipt(
        fake.vault.mac, tickets.Receipt(RIGHT, act, clocks.legal_now(), None if act == "handover" else DECISION)
    )
    case = BridgeCase(fake.client, clocks.legal_now, None, await describe(fake.client("seal")))  # type: ignore[arg-type]
    for event in sorted(BY_RECIPIENT):
        how: dict[str, Any] = {"identification": WHO, "at": clocks.legal_now()} | BENT[bent]
        drafted = case.draft(event, receipt=receipt, **how)
        [answer] = await fake.bridge("seal").ask([wire.SealEvidence(drafted.canonical, receipt)])
        fits = bent == "own" and event in ACTS[act]
        code = answer.code if isinstance(answer, wire.Denied) else "sealed"
        assert code == ("sealed" if fits else "receipt_invalid"), event


async def test_a_receipt_says_what_the_person_decided_on(fake: FakeBridge, clocks: Clocks) -> None:
    """Person, level, capacity, documents, the provider's tokens, the kind of match, intent, the words on the page; its
    evidences."""
    words = decision_words("refuse", "fr", "professional", "Mairie de Lyon")
    item = wire.Decide(fake.ticket(DELIVERY, [DOCUMENT]), DELIVERY, "refuse", UUID(int=9), words.version, words.sha256)
    [answer] = await fake.bridge("gateway").ask([item])
    assert isinstance(answer, wire.Decided)
    receipt = tickets.open_receipt(fake.vault.mac, answer.receipt, DELIVERY, "refuse")
    assert receipt.right == right_to(DELIVERY, [DOCUMENT])
    assert receipt.decision == tickets.Decision(UUID(int=9), "1/fr", words.sha256)
    assert receipt.evidences == {evidence_id(DELIVERY, "C.4", 0)}


@pytest.mark.parametrize(("version", "digest"), [("", bytes(32)), ("1" * 21, bytes(32)), ("1/en", b"short")])
async def test_words_are_named_by_version_and_digest(fake: FakeBridge, version: str, digest: bytes) -> None:
    """No receipt without saying what was shown."""
    item = wire.Decide(fake.ticket(DELIVERY, [DOCUMENT]), DELIVERY, "accept", UUID(int=9), version, digest)
    [answer] = await fake.bridge("gateway").ask([item])
    assert isinstance(answer, wire.Denied) and answer.code == "item_invalid"


@pytest.mark.parametrize(
    ("birth_date", "kind"), [(None, "birth_name"), (date(1980, 5, 17), "birth_name_and_birth_date")]
)
async def test_the_kind_of_match_is_in_each_receipt(tmp_path: Path, birth_date: date | None, kind: str) -> None:
    """As the bridge compared, in answer, decision and handover alike: nobody can name another afterwards."""
    key, jwks = provider_key(), tmp_path / "jwks.json"
    write_jwks(jwks, key)
    fake = FakeBridge(legal_now=lambda: datetime.now(UTC), random=secrets.token_bytes, identity=pinned(jwks))
    case = BridgeCase(fake.client, lambda: datetime.now(UTC), key, await describe(fake.client("operator")))
    letter = parse_wrap_context(letter_context(b"letter"))
    context = wrap_context(replace(letter, addressee=replace(letter.addressee, birth_date=birth_date)))
    [wrap] = await fake.bridge("encrypt").ask([wire.DeriveWrap(context, (await case.content(),))])
    assert isinstance(wrap, wire.Wrapped)
    person = await case.identified(letter=(context, wrap))
    accepted = await case.decided(person, "accept")
    assert person.ticket is not None
    release = wire.Release(wrap.wrapped, wrap.key_id, context, person.ticket, accepted.receipt)
    [released] = await fake.bridge("gateway").ask([release])
    assert isinstance(released, wire.Released)
    assert person.kind == kind
    for receipt, act in ((accepted.receipt, "accept"), (released.receipt, "handover")):
        assert tickets.open_receipt(fake.vault.mac, receipt, DELIVERY, act).right.match_kind == kind  # type: ignore[arg-type]


def test_a_receipt_from_before_kinds_were_noted_still_opens(fake: FakeBridge) -> None:
    """Letters that were accepted then are handed over now: the form has the kind at its end, and it may be missing."""
    receipt = tickets.Receipt(RIGHT, "accept", START, DECISION)
    right = (RIGHT.delivery.bytes, *(getattr(RIGHT, name) for name in ("person", "level", "capacity")))
    decision = (DECISION.intent.bytes, DECISION.words_version, DECISION.words_sha256)
    evidences = sorted(evidence.bytes for evidence in receipt.evidences)
    fields = ((*right, RIGHT.documents_sha256, RIGHT.proof_sha256), "accept", 1772442000000, evidences, decision)
    body = b"\x01" + msgspec.msgpack.encode(fields)
    opened = tickets.open_receipt(
        fake.vault.mac, body + fake.vault.mac(b"qerds-receipt-v1\0" + body), DELIVERY, "accept"
    )
    assert opened == replace(receipt, right=replace(RIGHT, match_kind=None))
