"""The facts of the simulation in dictionaries, under the unique keys of schemas/schema.sql.

Owns     which fact may stand beside which: first committed wins for seal, token, wrap and object mark; anything else
         that exists already is a Conflict, as the server's error would be; what a fact refers to must exist
Rules    tables lie in layers: a transaction writes into its own and reads through it; `merge` is its COMMIT
Elsewhere: locks and messages (mailbox.py), what a stage reads in bulk (facts.py)
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import UUID

from pipeline.delivery.facts import (
    AcceptanceWindow,
    ContentWrap,
    DecisionIntent,
    Handover,
    Identification,
    Notice,
    NoticeResult,
    Snapshot,
    UploadWrap,
)
from pipeline.delivery.states import SUBMITTED
from pipeline.evidence.dossier import Dossier
from pipeline.evidence.facts import EvidenceDraft, EvidenceSeal, EvidenceToken
from pipeline.evidence.form.xml import opening
from pipeline.exports.facts import BatchProof, ExportStep
from pipeline.formats.events import BY_RECIPIENT, DECISIONS, DEPOSITS, HANDOVERS
from pipeline.formats.evidence_head import evidence_id
from pipeline.notices.consent_facts import ConsentMail, ConsentMailResult
from pipeline.ports.rows import Segment

Key = tuple[Hashable, ...]
T = TypeVar("T")


class Conflict(Exception):
    """What the server would refuse: a unique key that exists, a missing parent, a violated check."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What the gateway wrote about one delivery. The dossier's issuer and deposit are filled in when it is read."""

    dossier: Dossier
    language: str
    consent: str
    declared_sha256: tuple[bytes, ...]
    segments: tuple[Segment, ...]


FIRST_WINS: dict[type, Callable[[Any], Key]] = {
    EvidenceSeal: lambda f: (EvidenceSeal, f.evidence),
    EvidenceToken: lambda f: (EvidenceToken, f.evidence),
    ContentWrap: lambda f: (ContentWrap, f.delivery),
    UploadWrap: lambda f: (UploadWrap, f.upload),
    ConsentMail: lambda f: (ConsentMail, f.request),
    ConsentMailResult: lambda f: (ConsentMailResult, f.request),
}
ONE_OF = (DEPOSITS, DECISIONS, HANDOVERS)


def _draft_keys(f: EvidenceDraft) -> list[Key]:
    keys: list[Key] = [
        (EvidenceDraft, f.evidence),
        ("event", f.delivery, f.event, f.ordinal),
        ("sequence", f.delivery, f.sequence),
    ]
    return keys + [("one", f.delivery, min(events)) for events in ONE_OF if f.event in events]


UNIQUE: dict[type, Callable[[Any], list[Key]]] = {
    EvidenceDraft: _draft_keys,
    Notice: lambda f: [(Notice, f.delivery, f.ordinal), ("mail", f.message_id), ("claim", f.claim_sha256)],
    NoticeResult: lambda f: [(NoticeResult, f.delivery, f.ordinal)],
    AcceptanceWindow: lambda f: [(AcceptanceWindow, f.delivery)],
    Identification: lambda f: [(Identification, f.id)],
    DecisionIntent: lambda f: [(DecisionIntent, f.id)],
    Handover: lambda f: [],
    Snapshot: lambda f: [
        (Snapshot, f.delivery, f.snapshot),
        ("through", f.delivery, f.sequence_through),
        ("object", f.object),
    ],
    BatchProof: lambda f: [(BatchProof, f.batch), ("object", f.object)],
    ExportStep: lambda f: [(ExportStep, f.export, f.step)],
    EvidenceSeal: lambda f: [FIRST_WINS[EvidenceSeal](f)],
    EvidenceToken: lambda f: [FIRST_WINS[EvidenceToken](f)],
    ContentWrap: lambda f: [FIRST_WINS[ContentWrap](f)],
    UploadWrap: lambda f: [FIRST_WINS[UploadWrap](f)],
    ConsentMail: lambda f: [FIRST_WINS[ConsentMail](f)],
    ConsentMailResult: lambda f: [FIRST_WINS[ConsentMailResult](f)],
}

OWNERS = ("delivery", "batch", "export")

PARENT: dict[type, Callable[[Any], Key]] = {
    EvidenceSeal: lambda f: (EvidenceDraft, f.evidence),
    EvidenceToken: lambda f: (EvidenceSeal, f.evidence),
    ConsentMailResult: lambda f: (ConsentMail, f.request),
    NoticeResult: lambda f: (Notice, f.delivery, f.ordinal),
    AcceptanceWindow: lambda f: (Notice, f.delivery, f.ordinal),
} | {
    kind: (lambda f: (Submission, f.delivery))
    for kind in (EvidenceDraft, ContentWrap, Notice, Identification, DecisionIntent, Handover, Snapshot)
}


class Tables:
    """One layer of facts; `below` is what was committed before."""

    def __init__(self, below: "Tables | None" = None) -> None:
        self._below = below
        self._added: list[Any] = []
        self._submitted: list[Submission] = []  # of this layer
        self._keys: dict[Key, Any] = {}
        self._own: dict[tuple[type, UUID], list[Any]] = defaultdict(list)
        self._states: dict[UUID, tuple[str, int]] = {}

    def submit(self, submission: Submission) -> None:
        """A delivery as the gateway leaves it."""
        delivery = submission.dossier.delivery
        self._submitted.append(submission)
        self._keys[Submission, delivery] = submission
        self._states[delivery] = (SUBMITTED, 0)

    def find(self, kind: type[T], *key: Hashable) -> T | None:
        """The fact under its unique key."""
        row = (cast(Hashable, kind), *key)
        found: T | None = self._keys.get(row)
        return found if found is not None or self._below is None else self._below.find(kind, *key)

    def of(self, kind: type[T], delivery: UUID) -> list[T]:
        """All facts of a kind about a delivery (or a batch, or an export), oldest first."""
        own: list[T] = self._own.get((kind, delivery), [])
        return own if self._below is None else self._below.of(kind, delivery) + own

    def drafts(self, delivery: UUID) -> list[EvidenceDraft]:
        """In sequence."""
        return sorted(self.of(EvidenceDraft, delivery), key=lambda e: e.sequence)

    def deliveries(self) -> list[UUID]:
        """All there are, in order of submission. Of the lowest layer only: no transaction asks."""
        return list(self._states)

    def state(self, delivery: UUID) -> tuple[str, int] | None:
        """State and length of the stamped prefix."""
        own = self._states.get(delivery)
        return own if own is not None or self._below is None else self._below.state(delivery)

    def set_state(self, delivery: UUID, state: str, stamped_through: int) -> None:
        """Under the delivery's lock."""
        self._states[delivery] = (state, stamped_through)

    def add(self, fact: Any) -> None:
        """Insert one fact. Raises Conflict."""
        first = FIRST_WINS.get(type(fact))
        if first is not None and self._has(first(fact)):
            return
        self.check(fact)
        self._added.append(fact)
        for key in UNIQUE[type(fact)](fact):
            self._keys[key] = fact
        owner = next((getattr(fact, name) for name in OWNERS if hasattr(fact, name)), None)
        if owner is not None:
            self._own[type(fact), owner].append(fact)

    def check(self, fact: Any) -> None:
        """Raises Conflict when the fact may not be added."""
        for key in UNIQUE[type(fact)](fact):
            if self._has(key):
                raise Conflict(f"{type(fact).__name__}: a row with {key[0]} exists")
        parent = PARENT.get(type(fact))
        if parent is not None and not self._has(parent(fact)):
            raise Conflict(f"{type(fact).__name__} refers to what does not exist")
        if isinstance(fact, EvidenceDraft):
            _check_draft(fact)

    def merge(self, upper: "Tables") -> None:
        """COMMIT of the layer above: all of it or, with Conflict, nothing."""
        facts: Sequence[Any] = upper._added
        for fact in facts:
            if type(fact) not in FIRST_WINS:
                for key in UNIQUE[type(fact)](fact):
                    if self._has(key):
                        raise Conflict(f"{type(fact).__name__}: another transaction was first")
        for submission in upper._submitted:
            self.submit(submission)
        for fact in facts:
            self.add(fact)
        self._states |= upper._states

    def _has(self, key: Key) -> bool:
        return key in self._keys or (self._below is not None and self._below._has(key))


def _check_draft(draft: EvidenceDraft) -> None:
    if draft.sha256 != hashlib.sha256(draft.canonical).digest():
        raise Conflict("EvidenceDraft: its digest is not that of its bytes")
    if (draft.event in BY_RECIPIENT) != (draft.receipt is not None):
        raise Conflict("EvidenceDraft: receipt missing or not expected")
    if draft.evidence != evidence_id(draft.delivery, draft.event, draft.ordinal):
        raise Conflict("EvidenceDraft: it is named by another fact")
    if not draft.canonical.startswith(opening(draft.evidence).encode()):
        raise Conflict("EvidenceDraft: its bytes say another name")
    if draft.sequence < 1:
        raise Conflict("EvidenceDraft: sequences begin with 1")
