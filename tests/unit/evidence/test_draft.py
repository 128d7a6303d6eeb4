"""Drafting: what fixes an evidence before any signature, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from pipeline.evidence import draft as drafting
from pipeline.evidence.draft import DraftRefused, Head, draft, head_after
from pipeline.evidence.form.reading import read
from pipeline.evidence.form.xml import ValueRefused
from tests.fakes import letters
from tests.unit.evidence.conftest import Letter

HEAD = Head(letters.DELIVERY, "submitted", 1, None, letters.SUBMITTED, frozenset())


def later_head(letter: Letter) -> Head:
    return Head(letters.DELIVERY, "notified", 3, letter.drafts[1].sha256, letters.SUBMITTED, frozenset({"A.1", "C.1"}))


def deposited(letter: Letter) -> drafting.Dossier:
    deposit = letters.deposit_of(letter.drafts[0], letter.documents[0], letter.drafts[0].event_time)
    return replace(letters.dossier(letter.provider), deposit=deposit)


def test_the_same_draft_twice_is_the_same_bytes(letter: Letter) -> None:
    """Drafting is pure: a repeat after a crash stores the same evidence id and the same bytes."""
    known = letters.dossier(letter.provider)
    first, second = draft(HEAD, "A.1", known), draft(HEAD, "A.1", known)
    assert first == second
    assert first.sha256 == hashlib.sha256(first.canonical).digest()
    assert first.evidence.version == 8
    assert draft(HEAD, "A.1", known, ordinal=1).evidence != first.evidence


def test_acceptance_and_availability_are_drafted_in_one_commit(letter: Letter) -> None:
    """C.3 takes sequence n and D.1 n+1 on it, with the predecessor digest and the same time."""
    c3, d1 = letter.drafts[2], letter.drafts[3]
    content = read(d1.canonical)
    assert (c3.sequence, d1.sequence) == (3, 4)
    assert content.predecessor_sha256 == c3.sha256
    assert d1.event_time == c3.event_time


def test_every_later_evidence_repeats_the_deposit(letter: Letter) -> None:
    """Number, time and seal of the deposit stand in each later proof (CPCE R.53-2 and R.53-3)."""
    for evidence in letter.drafts[1:]:
        content = read(evidence.canonical)
        assert content.deposit is not None
        assert content.deposit.evidence == letter.drafts[0].evidence
        assert content.deposit.sha256 == letter.drafts[0].sha256
        assert content.number == "40128823401927"


def test_event_time_is_rounded_down_to_milliseconds(letter: Letter) -> None:
    """No evidence claims a time later than the clock that was read, and all times are UTC."""
    moment = datetime(2026, 3, 2, 10, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))
    made = draft(replace(HEAD, legal_time=moment), "A.1", letters.dossier(letter.provider))
    assert made.event_time == datetime(2026, 3, 2, 9, 0, 0, 123_000, tzinfo=UTC)


def test_a_birth_date_unknown_to_the_sender_stays_unknown(letter: Letter) -> None:
    """Evidences go to the sender: what only the identity provider said is bound by digest, not disclosed."""
    assert b"1980-05-17" not in letter.drafts[2].canonical
    known = deposited(letter)
    known = replace(known, recipient=replace(known.recipient, birth_date=date(1980, 5, 17)))
    made = letters.one_draft(later_head(letter), "C.3", known, letters.SUBMITTED)
    assert b"<q:BirthDate>1980-05-17</q:BirthDate>" in made.canonical


@pytest.mark.parametrize("event", ["C.3", "C.4", "D.1", "E.1"])
def test_a_recipients_act_needs_identification_and_receipt(letter: Letter, event: str) -> None:
    """No act of a recipient is drafted without the person and the bridge's receipt."""
    known, head = deposited(letter), later_head(letter)
    with pytest.raises(DraftRefused):
        draft(head, event, known)
    with pytest.raises(DraftRefused):
        draft(head, event, known, identification=letters.IDENTIFICATION)
    with pytest.raises(DraftRefused):
        draft(head, event, known, receipt=b"receipt")
    assert draft(head, event, known, identification=letters.IDENTIFICATION, receipt=b"receipt").receipt == b"receipt"


@pytest.mark.parametrize("event", ["C.2", "C.5", "E.2"])
def test_a_negative_event_says_why(letter: Letter, event: str) -> None:
    """EN 319 522-2 clause 8: evidence of a failure carries a reason."""
    with pytest.raises(DraftRefused):
        draft(later_head(letter), event, deposited(letter))


def test_what_the_rules_forbid_is_not_drafted(letter: Letter) -> None:
    """A second of the same kind, a foreign dossier, a wrong place, an unknown event or mode, a naive time."""
    known = letters.dossier(letter.provider)
    refused: list[Callable[[], object]] = [
        lambda: draft(replace(HEAD, drafted=frozenset({"A.1"})), "A.1", known),
        lambda: draft(HEAD, "A.1", replace(known, delivery=letter.drafts[0].evidence)),
        lambda: draft(HEAD, "C.1", deposited(letter)),
        lambda: draft(HEAD, "A.1", deposited(letter)),
        lambda: draft(later_head(letter), "C.1", known),
        lambda: draft(replace(HEAD, next_sequence=2), "A.1", known),
        lambda: draft(HEAD, "B.1", known),
        lambda: draft(HEAD, "A.1", replace(known, mode="other")),
        lambda: draft(replace(HEAD, legal_time=letters.SUBMITTED.replace(tzinfo=None)), "A.1", known),
        lambda: head_after(HEAD, letter.drafts[1]),
    ]
    for attempt in refused:
        with pytest.raises(DraftRefused):
            attempt()


def test_values_that_cannot_be_written_are_refused(letter: Letter) -> None:
    """Control characters, missing parts and over-long values stop the draft instead of being repaired."""
    known = letters.dossier(letter.provider)
    refused = [
        replace(known, sender=replace(known.sender, name="a\nb")),
        replace(known, client_ref="x" * 2001),
        replace(known, parts=()),
        replace(known, parts=(replace(known.parts[0], number=2),)),
        replace(known, parts=(replace(known.parts[0], sha3_256=b"short"),)),
        replace(known, number="12 34"),
    ]
    for unfit in refused:
        with pytest.raises(ValueRefused):
            draft(HEAD, "A.1", unfit)
    with pytest.raises(ValueRefused):
        draft(HEAD, "A.1", known, details=tuple((f"d{n}", "v") for n in range(31)))


def test_a_document_that_nobody_read_has_one_digest_and_no_deposit(letter: Letter) -> None:
    """An A.2 says what is known and nothing more; no other evidence is drafted about such a document."""
    known = letters.dossier(letter.provider)
    unread = replace(known, parts=tuple(replace(p, sha3_256=None) for p in known.parts))
    rejection = draft(HEAD, "A.2", unread, reason=drafting.Reason("digest_mismatch", "another digest"))
    assert read(rejection.canonical).parts == unread.parts
    with pytest.raises(ValueRefused, match="nobody has read"):
        draft(HEAD, "A.1", unread)
    with pytest.raises(ValueError, match="never read whole"):
        assert unread.parts[0].second_digest
