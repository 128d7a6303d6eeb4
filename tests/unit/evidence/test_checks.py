"""The table of checks: every row is complete, can fail, and is told in the documents."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from string import Formatter

import pytest

from pipeline.evidence import draft as drafting
from pipeline.evidence.form import xades
from pipeline.evidence.languages import LANGUAGES
from pipeline.evidence.verification import CheckOutcome, Report, Verdict, content_digests, verify
from pipeline.evidence.verification.table import CHECKS, ORDERS
from tests.fakes import letters
from tests.fakes.pki import TIME_STAMPING, authority, leaf
from tests.unit.evidence.conftest import Letter

ROOT = Path(__file__).parents[3]
BATCH = (ROOT / "tests" / "vectors" / "evidence" / "batch.asice").read_bytes()
NEVER_FAILS = {"batch_content"}  # it says only that a batch's proof names no documents
ROW = re.compile(r"\| (\d+) \| `(\w+)` \| (\d*) ?\| (\d*) ?\| (\d*) ?\| (.+?) \| .+ \|")


def sealed_for_time(letter: Letter) -> Report:
    """A package sealed by a certificate for time-stamps."""
    other = replace(letter.provider, seal=leaf(letter.provider.root, purposes=TIME_STAMPING))
    return verify(other.packed(letters.snapshot(other, letter.documents), letters.PACKED_AT), letter.anchors)


def framed_anew(letter: Letter) -> Report:
    """An evidence with the certificate of another beside its seal."""
    seal, other = xades.take_apart(letter.documents[0]).seal, leaf(letter.provider.root)
    return verify(xades.assemble(letter.drafts[0].canonical, other.der, seal.signature, seal.token), letter.anchors)


def without_token(letter: Letter) -> Report:
    """An evidence whose seal nobody stamped."""
    seal = xades.take_apart(letter.documents[0]).seal
    bare = xades.assemble(letter.drafts[0].canonical, seal.certificate_der, seal.signature, None)
    return verify(bare, letter.anchors)


def packed(letter: Letter, documents: list[bytes], number: str = "40128823401927") -> Report:
    """What the provider itself would seal, if it erred."""
    snapshot = replace(letters.snapshot(letter.provider, documents), number=number)
    return verify(letter.provider.packed(snapshot, letters.PACKED_AT), letter.anchors)


def accepted_unannounced(letter: Letter) -> Report:
    """A C.3 upon an A.1."""
    first = letter.drafts[0]
    deposit = letters.deposit_of(first, letter.documents[0], first.event_time)
    known = replace(letters.dossier(letter.provider), deposit=deposit)
    head = drafting.head_after(drafting.Head(letters.DELIVERY, "", 1, None, letters.SUBMITTED, frozenset()), first)
    made = letters.one_draft(head, "C.3", known, first.event_time)
    return packed(letter, [letter.documents[0], letter.provider.sealed(made)])


PLANTED: dict[str, Callable[[Letter], Report]] = {
    "container": lambda it: verify(it.package + b"\n", it.anchors),
    "package_seal": sealed_for_time,
    "package_time": lambda it: verify(it.package, it.anchors, at=letters.SUBMITTED),
    "form": lambda it: verify(it.documents[0].replace(b"</ds:Signature>", b"</ds:Signature> "), it.anchors),
    "seals": framed_anew,
    "times": without_token,
    "sequence": lambda it: packed(it, [it.documents[0], *it.documents[2:]]),
    "story": accepted_unannounced,
    "one_delivery": lambda it: packed(it, it.documents, number="11111111111111"),
    "content": lambda it: verify(it.package, it.anchors, [content_digests("other", b"another letter")]),
    "trust": lambda it: verify(it.package, (authority("Other").der,)),
    "revocation": lambda it: verify(it.package, it.anchors, revocation_lists=[b"no list"]),
    "batch_form": lambda it: verify(BATCH + b"\n", it.anchors),
}


def test_a_row_has_all_that_a_check_needs() -> None:
    """Numbers without a hole, a source, sentences in every language that fill the same values, a title of its own."""
    assert [check.number for check in CHECKS.values()] == list(range(1, len(CHECKS) + 1))
    assert len({check.title for check in CHECKS.values()}) == len(CHECKS)
    for check in CHECKS.values():
        assert (check.passed is None) == (check.failed is None) == (check.name in NEVER_FAILS), check.name
        texts = [check.title, *(words for words in (check.passed, check.failed, check.not_checked) if words)]
        for words in texts:
            values = [{name for _, name, _, _ in Formatter().parse(words.said(lang)) if name} for lang in LANGUAGES]
            assert all(words.said(language) for language in LANGUAGES)
            assert all(found == values[0] for found in values), check.name


def test_a_check_says_at_its_function_which_it_is() -> None:
    """Who reads the function sees number and source, the same as in the table."""
    for check in CHECKS.values():
        said = (check.run.__doc__ or "").split(":")[0]
        assert said == f"Check {check.number} ({check.source})", check.name
        assert check.run.__name__ == check.name


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in NEVER_FAILS])
def test_every_check_can_fail(letter: Letter, name: str) -> None:
    """A fault planted for it is found by it: no check passes whatever it is given, and none hides another."""
    report = PLANTED[name](letter)
    assert (report.verdict, report.failed_check, report.facts) == (Verdict.INVALID, name, None)
    assert report.steps[-1].check == name


def test_a_file_is_put_to_the_checks_of_its_kind_in_their_order(letter: Letter) -> None:
    """Steps are numbered by their place; a batch's proof says which check cannot be done; no check is in no order."""
    document = content_digests("letter", letters.CONTENT)
    for kind, data in (("package", letter.package), ("evidence", letter.documents[0]), ("batch", BATCH)):
        steps = verify(data, contents=[document]).steps
        assert [step.check for step in steps] == [check.name for check in ORDERS[kind]]
        assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert set().union(*ORDERS.values()) == set(CHECKS.values())
    assert verify(BATCH).steps[3].outcome is CheckOutcome.NOT_CHECKED


def test_the_documents_list_exactly_these_checks() -> None:
    """docs/verify.md: number, name, place in each kind of file and source, row for row."""
    told = [row.groups() for row in ROW.finditer((ROOT / "docs" / "verify.md").read_text(encoding="utf-8"))]
    places = {
        kind: {check.name: str(place) for place, check in enumerate(order, start=1)} for kind, order in ORDERS.items()
    }
    kinds = ("package", "evidence", "batch")
    assert told == [
        (str(check.number), check.name, *(places[kind].get(check.name, "") for kind in kinds), check.source)
        for check in CHECKS.values()
    ]
