"""What somebody may try who wants an evidence sealed: rows for every event, honest and bent in every manner.

Owns     MANNERS, and how an attempt looks under each: which rows are written, with which receipt and intent, at which
         time of the law
Rules    the forger knows everything and has every receipt that the bridge gave; what he cannot is to make one. An
         attempt is one transaction of one process
Elsewhere: who may do what (tests/db/test_sealing_matrix.py)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID

from hsm_bridge.operations import tickets
from pipeline.evidence.dossier import Dossier, Reason
from pipeline.evidence.draft import Head, draft, head_after
from pipeline.evidence.facts import EvidenceDraft
from pipeline.evidence.form.xml import opening
from pipeline.formats.events import EVENTS, Act
from pipeline.formats.evidence_head import evidence_id
from pipeline.formats.person import IdentifiedPerson
from tests.db.small_ledger import DOCUMENT, PERSON
from tests.fakes.bridge import FakeBridge, right_to

MANNERS = ("own", "another letter's", "another event's", "backdated", "future", "replayed receipt", "another ordinal")
STATE_OF = {  # from which an event may follow
    **dict.fromkeys(("A.1", "A.2"), "submitted"),
    **dict.fromkeys(("C.1", "C.2"), "deposited"),
    **dict.fromkeys(("C.3", "C.4", "C.5", "D.1"), "notified"),
    **dict.fromkeys(("E.1", "E.2"), "accepted"),
}
DUE_AFTER = {"C.5": timedelta(days=20), "E.2": timedelta(days=367)}  # an end comes when its time is over
ACTS: tuple[Act, ...] = get_args(Act)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter, its place in its chain, and what evidence says of it."""

    dossier: Dossier
    head: Head


@dataclass(frozen=True, slots=True)
class Attempt:
    """Rows to be written, of which the last one is to be sealed; ahead: how far the time of the law has gone on."""

    rows: Sequence[EvidenceDraft]
    ahead: timedelta = field(default_factory=timedelta)

    @property
    def goal(self) -> EvidenceDraft:
        return self.rows[-1]

    @property
    def intents(self) -> list[tuple[UUID, str, datetime]]:
        """Of the decisions among the rows, each at the time that its row says: letter, act, time."""
        return [
            (row.delivery, act, row.event_time)
            for row in self.rows
            if row.event in ("C.3", "C.4") and (act := EVENTS[row.event].act) is not None
        ]


class Forger:
    """Makes attempts about two letters in each state."""

    def __init__(self, bridge: FakeBridge, letters: dict[str, tuple[Letter, Letter]]) -> None:
        self._bridge = bridge
        self._letters = letters

    def attempts(self, event: str, manner: str) -> Iterator[Attempt]:
        """Every way to have `event` sealed in that manner."""
        match manner:
            case "own":
                yield self.attempt(event)
            case "another letter's":
                yield from self._of_another_letter(event)
            case "another event's":
                yield from self._of_another_event(event)
            case "backdated":
                for back in (20 * DAY, timedelta(minutes=10)):
                    yield self._at(event, -back)
                    yield self._at(event, -back, receipt_too=True)
            case "future":
                yield from (self._at(event, ahead) for ahead in (DAY, timedelta(minutes=10)))
                if event in DUE_AFTER:  # the end is told before its time
                    yield replace(self.attempt(event, at=self.now()), ahead=timedelta())
            case "replayed receipt":
                yield from self._with_receipts(event)
            case "another ordinal":
                yield from (self.attempt(event, ordinal=ordinal) for ordinal in (1, 7))

    def receipt(self, letter: UUID, act: Act, at: datetime) -> bytes:
        """As the bridge gave it to the addressee of that letter, who acted at that time."""
        decision = None if act == "handover" else tickets.Decision(UUID(int=1), "1/en", bytes(32))
        right = right_to(letter, [DOCUMENT], PERSON)
        return tickets.issue_receipt(self._bridge.vault.mac, tickets.Receipt(right, act, at, decision))

    def attempt(
        self,
        event: str,
        *,
        ordinal: int = 0,
        at: datetime | None = None,
        receipt_at: datetime | None = None,
        which: int = 0,
    ) -> Attempt:
        """The event as its process drafts it, now or at another time; D.1 with its C.3."""
        letter, ahead = self._letters[STATE_OF[event]][which], DUE_AFTER.get(event, timedelta())
        now = self.now() + ahead
        times = (at or now, receipt_at or now)
        first = [self._draft(letter.head, letter, "C.3", times, 0)] if event == "D.1" else []
        head = head_after(letter.head, first[0]) if first else letter.head
        return Attempt([*first, self._draft(head, letter, event, times, ordinal)], ahead)

    def now(self) -> datetime:
        moment = datetime.now(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def _draft(
        self, head: Head, letter: Letter, event: str, times: tuple[datetime, datetime], ordinal: int
    ) -> EvidenceDraft:
        row, (moment, receipt_at) = EVENTS[event], times
        who = IdentifiedPerson("Jeanne", "Martin", None, None, "s", "substantial", "demo", moment, PERSON)
        return draft(
            head,
            event,
            letter.dossier,
            ordinal=ordinal,
            reason=Reason("a_test", "A test") if row.needs_reason else None,
            identification=who if row.act else None,
            receipt=self.receipt(head.delivery, row.act, receipt_at) if row.act else None,
            event_time=moment,
        )

    def _at(self, event: str, away: timedelta, *, receipt_too: bool = False) -> Attempt:
        """Now, but with another time in row and bytes; with a receipt of now, or of then, which was kept."""
        at = self.now() + DUE_AFTER.get(event, timedelta()) + away
        return self.attempt(event, at=at, receipt_at=at if receipt_too else None)

    def _of_another_letter(self, event: str) -> Iterator[Attempt]:
        """Bytes and receipt of another letter of the same standing, in this one's row: as they are, and bent."""
        own, other = self.attempt(event), self.attempt(event, which=1)
        for canonical in renamed(other.goal, own.goal.evidence):
            for receipt in {own.goal.receipt, other.goal.receipt}:
                for evidence in (own.goal.evidence, other.goal.evidence):
                    row = replace(own.goal, evidence=evidence, canonical=canonical, receipt=receipt)
                    yield replace(own, rows=[*own.rows[:-1], row])

    def _of_another_event(self, event: str) -> Iterator[Attempt]:
        """Its bytes in the row of each other event, of the same letter: so each process tries with what is its own."""
        own = self._alone(event)
        for other in EVENTS.values():
            if other.code == event:
                continue
            name = evidence_id(own.goal.delivery, other.code, 0)
            receipt = None if other.act is None else self.receipt(own.goal.delivery, other.act, own.goal.event_time)
            for canonical in renamed(own.goal, name):
                for evidence in (name, own.goal.evidence):
                    row = replace(own.goal, evidence=evidence, event=other.code, canonical=canonical, receipt=receipt)
                    yield replace(own, rows=[row])

    def _alone(self, event: str) -> Attempt:
        """The event, D.1 without its C.3."""
        letter, ahead = self._letters[STATE_OF[event]][0], DUE_AFTER.get(event, timedelta())
        now = self.now() + ahead
        return Attempt([self._draft(letter.head, letter, event, (now, now), 0)], ahead)

    def _with_receipts(self, event: str) -> Iterator[Attempt]:
        """The event with every receipt that is not for it, and with what is none."""
        own, act = self.attempt(event), EVENTS[event].act
        letter, moment = own.goal.delivery, own.goal.event_time
        other = self._letters[STATE_OF[event]][1].dossier.delivery
        receipts = [self.receipt(other, each, moment) for each in ACTS]
        receipts += [self.receipt(letter, each, moment) for each in ACTS if each != act]
        receipts += [self.receipt(letter, each, moment - DAY) for each in ACTS]
        receipts += [self._bridge.ticket(letter, [DOCUMENT], PERSON), bytes(64)]
        for receipt in receipts:
            yield replace(own, rows=[*own.rows[:-1], replace(own.goal, receipt=receipt)])
        if event == "D.1":  # the receipt of an acceptance that was given up
            yield self._alone(event)


def renamed(row: EvidenceDraft, name: UUID) -> list[bytes]:
    """The bytes as they are, with another name at their beginning, and with it wherever they have their own."""
    begins = opening(row.evidence).encode()
    return [
        row.canonical,
        opening(name).encode() + row.canonical.removeprefix(begins),
        row.canonical.replace(str(row.evidence).encode(), str(name).encode()),
    ]
