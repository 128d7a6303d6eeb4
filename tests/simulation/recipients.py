"""Recipients of the simulation: the gateway's own decision and handover, over the in-memory database.

Owns     what people do with a notified letter: accept, refuse, both at once, in the last moment, collect
Rules    gateway/portal/decision.py and download.py run unchanged; a gateway may die between the two transactions
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import date
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import anyio

from gateway.portal import decision
from gateway.portal.decision import ACCEPT, REFUSE, DecisionOutcome
from gateway.portal.download import record_handover
from pipeline.delivery.facts import AcceptanceWindow, ContentWrap, DecisionIntent, Handover
from pipeline.delivery.states import ACCEPTED, FINAL, NOTIFIED
from pipeline.errors import Transient
from pipeline.evidence.dossier import Dossier
from pipeline.evidence.facts import EvidenceDraft
from pipeline.formats.context import person_sha256
from pipeline.formats.legal_texts import decision_words
from pipeline.formats.person import IdentifiedPerson
from pipeline.ports.bridge import wire
from pipeline.stores.letters import Document, StoredDocument, TicketHolder, Wrap
from tests.fakes.bridge import FakeBridge
from tests.memory.database import MemoryDatabase, MemoryTx
from tests.memory.facts import MemoryFacts
from tests.memory.tables import Submission
from tests.simulation import letters
from tests.simulation.letters import Letter
from tests.simulation.processes import Remote, Victim

PERSON = ("Jeanne", "Martin", date(1980, 5, 17), "subject-1")
LOOK_SECONDS = 0.5
TRIES_MAX = 60
AGAIN = frozenset({DecisionOutcome.NOT_RECORDED, DecisionOutcome.IN_PROGRESS})


class PortalTx:
    """pipeline.stores.portal.PortalTx over a MemoryTx."""

    def __init__(self, tx: MemoryTx) -> None:
        self._tx = tx
        self.lock, self.add, self.emit, self.advance = tx.lock, tx.add, tx.emit, tx.advance

    async def intent_known(self, intent: UUID) -> bool:
        return self._tx.tables.find(DecisionIntent, intent) is not None

    async def intent_lives(self, intent: UUID) -> bool:
        found = self._tx.tables.find(DecisionIntent, intent)
        return found is not None and self._tx.intent_lives(found)

    async def handed_over(self, delivery: UUID) -> bool:
        submission = self._tx.tables.find(Submission, delivery)
        assert submission is not None
        whole = {h.part for h in self._tx.tables.of(Handover, delivery) if h.complete}
        return whole >= {p.number for p in submission.dossier.parts}


class Portal:
    """The two methods of pipeline.stores.portal.PortalStore that decisions use."""

    def __init__(self, database: MemoryDatabase, facts: MemoryFacts, owner: Victim) -> None:
        self._database, self._facts, self._owner = database, facts, owner

    async def dossier(self, delivery: UUID) -> Dossier:
        return (await self._facts.dossiers([delivery]))[delivery]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PortalTx]:
        async with self._database.transaction(self._owner.pause) as tx:
            yield PortalTx(tx)


class Recipient:
    """One person, one letter, one browser."""

    def __init__(
        self, letter: Letter, database: MemoryDatabase, facts: MemoryFacts, fake: FakeBridge, owner: Victim
    ) -> None:
        self.letter, self.owner = letter, owner
        self._database, self._fake = database, fake
        bridge = Remote(owner, fake.bridge("gateway"), "bridge")
        self._ports: Any = SimpleNamespace(portal=Portal(database, facts, owner), bridge=bridge)

    @property
    def _state(self) -> str:
        state = self._database.tables.state(self.letter.delivery)
        assert state is not None
        return state[0]

    async def live(self, act: str) -> None:
        """From the notice to the end of what this person does."""
        if not await self._until(NOTIFIED):
            return
        await self._hesitate()
        await self._decide(act)
        if self.letter.fate == letters.COLLECT and await self._until(ACCEPTED):
            await self._collect()

    async def _until(self, wanted: str) -> bool:
        while self._state != wanted:
            if self._state in FINAL or (self._state, wanted) == (ACCEPTED, NOTIFIED):
                return False
            await self.owner.wait(LOOK_SECONDS)
        return True

    async def _hesitate(self) -> None:
        """Seconds; in the last moment: until the law's clock is at the end of the window."""
        if self.letter.fate != letters.LAST_MOMENT:
            await self.owner.wait(self.owner.random.uniform(0, 6))
            return
        while True:
            window = self._database.tables.find(AcceptanceWindow, self.letter.delivery)
            assert window is not None
            left = (window.expires_at - self._database.clock.legal_now()).total_seconds()
            if left < self.owner.random.uniform(-1, 6) or self._state != NOTIFIED:
                return
            await self.owner.wait(min(left / 2, 1.0) if left < 30 else 1.0)

    async def _decide(self, act: str) -> None:
        for _ in range(TRIES_MAX):
            outcome = await self._attempt(act)
            if outcome is not None and outcome not in AGAIN:
                return
            await self.owner.wait(self.owner.random.uniform(1, 8))

    async def _attempt(self, act: str) -> DecisionOutcome | None:
        with self.owner.new_life():
            try:
                intent = UUID(bytes=self.owner.random.randbytes(16))
                words = decision_words("accept" if act == ACCEPT else "refuse", "en", "consumer", None)
                return await decision.decide(self._ports, self.letter.delivery, self._holder(), act, intent, words)
            except Transient:
                return None
        return None

    async def _collect(self) -> None:
        for attempt in range(TRIES_MAX):
            if self._state in FINAL:
                return
            with self.owner.new_life(), suppress(Transient):
                await self._download(whole=attempt > 0 or self.owner.random.random() < 0.5)
            await self.owner.wait(self.owner.random.uniform(1, 4))

    async def _download(self, whole: bool) -> None:
        tables, delivery = self._database.tables, self.letter.delivery
        wrap = tables.find(ContentWrap, delivery)
        accepted = next(e for e in tables.of(EvidenceDraft, delivery) if e.event == "C.3")
        assert wrap is not None and accepted.receipt is not None
        holder = self._holder()
        for part in self.letter.submission.dossier.parts:
            item = wire.Release(wrap.wrapped, wrap.key_id, wrap.context, holder.ticket, accepted.receipt)
            [released] = await self._ports.bridge.ask([item])
            assert not isinstance(released, wire.Denied), released
            document = Document(part.number, part.file_name, part.content_type, part.bytes, part.sha256, False)
            stored = StoredDocument(document, (), 1, Wrap(wrap.key_id, wrap.wrapped, wrap.context), accepted.receipt)
            sent = part.bytes if whole else 1
            await record_handover(self._ports, delivery, holder.person, stored, released, sent, whole)

    def _holder(self) -> TicketHolder:
        given_names, birth_name, birth_date, subject = PERSON
        person = IdentifiedPerson(
            given_names=given_names,
            birth_name=birth_name,
            usage_name=None,
            birth_date=birth_date,
            subject=subject,
            level="substantial",
            method="demo-identity",
            authenticated_at=self._database.clock.now(),
            person_sha256=person_sha256(*PERSON),
        )
        documents = [part.sha256 for part in self.letter.submission.dossier.parts]
        return TicketHolder(person, self._fake.ticket(self.letter.delivery, documents, person.person_sha256))


async def recipients(letter: Letter, people: list[Recipient]) -> None:
    """All browsers of one letter."""
    acts = {
        letters.ACCEPT: (ACCEPT,),
        letters.COLLECT: (ACCEPT,),
        letters.REFUSE: (REFUSE,),
        letters.LAST_MOMENT: (ACCEPT if hashlib.sha256(letter.delivery.bytes).digest()[0] % 2 else REFUSE,),
        letters.TWO_MINDS: (ACCEPT, REFUSE),
    }.get(letter.fate, ())
    async with anyio.create_task_group() as tasks:
        for person, act in zip(people, acts, strict=False):
            tasks.start_soon(person.live, act)
