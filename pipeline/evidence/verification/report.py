"""What a verification found: numbered steps, a verdict, and the facts that a person wants to see.

Plain values; how they are said to people is in `words` and `rendering`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from pipeline.evidence.time_stamp import LAG_SECONDS_MAX


class Verdict(Enum):
    VALID = "valid"
    INVALID = "invalid"
    NOT_A_PROOF = "not_a_proof"
    INDETERMINATE = "indeterminate"

    @property
    def exit_code(self) -> int:
        return {"valid": 0, "invalid": 1, "not_a_proof": 2, "indeterminate": 3}[self.value]


class CheckOutcome(Enum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class Step:
    """`subject` is the entry that failed, or empty; `values` fill the sentence; `detail` is technical English."""

    number: int
    check: str
    outcome: CheckOutcome
    subject: str = ""
    detail: str = ""
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProvenEvent:
    """event_time: by the service's word; stamped_at: since when it is proved, None for what is not checked."""

    code: str
    name: str
    sequence: int
    event_time: datetime
    stamped_at: datetime | None

    @property
    def lag_seconds(self) -> float:
        """For so long it was the service's word alone."""
        return 0.0 if self.stamped_at is None else max((self.stamped_at - self.event_time).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """What the proof says; only worth something with the verdict VALID."""

    number: str
    delivery: str
    mode: str
    issuer: str
    sender: str
    recipient: str
    events: tuple[ProvenEvent, ...]
    snapshot: int | None = None
    lag_seconds_max: int = LAG_SECONDS_MAX

    def is_late(self, event: ProvenEvent) -> bool:
        """Proved later after it happened than whoever verifies finds usual. Valid, and to be told."""
        return event.lag_seconds > self.lag_seconds_max

    @property
    def late(self) -> tuple[ProvenEvent, ...]:
        return tuple(event for event in self.events if self.is_late(event))


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What a batch's proof of deposit says; only worth something with the verdict VALID."""

    batch: str
    name: str
    mode: str
    issuer: str
    sender: str
    submitted_at: datetime
    parts_sha256: str
    deposited: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Report:
    kind: str  # package | batch | evidence | unknown
    sha256: str
    verdict: Verdict
    steps: tuple[Step, ...]
    facts: LetterFacts | BatchFacts | None

    @property
    def nature(self) -> str | None:
        """Of what is sealed and no evidence: `list`; a place for `reading_copy`, which nothing seals yet. Else None."""
        return "list" if self.kind == "batch" else None

    @property
    def is_evidence(self) -> bool:
        """Whether such a file, when it is valid, is evidence or holds some."""
        return self.kind in ("package", "evidence")

    @property
    def failed_check(self) -> str | None:
        return next((step.check for step in self.steps if step.outcome is CheckOutcome.FAILED), None)


class CheckFailed(Exception):
    """One check of the protocol does not hold. Stops the verification; never leaves `verify`."""

    def __init__(self, detail: str, subject: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.subject = subject


class NotChecked(Exception):
    """One check of the protocol could not be done with what was given. Never leaves `verify`."""


Digest = bytes


@dataclass(frozen=True, slots=True)
class ContentDigests:
    """A document that the person holds, as digests, so that a large one need not be in memory.

    `sha3_256` is None where only the first digest is known; then only the first is compared.
    """

    name: str
    sha256: Digest
    sha3_256: Digest | None


def content_digests(name: str, content: bytes) -> ContentDigests:
    return ContentDigests(name, hashlib.sha256(content).digest(), hashlib.sha3_256(content).digest())
