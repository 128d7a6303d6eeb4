"""What evidence states is compared with rows, all of it, or stands in a list with who sees to it instead."""

from dataclasses import fields

from pipeline.evidence.content import EvidenceContent
from pipeline.evidence.dossier import Part, RecipientParty, SenderParty
from pipeline.operate.ledger_statements import NOT_IN_ROWS, STATEMENTS

INSIDE = {"sender": SenderParty, "recipient": RecipientParty, "parts": Part}


def test_every_field_of_an_evidence_is_compared_or_has_its_reason() -> None:
    """A field that evidence says anew is in one of both lists, and none of them names a field that is gone."""
    said = {f.name for f in fields(EvidenceContent)} - set(INSIDE)
    said |= {f"{party}.{f.name}" for party, type_ in INSIDE.items() for f in fields(type_)}
    compared = {s.name for s in STATEMENTS if not s.name.startswith("details.")}
    assert compared | set(NOT_IN_ROWS) == said


def test_no_statement_is_made_twice() -> None:
    """A violation names the field."""
    assert len({s.name for s in STATEMENTS}) == len(STATEMENTS)
