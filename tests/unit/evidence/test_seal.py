"""Seals and their time-stamps: what holds, and each way in which they do not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipeline.evidence.form import xades
from pipeline.evidence.form.xades import SealInvalid
from pipeline.evidence.time_stamp import TimeStampRefused, TooEarly, checked_time_stamp, proven_time
from pipeline.formats.tst import TokenInvalid
from pipeline.formats.xades import imprint_sha256, package_signed_info, signature_value_element
from tests.fakes.pki import Provider, leaf, time_stamp
from tests.unit.evidence.conftest import Letter


def signature_of(letter: Letter) -> bytes:
    return xades.take_apart(letter.documents[0]).seal.signature


def test_a_document_is_its_canonical_bytes_with_the_seal_inside(letter: Letter) -> None:
    """Assembling changes nothing that was signed, and taking apart gives back exactly the parts."""
    canonical, document = letter.drafts[0].canonical, letter.documents[0]
    seal = xades.take_apart(document).seal
    end = b"</erds:Evidence>"
    assert document.startswith(canonical[: -len(end)])
    assert xades.assemble(canonical, seal.certificate_der, seal.signature, seal.token) == document
    without = xades.assemble(canonical, seal.certificate_der, seal.signature, None)
    assert xades.take_apart(without).seal.token is None


def test_a_seal_over_other_bytes_or_by_another_key_does_not_hold(letter: Letter) -> None:
    """The stage that seals never stores a seal that a verifier would refuse."""
    canonical, der = letter.drafts[0].canonical, letter.provider.seal.der
    good = signature_of(letter)
    xades.verified_seal(canonical, der, good)
    foreign = leaf(letter.provider.root)
    attempts = [
        (letter.drafts[1].canonical, der, good),
        (canonical, foreign.der, good),
        (canonical, foreign.der, foreign.sign_raw(xades.signed_parts(canonical, foreign.der).info)),
        (canonical, der, bytes(64)),
        (canonical, der, b"\xff" * 64),
        (canonical, der, good[:-1]),
        (canonical, b"no certificate", good),
        (b"<a></a>", der, good),
    ]
    for attempt in attempts:
        with pytest.raises(SealInvalid):
            xades.verified_seal(*attempt)


def test_a_fresh_seal_holds_for_its_own_evidence_only(letter: Letter) -> None:
    """Identifier, time, bytes and certificate are all under the signature."""
    draft, der = letter.drafts[0], letter.provider.seal.der
    good = signature_of(letter)
    xades.check_fresh_seal(draft.evidence, draft.event_time, draft.canonical, der, good)
    other = letter.drafts[1]
    attempts = [
        (other.evidence, draft.event_time, draft.canonical, der, good),
        (draft.evidence, draft.event_time + timedelta(seconds=1), draft.canonical, der, good),
        (draft.evidence, draft.event_time, other.canonical, der, good),
        (draft.evidence, draft.event_time, draft.canonical, leaf(letter.provider.root).der, good),
        (draft.evidence, draft.event_time, draft.canonical, der, bytes(64)),
        (draft.evidence, draft.event_time, draft.canonical, b"no certificate", good),
    ]
    for attempt in attempts:
        with pytest.raises(SealInvalid):
            xades.check_fresh_seal(*attempt)


def test_a_time_stamp_covers_its_own_seal_and_no_other(letter: Letter) -> None:
    """A token moved from one evidence to another proves nothing."""
    unit, at = letter.provider.unit, letter.drafts[0].event_time
    signature = signature_of(letter)
    token = time_stamp(unit, imprint_sha256(signature), at + timedelta(seconds=2))
    assert checked_time_stamp(token, signature, at).gen_time == at + timedelta(seconds=2)
    with pytest.raises(TokenInvalid):
        checked_time_stamp(token, bytes(64), at)
    with pytest.raises(TokenInvalid):
        checked_time_stamp(time_stamp(letter.provider.seal, imprint_sha256(signature), at), signature, at)
    with pytest.raises(TokenInvalid):
        checked_time_stamp(b"no token", signature, at)


@pytest.mark.parametrize(
    ("accuracy_seconds", "late_ms", "holds"),
    [
        (1, 0, True),
        (1, -1, False),
        (1, -999, False),
        (1, -1000, False),
        (1, -5000, False),
        (0, 0, True),
        (0, -1, False),
    ],
)
def test_a_token_is_not_older_than_its_event(letter: Letter, accuracy_seconds: int, late_ms: int, holds: bool) -> None:
    """gen_time with its resolution must lie after EventTime, or the token proves another time; whatever accuracy it
    claims: what may be written and what verifies are one rule, and a later token can be had."""
    signature, at = signature_of(letter), letter.drafts[0].event_time
    gen_time = at + timedelta(milliseconds=late_ms)
    token = time_stamp(letter.provider.unit, imprint_sha256(signature), gen_time, accuracy_seconds=accuracy_seconds)
    if holds:
        checked_time_stamp(token, signature, at)
        return
    with pytest.raises(TooEarly):
        checked_time_stamp(token, signature, at)
    with pytest.raises(TooEarly):
        proven_time(token, signature, at, [letter.provider.root.der])


def test_a_vague_token_proves_no_time(letter: Letter) -> None:
    """However late it is."""
    signature, at = signature_of(letter), letter.drafts[0].event_time
    for accuracy_seconds, late_ms in ((2, 0), (86_400, 5000)):
        gen_time = at + timedelta(milliseconds=late_ms)
        token = time_stamp(letter.provider.unit, imprint_sha256(signature), gen_time, accuracy_seconds=accuracy_seconds)
        with pytest.raises(TokenInvalid, match="accuracy"):
            checked_time_stamp(token, signature, at)


def test_a_time_is_proven_by_a_unit_that_the_anchor_issued(letter: Letter) -> None:
    """One answer for one question: another provider's token, an empty list of anchors and no token prove nothing."""
    signature, at = signature_of(letter), letter.drafts[0].event_time
    token, anchor = time_stamp(letter.provider.unit, imprint_sha256(signature), at), letter.provider.root.der
    assert proven_time(token, signature, at, [anchor]) == proven_time(token, signature, at, None) == at
    for refused, anchors in ((token, [Provider.new().root.der]), (token, []), (b"no token", None)):
        with pytest.raises(TimeStampRefused):
            proven_time(refused, signature, at, anchors)


def test_inputs_of_the_templates_are_checked() -> None:
    """A wrong length, a name that would need escaping, or an empty package never reaches a signature."""
    digest, properties = bytes(32), b"<p></p>"
    for entries in ([], [("a b.xml", digest)], [("../a", digest)], [("a//b", digest)], [("a", b"short")]):
        with pytest.raises(ValueError):
            package_signed_info(entries, properties)
    with pytest.raises(ValueError):
        signature_value_element(bytes(63))
