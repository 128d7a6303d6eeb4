"""Proofs that were written once and are never written again: what they are today must stay.

`tests/vectors/evidence`: `stories.json`, the facts of every way in which a delivery ends, with the digest of each
evidence's bytes; a package of each story, a batch's proof of deposit, and the authority of their certificates. The
seals are random, so making them anew would prove nothing about packages that senders already hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from pipeline.evidence.dossier import Deposit, Dossier, Reason
from pipeline.evidence.draft import Head, draft, head_after
from pipeline.evidence.facts import EvidenceDraft
from pipeline.evidence.form.reading import read
from pipeline.evidence.form.xades import take_apart
from pipeline.evidence.package.snapshot import open_package
from pipeline.evidence.verification import CheckOutcome, Verdict, verify
from pipeline.formats.events import EVENTS
from pipeline.formats.person import IdentifiedPerson

VECTORS = Path(__file__).parents[2] / "vectors" / "evidence"
ANCHORS = ((VECTORS / "ca.cer").read_bytes(),)
READ_AT = datetime(2027, 6, 1, tzinfo=UTC)  # after all of them were packed


@dataclass(frozen=True, slots=True)
class Told:
    """What was handed to `draft`, and the digest of the bytes it gave."""

    event: str
    ordinal: int
    event_time: datetime
    details: tuple[tuple[str, str], ...]
    reason: Reason | None
    identification: IdentifiedPerson | None
    receipt: bytes | None
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Story:
    name: str
    dossier: Dossier
    deposit: Deposit | None
    evidences: tuple[Told, ...]

    @property
    def package(self) -> bytes:
        return (VECTORS / f"{self.name}.asice").read_bytes()


STORIES = msgspec.json.decode((VECTORS / "stories.json").read_bytes(), type=list[Story])


def drafted(story: Story) -> list[EvidenceDraft]:
    """Every evidence of the story, drafted by the code of today."""
    head = Head(story.dossier.delivery, "submitted", 1, None, story.dossier.submitted_at, frozenset())
    drafts: list[EvidenceDraft] = []
    for told in story.evidences:
        drafts.append(
            draft(
                head,
                told.event,
                replace(story.dossier, deposit=story.deposit if drafts else None),
                ordinal=told.ordinal,
                details=told.details,
                reason=told.reason,
                identification=told.identification,
                receipt=told.receipt,
                event_time=told.event_time,
            )
        )
        head = head_after(head, drafts[-1])
    return drafts


@pytest.mark.parametrize("story", STORIES, ids=lambda story: str(story.name))
def test_the_same_facts_give_the_same_bytes(story: Story) -> None:
    """Byte for byte what the package of that day carries; so a draft repeated after an upgrade is the one stored."""
    drafts = drafted(story)
    carried = [take_apart(document).canonical for document in open_package(story.package).snapshot.documents]
    assert [made.canonical for made in drafts] == carried
    assert [made.sha256 for made in drafts] == [told.sha256 for told in story.evidences]
    assert [read(made.canonical).event for made in drafts] == [told.event for told in story.evidences]


@pytest.mark.parametrize("name", [*(story.name for story in STORIES), "batch"])
def test_a_package_written_before_verifies_after(name: str) -> None:
    """Each is valid under the authority of its day, with every check passed that it can be put to."""
    report = verify((VECTORS / f"{name}.asice").read_bytes(), ANCHORS, at=READ_AT)
    assert (report.verdict, report.failed_check) == (Verdict.VALID, None)
    passed = [step.check for step in report.steps if step.outcome is CheckOutcome.PASSED]
    assert {"package_seal", "package_time", "trust"} <= set(passed)


def test_every_event_is_among_them() -> None:
    """No event could change its form unseen."""
    assert {told.event for story in STORIES for told in story.evidences} == set(EVENTS)
