"""One run of the simulation: every stage twice, letters, people, weather; then calm, and a ledger to check.

Owns     the assembly, the order of a run and when it has come to rest
Elsewhere: what goes wrong within a process (processes.py), what people do (recipients.py), what must hold (ledger.py)
"""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio

from pipeline.actors.contract import Stage
from pipeline.delivery.facts import AcceptanceWindow
from pipeline.delivery.routes import BULK, DRAW, SUBMITTED, Emission
from pipeline.errors import Transient
from pipeline.notices.notice import Letterhead
from pipeline.notices.relaying import GuardedRelay
from pipeline.ports.bridge import PublishedKey
from pipeline.ports.mailbox import Message
from pipeline.process.recorder import Recorder
from pipeline.stages import archive, encrypt, expire, ingest, notify, seal, timestamp
from tests.fakes import batches, mail
from tests.fakes.bridge import POLICY, FakeBridge
from tests.fakes.consents import MemoryConsentFacts
from tests.fakes.exports import MemoryExportFacts
from tests.fakes.mail import MemoryMailer
from tests.memory.batches import MemoryDraws
from tests.memory.database import MemoryClock, MemoryDatabase
from tests.memory.facts import MemoryFacts, MemoryKeys
from tests.simulation import letters
from tests.simulation.letters import FATES, Letter
from tests.simulation.processes import (
    LEASE_SECONDS,
    DangerousMailbox,
    Faults,
    MailboxMaker,
    Process,
    Remote,
    RemoteObjects,
    Victim,
    ports_for,
)
from tests.simulation.recipients import Recipient, recipients

STAGES: tuple[tuple[Stage[Any, Any, Any], type[Any]], ...] = (
    (ingest.STAGE, ingest.Ports),
    (encrypt.STAGE, encrypt.Ports),
    (seal.STAGE, seal.Ports),
    (timestamp.STAGE, timestamp.Ports),
    (notify.STAGE, notify.Ports),
    (expire.STAGE, expire.Ports),
    (archive.STAGE, archive.Ports),
)
STARTS = (
    datetime(2026, 3, 10, 9, 0, tzinfo=UTC),
    datetime(2026, 3, 10, 9, 0, tzinfo=UTC),
    datetime(2026, 3, 20, 22, 57, tzinfo=UTC),  # three minutes before midnight in Paris
    datetime(2026, 3, 13, 12, 0, tzinfo=UTC),  # the window ends on the night when summer time begins
    datetime(2026, 10, 9, 12, 0, tzinfo=UTC),  # ... and ends
)
LETTERHEAD = Letterhead("Test Delivery", "non_qualified", "notice@registered.example", "https://registered.example")
OUTSIDES = ("bridge", "authority", "mail", "objects", "database")
LETTERS = 6  # with two hundred seeds every fate meets every fault many times
BATCH_LETTERS = 4
CHAOS_SECONDS = 14.0
REST_SECONDS_MAX = 900.0
LAST_SECONDS = timedelta(seconds=4)
SOON = timedelta(minutes=10)  # a legal timer that is due within this is still under way
WINDOW = timedelta(days=17)
ACCESS = timedelta(days=367)


class WatchedDatabase(MemoryDatabase):
    """Counts how often each message is born: rescued, postponed and put-back ones already have an id."""

    def __init__(self, clock: MemoryClock) -> None:
        super().__init__(clock, LEASE_SECONDS)
        self.births: Counter[tuple[str, UUID, UUID | None, int]] = Counter()

    def enqueue(self, stage: str, message: Message) -> None:
        if message.id == 0:
            self.births[message.kind, message.subject, message.evidence, message.ordinal] += 1
        super().enqueue(stage, message)


class World:
    """Everything in one run. Must be made inside the event loop: its clock is anyio's."""

    def __init__(self, seed: int, make_mailbox: MailboxMaker = DangerousMailbox) -> None:
        self.seed = seed
        self.random = random.Random(f"world {seed}")
        self.clock = MemoryClock(self.random.choice(STARTS))
        self.database = WatchedDatabase(self.clock)
        self.faults = Faults()
        self.fake = FakeBridge(
            legal_now=self.clock.legal_now, now=self.clock.now, random=random.Random(f"token {seed}").randbytes
        )
        self.published: list[PublishedKey] = self.fake.published()
        self.anchor = self.fake.authority
        self.keys = MemoryKeys(self.published, self.anchor, {"crl": self.fake.crl}, self.clock)
        self.mailer = MemoryMailer(self._says)
        self.objects: dict[str, bytes] = {}
        self.draining = anyio.Event()
        self.log: list[str] = []
        self.letters: list[Letter] = []
        self.batch: UUID | None = None
        self.restless: list[str] = []
        self.people: dict[UUID, str] = {}  # who is not done yet
        self.processes = [
            self._process(stage, kind, number, make_mailbox) for stage, kind in STAGES for number in (1, 2)
        ]

    async def run(self) -> None:
        """Chaos, then calm; then the window has passed, then access; at rest after each."""
        async with anyio.create_task_group() as tasks:
            for process in self.processes:
                tasks.start_soon(process.live)
            self.faults.on = True
            tasks.start_soon(self._submit_all, tasks)
            tasks.start_soon(self._submit_batch)
            await self._weather()
            self.faults.on = False
            self.faults.away.clear()
            self.database.away = False
            await self._rest(patient=frozenset({letters.LAST_MOMENT}))
            await self._last_moments()
            for jump in (WINDOW, ACCESS):
                self._jump(jump)
                await self._rest()
            self.draining.set()
            if self.restless:
                tasks.cancel_scope.cancel()

    async def _last_moments(self) -> None:
        """Real seconds pass around the end of the first open window; in every second run nothing is reliable then."""
        windows = [
            w for m in self.letters if (w := self.database.tables.find(AcceptanceWindow, m.delivery)) is not None
        ]
        now = self.clock.legal_now()
        ends = [w.expires_at for w in windows if w.expires_at > now + LAST_SECONDS]
        if ends:
            self._jump(min(ends) - LAST_SECONDS - now)
        self.faults.on = self.random.random() < 0.5
        await self._sleep(2 * LAST_SECONDS.total_seconds())
        self.faults.on = False

    async def _submit_all(self, tasks: Any) -> None:
        intake = next(k for k in self.published if k.use == "intake")
        for fate in self.random.choices(FATES, k=LETTERS):
            made = letters.letter(fate, self.random, intake, self.clock.legal_now(), self.random.choice((1, 1, 2)))
            self.objects |= made.objects
            self.letters.append(made)
            self.database.tables.submit(made.submission)
            while not await self._submit(made):  # 202 is answered after the commit only
                await self._sleep(0.1)
            tasks.start_soon(self._people, made)
            await self._sleep(self.random.uniform(0, 0.8))

    async def _submit_batch(self) -> None:
        """Letters that nobody reacts to, one of them twice, and a line that is none; drawn in several turns."""
        own = random.Random(f"batch {self.seed}")
        sender, batch = (UUID(bytes=own.randbytes(16)) for _ in range(2))
        intake = next(k for k in self.published if k.use == "intake")
        batches.plant_sender(self.database, sender, self.clock.now())
        upload, name, stored = batches.plant_upload(self.database, sender, intake, own.randbytes)
        self.objects[name] = stored
        lines = [batches.line(f"r-{n}", upload) for n in range(BATCH_LETTERS)]
        for n, one in enumerate(lines):
            one["recipient"]["email"] = f"batch-{n}@example.net"
        parts = [lines[:2], [lines[0], batches.line("none", upload, subject="")], lines[2:]]
        batches.plant_batch(self.database, batch, sender, parts)
        self.batch = batch
        while not await self._emit(Emission(DRAW, batch, lane=BULK)):
            await self._sleep(0.1)

    async def _emit(self, emission: Emission) -> bool:
        try:
            async with self.database.transaction() as tx:
                await tx.emit([emission])
        except Transient:
            return self.database.births[emission.kind, emission.subject, None, 0] > 0
        return True

    async def _submit(self, letter: Letter) -> bool:
        return await self._emit(Emission(SUBMITTED, letter.delivery, lane=letter.lane))

    async def _people(self, letter: Letter) -> None:
        self.people[letter.delivery] = letter.fate
        await recipients(letter, [self._person(letter, number) for number in (1, 2)])
        del self.people[letter.delivery]

    def _person(self, letter: Letter, number: int) -> Recipient:
        owner = Victim("gateway", self.faults, f"person {self.seed} {letter.delivery} {number}")
        return Recipient(letter, self.database, self._facts(owner), self.fake, owner)

    async def _weather(self) -> None:
        """Outages, and in every second run the law's clock jumps while everything is under way."""
        until = anyio.current_time() + CHAOS_SECONDS
        jump_at = self.random.uniform(3, CHAOS_SECONDS) if self.random.random() < 0.5 else float("inf")
        begun = anyio.current_time()
        while anyio.current_time() < until:
            what = self.random.choice(OUTSIDES)
            self._set_away(what, True)
            await self._sleep(self.random.uniform(0.2, 2.5))
            self._set_away(what, False)
            if anyio.current_time() - begun >= jump_at:
                self._jump(timedelta(days=16))
                jump_at = float("inf")
            await self._sleep(self.random.uniform(0.2, 2.0))

    def _set_away(self, what: str, away: bool) -> None:
        if what != "database":
            (self.faults.away.add if away else self.faults.away.discard)(what)
        elif away:
            self.faults.count["fell", "database"] += 1
            self.database.fall()
        else:
            self.database.away = False

    def _jump(self, ahead: timedelta) -> None:
        self.clock.ahead += ahead
        self.database.ring(frozenset(self.database.bells))

    async def _rest(self, patient: frozenset[str] = frozenset()) -> None:
        """Until nothing is under way any more. patient: people with these fates are not waited for."""
        until = anyio.current_time() + REST_SECONDS_MAX
        while (busy := self._busy(patient)) and anyio.current_time() < until:
            await self._sleep(1.0)
            self._redrive()
        self.restless += [f"does not come to rest: {what}" for what in busy]

    def _redrive(self) -> None:
        """A person has looked: five deaths over one message were the weather's fault. Any other dead letter stays."""
        dead, self.database.dead = self.database.dead, []
        for letter in dead:
            if letter.why.startswith("its process died"):
                message = replace(letter.message, lane=letter.message.lane & ~1, attempts=0, rescues=0)
                self.database.enqueue(letter.stage, message)
                self.faults.count["redriven", letter.stage] += 1
            else:
                self.database.dead.append(letter)

    def _busy(self, patient: frozenset[str]) -> list[str]:
        database = self.database
        busy = [f"{s} waiting {len(rows)}" for s, rows in database.waiting.items() if rows]
        busy += [f"{s} running {len(rows)}" for s, rows in database.running.items() if rows]
        soon = self.clock.legal_now() + SOON
        busy += [f"timer {t.stage} {t.due_at}" for t in database.timers if not t.is_legal or t.due_at < soon]
        return busy + [f"{fate} {delivery}" for delivery, fate in self.people.items() if fate not in patient]

    @staticmethod
    async def _sleep(seconds: float) -> None:
        await anyio.sleep_until(anyio.current_time() + seconds)

    def _says(self, recipient: str, nth: int) -> str:
        own = random.Random(f"relay {self.seed} {recipient} {nth}")
        own_letters = (m.fate for m in self.letters if m.submission.dossier.recipient.email == recipient)
        fate = next(own_letters, letters.IGNORE)  # of the batch
        chance = own.random()
        if chance < 0.1:
            return mail.NOT_NOW
        if fate == letters.MAIL_REFUSED:
            return mail.REFUSE
        if chance < 0.2 and self.faults.on:
            self.faults.count["relay's answer lost", "notify"] += 1
            return mail.LOSE_ANSWER
        return mail.ACCEPT

    def _facts(self, owner: Victim) -> MemoryFacts:
        return MemoryFacts(self.database, self.keys, "Test Delivery", "FR", f"{POLICY}.1", owner.pause)

    def _process(
        self, stage: Stage[Any, Any, Any], kind: type[Any], number: int, make_mailbox: MailboxMaker
    ) -> Process:
        owner = Victim(stage.name, self.faults, f"process {self.seed} {stage.name} {number}")
        recorder = Recorder(stage.name, self.log.append)
        ports = ports_for(
            kind,
            {
                "facts": self._facts(owner),
                "draws": MemoryDraws(self.database, owner.pause),
                "mode": LETTERHEAD.mode,
                "config_version": "embedded-1",
                "bridge": Remote(owner, self.fake.bridge(stage.name), "bridge"),
                "authority": Remote(owner, self.fake.bridge(stage.name), "authority"),
                "exports": MemoryExportFacts(),
                "consents": MemoryConsentFacts(self.database),
                "keys": self.keys,
                "objects": RemoteObjects(owner, self.objects),
                "relay": GuardedRelay(Remote(owner, self.mailer, "mail"), recorder),
                "randomness": owner,
                "minimum_level": "substantial",
                "letterhead": LETTERHEAD,
            },
        )
        return Process(stage, ports, owner, self.database, self.draining, recorder, make_mailbox)
