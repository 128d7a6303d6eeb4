"""A row and its bytes: each field that is written twice is compared."""

import hashlib
from dataclasses import fields, replace
from datetime import timedelta
from uuid import UUID

import pytest

from pipeline.evidence.binding import EvidenceRow, RowDiffers, check_row
from pipeline.evidence.facts import EvidenceDraft
from pipeline.evidence.form.xml import (
    certificate_element,
    delivery_element,
    event_element,
    event_time_element,
    predecessor_element,
    sequence_element,
)
from pipeline.formats.evidence_head import parse_evidence_head
from tests.unit.evidence.conftest import Letter


def row_of(letter: Letter, evidence: EvidenceDraft, predecessor: bytes | None) -> EvidenceRow:
    """The row as the database has it after an honest draft."""
    return EvidenceRow(
        evidence.evidence,
        evidence.delivery,
        evidence.event,
        evidence.sequence,
        evidence.event_time,
        predecessor,
        letter.provider.seal.der,
        evidence.canonical,
    )


def rows_of(letter: Letter) -> list[EvidenceRow]:
    before = [None, *(draft.sha256 for draft in letter.drafts)]
    return [row_of(letter, draft, digest) for draft, digest in zip(letter.drafts, before, strict=False)]


def test_an_honest_row_says_what_its_bytes_say(letter: Letter) -> None:
    """Every evidence of a whole life."""
    for row in rows_of(letter):
        check_row(row)


BENT = {
    "evidence": lambda row: replace(row, evidence=UUID(int=row.evidence.int ^ 1)),
    "delivery": lambda row: replace(row, delivery=UUID(int=7)),
    "event": lambda row: replace(row, event="C.4" if row.event != "C.4" else "C.3"),
    "sequence": lambda row: replace(row, sequence=row.sequence + 1),
    "event_time": lambda row: replace(row, event_time=row.event_time + timedelta(milliseconds=1)),
    "predecessor_sha256": lambda row: replace(row, predecessor_sha256=bytes(32)),
    "certificate": lambda row: replace(row, certificate=row.certificate[::-1]),
}


@pytest.mark.parametrize("name", BENT)
def test_a_field_that_differs_is_named(letter: Letter, name: str) -> None:
    """Whichever it is, in whichever evidence; its value is not told, since it may be anything."""
    for row in rows_of(letter):
        with pytest.raises(RowDiffers, match=f"row and bytes differ in {name}$"):
            check_row(BENT[name](row))


def test_no_field_is_forgotten() -> None:
    """One that is added to the row is bent above too."""
    assert {field.name for field in fields(EvidenceRow)} - {"canonical"} == set(BENT)


def test_bytes_of_another_evidence_are_found_in_every_place(letter: Letter) -> None:
    """Whole bytes that are honest elsewhere: another event of this letter."""
    rows = rows_of(letter)
    for row in rows:
        for other in rows:
            if other is not row:
                with pytest.raises(RowDiffers, match=r"evidence, event.*, sequence"):
                    check_row(replace(row, canonical=other.canonical))


@pytest.mark.parametrize("data", [b"", b"<x/>", b"\xff" * 100, b"<" * 10_000])
def test_bytes_that_are_no_evidence_are_refused(letter: Letter, data: bytes) -> None:
    """They say nothing of what the row says."""
    with pytest.raises(RowDiffers, match="differ in evidence, event, event_time"):
        check_row(replace(rows_of(letter)[0], canonical=data))


def decoy(row: EvidenceRow, *names: str) -> bytes:
    """An extension that the strict reading lets pass, and that says what this row says."""
    elements = {
        "evidence": f"<erds:EvidenceIdentifier>urn:uuid:{row.evidence}</erds:EvidenceIdentifier>",
        "event": event_element(row.event),
        "event_time": event_time_element(row.event_time),
        "certificate": certificate_element(hashlib.sha256(row.certificate).digest()),
        "delivery": delivery_element(row.delivery),
        "sequence": sequence_element(row.sequence),
        "predecessor_sha256": predecessor_element(row.predecessor_sha256),
    }
    inside = "".join(elements[name] for name in names)
    return f"<erds:Extension><x>{inside}</x></erds:Extension></erds:Extensions>".encode()


@pytest.mark.parametrize("name", BENT)
def test_what_is_said_elsewhere_in_the_bytes_does_not_count(letter: Letter, name: str) -> None:
    """Bytes that are an evidence by the strict reading, and hold a decoy: only what stands at its place was drafted."""
    for row in rows_of(letter):
        bent = BENT[name](row)
        canonical = row.canonical.replace(b"</erds:Extensions>", decoy(bent, name))
        head = parse_evidence_head(canonical)
        assert (head.evidence_id, head.delivery, head.sequence) == (row.evidence, row.delivery, row.sequence)
        with pytest.raises(RowDiffers, match=name):
            check_row(replace(bent, canonical=canonical))


def test_an_evidence_that_says_a_thing_twice_is_refused(letter: Letter) -> None:
    """Even where both agree: no reader has to choose."""
    for row in rows_of(letter):
        for name in ("event_time", "certificate", "delivery", "sequence"):
            with pytest.raises(RowDiffers, match=name):
                check_row(replace(row, canonical=row.canonical.replace(b"</erds:Extensions>", decoy(row, name))))
