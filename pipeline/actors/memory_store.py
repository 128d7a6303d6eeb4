"""The tables of the in-memory ports: committed rows, unique keys, row locks, two clocks.

Owns     what PostgreSQL's schema promises and the simulation relies on: every unique index, which fact wins silently,
         the references between facts, locks held to the end of a transaction, deadlocks told to one of the two
Rules    no threads; everything between two awaits is atomic; nothing here survives the process
Not here what a transaction or a mailbox does with it (memory.py), reads in bulk (memory_facts.py)
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import anyio

from pipeline.delivery.facts import (
    AcceptanceWindow,
    ContentWrap,
    DecisionIntent,
    Handover,
    Identification,
    Notice,
    NoticeResult,
    ObjectMark,
    Snapshot,
)
from pipeline.delivery.states import SUBMITTED
from pipeline.errors import Transient
from pipeline.evidence.dossier import Dossier
from pipeline.evidence.facts import EvidenceDraft, EvidenceSeal, EvidenceToken
from pipeline.ports import Message, Segment

FIRES_MAX = 100  # timers a sweep
ONE_OF = {  # at most one event of each group per delivery: the partial unique indexes of the schema
    "deposit": ("A.1", "A.2"),
    "decision": ("C.3", "C.4", "C.5"),
    "handover": ("E.1", "E.2"),
}
WITH_RECEIPT = frozenset({"C.3", "C.4", "D.1", "E.1"})
FIRST_WINS = (EvidenceSeal, EvidenceToken, ContentWrap, ObjectMark)

Key = tuple[Hashable, ...]


class RowRefused(Exception):
    """What the database's constraints refuse. Nobody expects it: the loop treats it like a crash."""


def _draft_keys(e: EvidenceDraft) -> list[Key]:
    groups = [name for name, events in ONE_OF.items() if e.event in events]
    return [
        ("draft", e.evidence),
        ("event", e.delivery, e.event, e.ordinal),
        ("sequence", e.delivery, e.sequence),
        *[(name, e.delivery) for name in groups],
    ]


UNIQUE: dict[type, Callable[[Any], list[Key]]] = {
    EvidenceDraft: _draft_keys,
    EvidenceSeal: lambda s: [("seal", s.evidence)],
    EvidenceToken: lambda t: [("token", t.evidence)],
    ContentWrap: lambda w: [("wrap", w.delivery)],
    Notice: lambda n: [
        ("notice", n.delivery, n.ordinal),
        ("message_id", n.message_id),
        ("claim", n.claim_sha256),
    ],
    NoticeResult: lambda r: [("notice_result", r.delivery, r.ordinal)],
    AcceptanceWindow: lambda w: [("window", w.delivery)],
    Identification: lambda i: [("identification", i.id)],
    DecisionIntent: lambda i: [("intent", i.id)],
    Handover: lambda _: [],
    Snapshot: lambda s: [
        ("snapshot", s.delivery, s.snapshot),
        ("snapshot_through", s.delivery, s.sequence_through),
        ("object", s.object),
    ],
    ObjectMark: lambda m: [("object_mark", m.object)],
}
NEEDS: dict[type, Callable[[Any], Key]] = {  # the row that must be there first
    EvidenceSeal: lambda s: ("draft", s.evidence),
    EvidenceToken: lambda t: ("seal", t.evidence),
    NoticeResult: lambda r: ("notice", r.delivery, r.ordinal),
}


def check_form(fact: Any) -> None:
    """The CHECK constraints of an evidence."""
    if isinstance(fact, EvidenceDraft):
        if (fact.event in WITH_RECEIPT) != (fact.receipt is not None):
            raise RowRefused(f"{fact.event} and its receipt do not fit")
        if fact.sha256 != hashlib.sha256(fact.canonical).digest():
            raise RowRefused("the digest is not that of the bytes")


@dataclass(slots=True)
class DeliveryRow:
    """What the gateway stored, and the two columns that `timestamp` advances."""

    dossier: Dossier
    language: str
    declared_sha256: tuple[bytes, ...]
    segments: tuple[Segment, ...]
    state: str = SUBMITTED
    stamped_through: int = 0


@dataclass(frozen=True, slots=True)
class Timer:
    """A message that waits for an instant; is_legal: of the law's clock."""

    stage: str
    due_at: datetime
    message: Message
    is_legal: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What no attempt could finish."""

    stage: str
    message: Message
    why: str


class Holder:
    """Who holds row locks: a transaction or a rescue. Others wait for `ended`."""

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.waits_for: Holder | None = None


class Locks:
    """Row locks, held to the end of their holder. A circle of waits is told to the one that closes it."""

    def __init__(self) -> None:
        self._owners: dict[Key, Holder] = {}

    async def acquire(self, key: Key, holder: Holder) -> None:
        """Wait until nobody else holds `key`. Raises Transient instead of a deadlock."""
        while (owner := self._owners.get(key)) is not None and owner is not holder:
            following: Holder | None = owner
            while following is not None:
                if following is holder:
                    raise Transient("deadlock")
                following = following.waits_for
            holder.waits_for = owner
            try:
                await owner.ended.wait()
            finally:
                holder.waits_for = None
        self._owners[key] = holder

    def release(self, holder: Holder) -> None:
        """All of them, at once."""
        self._owners = {key: owner for key, owner in self._owners.items() if owner is not holder}
        holder.ended.set()


@dataclass(slots=True)
class MemoryStore:
    """Everything committed. began: what the clock shows at event loop time 0."""

    began: datetime
    ahead: timedelta = timedelta(0)  # the demo clock: forward only
    deliveries: dict[UUID, DeliveryRow] = field(default_factory=dict)
    consents: dict[str, str] = field(default_factory=dict)  # ref -> given or withdrawn
    unique: dict[Key, Any] = field(default_factory=dict)
    evidences: dict[UUID, list[EvidenceDraft]] = field(default_factory=lambda: defaultdict(list))
    notices: dict[UUID, list[Notice]] = field(default_factory=lambda: defaultdict(list))
    snapshots: dict[UUID, list[Snapshot]] = field(default_factory=lambda: defaultdict(list))
    intents: dict[UUID, list[tuple[DecisionIntent, datetime]]] = field(default_factory=lambda: defaultdict(list))
    handovers: list[Handover] = field(default_factory=list)
    waiting: dict[str, dict[int, Message]] = field(default_factory=lambda: defaultdict(dict))
    running: dict[str, dict[tuple[int, int], Message]] = field(default_factory=lambda: defaultdict(dict))
    timers: list[Timer] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    processes: dict[int, tuple[str, datetime]] = field(default_factory=dict)  # epoch -> kind, seen at
    listeners: dict[str, list[Callable[[], None]]] = field(default_factory=lambda: defaultdict(list))
    locks: Locks = field(default_factory=Locks)
    last_id: int = 0
    last_epoch: int = 0

    def now(self) -> datetime:
        """The real clock."""
        return self.began + timedelta(seconds=anyio.current_time())

    def legal_now(self) -> datetime:
        """The time of the law, milliseconds rounded down."""
        moment = self.now() + self.ahead
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def jump(self, by: timedelta) -> None:
        """Move the law's clock, and wake everybody."""
        if by < timedelta(0):
            raise RowRefused("the demo clock only moves forward")
        self.ahead += by
        for stage in self.listeners:
            self.ring(stage)

    def ring(self, stage: str) -> None:
        """Whoever waits at this stage's doorbell."""
        for wake in self.listeners[stage]:
            wake()

    def put(self, stage: str, message: Message) -> None:
        """A message under a new id."""
        self.last_id += 1
        self.waiting[stage][self.last_id] = replace(message, id=self.last_id)

    def insert(self, fact: Any) -> None:
        """A committed fact; its keys were locked and checked before."""
        for key in UNIQUE[type(fact)](fact):
            self.unique[key] = fact
        if isinstance(fact, EvidenceDraft):
            self.evidences[fact.delivery].append(fact)
        elif isinstance(fact, Notice):
            self.notices[fact.delivery].append(fact)
        elif isinstance(fact, Snapshot):
            self.snapshots[fact.delivery].append(fact)
        elif isinstance(fact, DecisionIntent):
            self.intents[fact.delivery].append((fact, self.now()))
        elif isinstance(fact, Handover):
            self.handovers.append(fact)

    def fire(self, stage: str) -> int:
        """Due timers become waiting messages, the earliest first."""
        fired = 0
        for is_legal, now in ((False, self.now()), (True, self.legal_now())):
            due = [t for t in self.timers if t.stage == stage and t.is_legal == is_legal and t.due_at <= now]
            for timer in sorted(due, key=lambda t: (t.due_at, t.message.id))[:FIRES_MAX]:
                self.timers.remove(timer)
                self.put(stage, timer.message)
                fired += 1
        return fired
