"""The line of stages in memory, one turn at a time: real stages, real loop, real evidence, software keys.

Owns     planting a letter as the gateway leaves it, one turn of one stage, the recipient's decision
Elsewhere: faults and schedules (tests/simulation), what each stage must do (the tests beside)
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from pipeline.actors import loop
from pipeline.actors.contract import Stage
from pipeline.content.envelope import CONTENT_FORMAT, Encryptor, associated_data, seal_key
from pipeline.content.names import object_name
from pipeline.delivery.facts import DecisionIntent, Notice, NoticeResult, Snapshot
from pipeline.delivery.number import with_check_digit
from pipeline.delivery.routes import DRAFT, SUBMITTED, Emission
from pipeline.evidence.dossier import Dossier, Issuer, Part, RecipientParty, SenderParty
from pipeline.evidence.draft import draft, head_after
from pipeline.evidence.facts import EvidenceDraft
from pipeline.formats.context import intake_info, person_sha256
from pipeline.formats.person import IdentifiedPerson
from pipeline.notices.notice import Letterhead
from pipeline.notices.relaying import GuardedRelay
from pipeline.ports.bridge import wire
from pipeline.ports.mailbox import Message
from pipeline.ports.outside import MailAnswer, Relayed
from pipeline.ports.rows import Segment
from pipeline.process.recorder import Recorder
from pipeline.stages import archive, encrypt, expire, ingest, notify, seal, timestamp
from tests.fakes.bridge import FakeBridge, decision_item
from tests.fakes.consents import MemoryConsentFacts
from tests.fakes.exports import MemoryExportFacts
from tests.fakes.objects import MemoryObjects
from tests.memory.batches import MemoryDraws
from tests.memory.database import MemoryClock, MemoryDatabase
from tests.memory.facts import MemoryFacts, MemoryKeys
from tests.memory.mailbox import MemoryMailbox
from tests.memory.tables import Submission

BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LETTER = b"Dear Sir or Madam, this is the letter."
ACCEPTED = Relayed(250, "2.0.0 queued", "TLSv1.3")
STAGES = {m.STAGE.name: m.STAGE for m in (ingest, encrypt, seal, timestamp, notify, expire, archive)}
PROOF = ("seal", "timestamp")


class Seeded:
    """pipeline.ports.outside.Randomness that a test can repeat."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def random_bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    def unit(self) -> float:
        return self._rng.random()


class Relay:
    """pipeline.ports.outside.Mailer: says what `answers` has next, else yes. An exception is raised after sending."""

    def __init__(self) -> None:
        self.answers: list[MailAnswer | Exception] = []
        self.mails: list[bytes] = []
        self.at_once = 8

    async def send(self, _recipient: str, mail: bytes) -> MailAnswer:
        self.mails.append(mail)
        answer = self.answers.pop(0) if self.answers else ACCEPTED
        if isinstance(answer, Exception):
            raise answer
        return answer


class Line:
    """One installation. Made inside the event loop: its clock is the loop's."""

    def __init__(self, began: datetime = BEGAN) -> None:
        self.clock = MemoryClock(began)
        self.database = MemoryDatabase(self.clock)
        self.randomness = Seeded(7)
        self.objects = MemoryObjects()
        self.relay = Relay()
        self.exports = MemoryExportFacts()
        self.consents = MemoryConsentFacts(self.database)
        self.recorder = Recorder("line", self._heard)
        self.errors: list[str] = []
        self.bridge = FakeBridge(
            legal_now=self.clock.legal_now, now=self.clock.now, random=self.randomness.random_bytes
        )
        self.keys = MemoryKeys(self.bridge.published(), self.bridge.authority, {"crl": self.bridge.crl}, self.clock)
        self.facts = MemoryFacts(self.database, self.keys, "Test Delivery", "FR", "2.25.1")
        letterhead = Letterhead("Test Delivery", "non_qualified", "notice@example.org", "https://example.org")
        guarded = GuardedRelay(self.relay, self.recorder)
        self.ports: dict[str, Any] = {
            "ingest": ingest.Ports(
                self.facts, MemoryDraws(self.database), self.randomness, "non_qualified", "embedded-1"
            ),
            "encrypt": encrypt.Ports(self.facts, self.bridge.bridge("encrypt"), self.objects, "substantial"),
            "seal": seal.Ports(self.facts, self.bridge.bridge("seal")),
            "timestamp": timestamp.Ports(self.facts, self.bridge.bridge("timestamp"), self.keys),
            "notify": notify.Ports(self.facts, guarded, self.randomness, letterhead, self.consents),
            "expire": expire.Ports(self.facts),
            "archive": archive.Ports(
                self.facts, self.bridge.bridge("archive"), self.objects, self.keys, self.randomness, self.exports
            ),
        }

    # ---------------------------------------------------------------- what happens
    async def submit(
        self,
        consent: str = "given",
        declared_sha256: bytes | None = None,
        content_type: str = "text/plain",
        spoil: Callable[[bytes], bytes] = bytes,
        email: str = "jeanne@example.net",
    ) -> UUID:
        """A letter that the gateway answered 202 for."""
        delivery, sender, upload = (UUID(bytes=self.randomness.random_bytes(16)) for _ in range(3))
        [intake] = [k for k in self.bridge.published() if k.use == "intake"]
        name, key = object_name(self.randomness.random_bytes(16)), self.randomness.random_bytes(32)
        cipher = Encryptor(
            key, associated_data(name), self.randomness.random_bytes(32), self.randomness.random_bytes(7)
        )
        self.objects.objects[name] = spoil(cipher.update(LETTER) + cipher.finish())
        sealed_key = seal_key(intake.spki, intake_info(sender, upload, 1, name, CONTENT_FORMAT, len(LETTER)), key)
        segment = Segment(
            1, 1, sender, upload, name, CONTENT_FORMAT, len(LETTER), intake.key_id, sealed_key, self.clock.now()
        )
        sha256 = hashlib.sha256(LETTER).digest()
        part = Part(1, "lettre-é.txt", content_type, len(LETTER), sha256, hashlib.sha3_256(LETTER).digest())
        dossier = Dossier(
            delivery=delivery,
            number=with_check_digit(str(delivery.int % 10**13).zfill(13)),
            client_ref=None,
            mode="non_qualified",
            config_version="embedded-1",
            issuer=Issuer("", "", "", "", b""),
            sender=SenderParty("Mairie", "mairie@example.org", "substantial", "contract", BEGAN),
            recipient=RecipientParty("consumer", email, "Jeanne", "Martin"),
            parts=(part,),
            submitted_at=self.clock.legal_now(),
            consent_ref="consent-1",
        )
        stored = Submission(dossier, "fr", consent, (declared_sha256 or sha256,), (segment,))
        self.database.tables.submit(stored)
        await self.emit(Emission(SUBMITTED, delivery))
        return delivery

    async def emit(self, *emissions: Emission) -> None:
        """As the gateway, or an operator who puts a message back."""
        async with self.database.transaction() as tx:
            await tx.emit(emissions)

    async def again(self, m: Message) -> None:
        """The same address once more."""
        await self.emit(Emission(m.kind, m.subject, m.evidence, m.ordinal, lane=m.lane))

    async def turn(self, name: str) -> Sequence[Message]:
        """A fresh process of one stage takes one batch and ends in good order."""
        box = MemoryMailbox(self.database, name, self.randomness)
        stage: Stage[Any, Any, Any] = STAGES[name]
        await box.start()
        await box.sweep()
        batch = await box.take(stage.batch_max)
        if batch:
            await loop.turn(stage, box, self.ports[name], batch, self.randomness.unit, self.recorder)
        await box.stop()
        return batch

    async def run(self, *names: str) -> None:
        """Turns of these stages, until none has anything to do."""
        while [m for name in names for m in await self.turn(name)]:
            pass

    async def notified(self) -> UUID:
        """A letter whose notice was sent and proved."""
        delivery = await self.submit()
        await self.run("ingest", "encrypt", "notify", *PROOF)
        return delivery

    def at(self, moment: datetime) -> None:
        """Set the clock of the law."""
        self.clock.ahead += moment - self.clock.legal_now()

    def later(self, **by: float) -> None:
        """Move the clock of the law."""
        self.clock.ahead += timedelta(**by)

    async def intend(self, delivery: UUID, act: str = "accept") -> datetime:
        """Transaction 1 of a decision."""
        async with self.database.transaction() as tx:
            decided_at = (await tx.lock([delivery]))[delivery].legal_time
            await tx.add([DecisionIntent(UUID(bytes=self.randomness.random_bytes(16)), delivery, act, decided_at)])
        return decided_at

    async def accept(self, delivery: UUID) -> list[EvidenceDraft]:
        """Both transactions of an acceptance, as gateway/portal/decision.py does them."""
        decided_at = await self.intend(delivery)
        dossier = (await self.facts.dossiers([delivery]))[delivery]
        ticket = self.bridge.ticket(delivery, [part.sha256 for part in dossier.parts])
        [receipt] = await self.bridge.bridge("gateway").ask([decision_item(ticket, delivery, "accept")])
        assert isinstance(receipt, wire.Decided)
        who = identification(decided_at)
        async with self.database.transaction() as tx:
            head = (await tx.lock([delivery]))[delivery].head
            prove = partial(draft, identification=who, receipt=receipt.receipt, event_time=decided_at)
            accepted = prove(head, "C.3", dossier)
            consigned = prove(head_after(head, accepted), "D.1", dossier)
            await tx.add([accepted, consigned])
            await tx.emit([Emission(DRAFT, delivery, e.evidence, lane=0) for e in (accepted, consigned)])
        return [accepted, consigned]

    # ---------------------------------------------------------------- what can be seen
    def events(self, delivery: UUID) -> list[str]:
        return [e.event for e in self.database.tables.drafts(delivery)]

    def last(self, delivery: UUID) -> EvidenceDraft:
        return self.database.tables.drafts(delivery)[-1]

    def state(self, delivery: UUID) -> str:
        return (self.database.tables.state(delivery) or ("", 0))[0]

    def waiting(self, stage: str) -> list[Message]:
        return list(self.database.waiting[stage].values())

    def notices(self, delivery: UUID) -> list[Notice]:
        return self.database.tables.of(Notice, delivery)

    def results(self, delivery: UUID) -> list[tuple[int, str]]:
        return [(r.ordinal, r.outcome) for r in self.database.tables.of(NoticeResult, delivery)]

    def snapshots(self, delivery: UUID) -> list[Snapshot]:
        return self.database.tables.of(Snapshot, delivery)

    def dead(self) -> list[str]:
        return [d.why for d in self.database.dead]

    def nothing_left(self) -> bool:
        """No message waits, runs or is retried; no error was recorded."""
        retries = [t for t in self.database.timers if not t.is_legal]
        rows = [m for table in (self.database.waiting, self.database.running) for m in table.values() if m]
        return not rows and not retries and not self.errors and not self.database.dead

    def _heard(self, line: str) -> None:
        self.errors.append(line)


def identification(moment: datetime) -> IdentifiedPerson:
    """The person that FakeBridge's ticket names."""
    born = date(1980, 5, 17)
    digest = person_sha256("Jeanne", "Martin", born, "subject-1")
    return IdentifiedPerson("Jeanne", "Martin", None, born, "subject-1", "substantial", "demo-identity", moment, digest)
