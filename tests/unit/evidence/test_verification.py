"""The verifier: every good proof is valid, every forged one is refused by the check that is meant for it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evidence import draft as drafting
from pipeline.evidence.form import xades
from pipeline.evidence.form.reading import read
from pipeline.evidence.form.xml import render
from pipeline.evidence.package.container import pack, unpack
from pipeline.evidence.package.snapshot import SIGNATURES, finish, package_signed_info, package_to_sign
from pipeline.evidence.verification import Verdict, content_digests, verify
from pipeline.evidence.verification.rendering import as_dict, as_html
from pipeline.evidence.verification.rendering import text as lines_of
from pipeline.evidence.verification.report import LetterFacts
from pipeline.formats.instants import time_text
from pipeline.formats.xades import imprint_sha256
from tests.fakes import letters
from tests.fakes.pki import FROM, TIME_STAMPING, Provider, Signer, authority, leaf, revocation_list, time_stamp
from tests.unit.evidence.conftest import Letter

SECOND = timedelta(seconds=1)


def packed(letter: Letter, documents: list[bytes], **changes: object) -> bytes:
    """A package that the provider itself sealed: forgeries that only the checks between evidences can see."""
    snapshot = letters.snapshot(letter.provider, documents, revocation_list(letter.provider.root, []))
    return letter.provider.packed(replace(snapshot, **changes), letters.PACKED_AT)  # type: ignore[arg-type]


@pytest.mark.parametrize("plan", sorted(letters.PLANS))
def test_every_life_of_a_letter_verifies(letter: Letter, plan: str) -> None:
    """Each way a delivery can end gives a valid package, at every length of its stamped prefix."""
    _, documents = letters.life(letter.provider, plan)
    for through in range(1, len(documents) + 1):
        report = verify(packed(letter, documents[:through]), letter.anchors)
        assert (report.verdict, report.failed_check) == (Verdict.VALID, None)
        assert isinstance(report.facts, LetterFacts)
        assert len(report.facts.events) == through
    for document in documents:
        assert verify(document, letter.anchors).verdict is Verdict.VALID


def told_of_another(letter: Letter, **changes: object) -> bytes:
    """A package whose C.1, sealed by the provider itself, says something else of the letter than its A.1."""
    first = letter.drafts[0]
    deposit = letters.deposit_of(first, letter.documents[0], first.event_time)
    known = replace(letters.dossier(letter.provider), deposit=deposit, **changes)  # type: ignore[arg-type]
    head = drafting.head_after(drafting.Head(letters.DELIVERY, "", 1, None, letters.SUBMITTED, frozenset()), first)
    made = letters.one_draft(head, "C.1", known, first.event_time + SECOND)
    return packed(letter, [letter.documents[0], letter.provider.sealed(made)])


PARTIES = ("sender", "issuer", "recipient")
RENEWED = {"policy_oid", "seal_key_id", "seal_certificate_sha256"}  # of an issuer: may change while a letter lives


@pytest.mark.parametrize("party", PARTIES)
def test_evidences_of_one_letter_name_the_same_parties(letter: Letter, party: str) -> None:
    """Whichever field of sender, issuer or addressee a later evidence says differently; what may be renewed, may."""
    stands = getattr(letters.dossier(letter.provider), party)
    assert verify(told_of_another(letter), letter.anchors).verdict is Verdict.VALID
    for field in fields(stands):
        if field.name == "seal_certificate_sha256":
            continue  # the seal would be another's
        report = verify(
            told_of_another(letter, **{party: replace(stands, **{field.name: another(stands, field.name)})}),
            letter.anchors,
        )
        if party == "issuer" and field.name in RENEWED:
            assert report.verdict is Verdict.VALID, field.name
        else:
            assert (report.verdict, report.failed_check) == (Verdict.INVALID, "one_delivery"), field.name


def another(stands: object, name: str) -> object:
    """Another value of a field, as good as the one that it has."""
    value = getattr(stands, name)
    if isinstance(value, datetime):
        return value + SECOND
    return date(1980, 5, 17) if name == "birth_date" else {"country": "BE"}.get(name, f"{value or ''}7")


def test_without_an_anchor_the_verifier_cannot_tell(letter: Letter) -> None:
    """Intact but vouched for by nobody the caller named is not valid: anybody could have made it."""
    assert verify(letter.package).verdict is Verdict.INDETERMINATE
    assert verify(letter.documents[0]).verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 a word processor's file", b"<html></html>", bytes(999)])
def test_what_is_no_proof_is_called_so(data: bytes) -> None:
    """A file that never was a proof is not reported as a forged one."""
    assert verify(data, ()).verdict is Verdict.NOT_A_PROOF


def test_only_given_anchors_are_trusted(letter: Letter) -> None:
    """A perfect package of another provider, with its own authority inside, is refused under our anchor."""
    other = Provider.new()
    _, documents = letters.life(other)
    forged = other.packed(letters.snapshot(other, documents, revocation_list(other.root, [])), letters.PACKED_AT)
    assert verify(forged, (other.root.der,)).verdict is Verdict.VALID
    report = verify(forged, letter.anchors)
    assert (report.verdict, report.failed_check) == (Verdict.INVALID, "trust")
    assert report.facts is None
    assert verify(letter.package, (letter.provider.seal.der,)).failed_check == "trust"
    pretender = authority("Test Authority")  # the same name, another key
    assert verify(letter.package, (pretender.der,)).failed_check == "trust"
    assert verify(letter.package, (pretender.der, *letter.anchors)).verdict is Verdict.VALID


def test_content_is_compared_by_both_digests(letter: Letter) -> None:
    """The letter's document is recognised; another, or one that matches in one digest only, is not."""
    good = content_digests("letter", letters.CONTENT)
    assert verify(letter.package, letter.anchors, [good]).verdict is Verdict.VALID
    assert verify(letter.documents[0], letter.anchors, [good]).verdict is Verdict.VALID
    assert verify(letter.package, letter.anchors, [replace(good, sha3_256=None)]).verdict is Verdict.VALID
    for wrong in (
        content_digests("other", b"another letter"),
        replace(good, sha256=bytes(32)),
        replace(good, sha3_256=bytes(32)),
    ):
        assert verify(letter.package, letter.anchors, [good, wrong]).failed_check == "content"


def test_nothing_made_after_the_given_time_counts(letter: Letter) -> None:
    """With --at, a token from later than that is refused."""
    assert verify(letter.package, letter.anchors, at=letters.PACKED_AT + 2 * SECOND).verdict is Verdict.VALID
    assert verify(letter.package, letter.anchors, at=letters.SUBMITTED).failed_check == "package_time"
    assert verify(letter.documents[1], letter.anchors, at=letters.SUBMITTED).failed_check == "times"


@pytest.mark.parametrize(
    ("mutate", "check"),
    [
        (lambda d: d[1:], "sequence"),
        (lambda d: [d[0], d[2], d[3], d[4]], "sequence"),
        (lambda d: [d[0], d[1], d[3], d[4]], "sequence"),
        (lambda d: [d[1], d[0], *d[2:]], "sequence"),
        (lambda d: [*d[:2], d[3], d[2], d[4]], "sequence"),
        (lambda d: [d[0], *d], "sequence"),
        (lambda d: [*d, d[4]], "sequence"),
    ],
)
def test_a_missing_moved_or_doubled_evidence_is_noticed(
    letter: Letter, mutate: Callable[[list[bytes]], list[bytes]], check: str
) -> None:
    """Even where the package itself is perfectly sealed, the chain shows what happened to its evidences."""
    report = verify(packed(letter, mutate(letter.documents)), letter.anchors)
    assert (report.verdict, report.failed_check) == (Verdict.INVALID, check)


def test_an_evidence_from_another_history_is_noticed(letter: Letter) -> None:
    """An evidence of the same delivery and number in the row, but drafted on another predecessor, is refused."""
    _, others = letters.life(letter.provider, "accepted", b"another content")
    mixed = [*letter.documents[:2], *others[2:]]
    assert verify(packed(letter, mixed), letter.anchors).failed_check == "sequence"


@pytest.mark.parametrize("number", [2, 4, 9])
def test_a_number_is_the_place(letter: Letter, number: int) -> None:
    """An evidence that names the one before it, under another number than its place: one is missing, or doubled."""
    deposit = letters.deposit_of(letter.drafts[0], letter.documents[0], letter.drafts[0].event_time)
    known = replace(letters.dossier(letter.provider), deposit=deposit)
    head = drafting.Head(letters.DELIVERY, "", number, letter.drafts[1].sha256, letters.SUBMITTED, frozenset())
    made = letters.one_draft(head, "C.4", known, letter.drafts[1].event_time + SECOND)
    report = verify(packed(letter, [*letter.documents[:2], letter.provider.sealed(made)]), letter.anchors)
    assert (report.verdict, report.failed_check) == (Verdict.INVALID, "sequence")


def test_a_package_seal_says_in_its_file_what_it_seals(letter: Letter) -> None:
    """Whoever reads the file with another program reads the digests that were sealed: not one may stand there that the
    signature does not cover, though our own check composes them anew."""
    entries = dict(unpack(letter.package))
    seal, digest = entries[SIGNATURES], re.compile(rb"(?<=<ds:DigestValue>)[^<]+")
    places = list(digest.finditer(seal))
    assert len(places) > len(entries) - 2  # of each entry, and of the properties
    for place in places:
        altered = seal[: place.start()] + base64.b64encode(bytes(32)) + seal[place.end() :]
        report = verify(pack([*(entries | {SIGNATURES: altered}).items()]), letter.anchors)
        assert (report.verdict, report.failed_check) == (Verdict.INVALID, "container")


@pytest.mark.parametrize("place", [2, 3, 4])
def test_an_act_of_the_recipient_is_somebodys(letter: Letter, place: int) -> None:
    """C.3, D.1 or E.1 that the provider itself sealed and that names no identified person proves nobody's act."""
    made = letter.drafts[place]
    content = read(made.canonical)
    assert content.identification is not None
    by_nobody = letter.provider.sealed_bytes(render(replace(content, identification=None)), made.event_time + SECOND)
    for data in (by_nobody, packed(letter, [*letter.documents[:place], by_nobody])):
        report = verify(data, letter.anchors)
        assert (report.verdict, report.failed_check) == (Verdict.INVALID, "form")


def redraft(letter: Letter, upto: int, event: str, hours: float, **changes: object) -> list[bytes]:
    """The first `upto` documents and one more, drafted as the rules would not."""
    drafts = letter.drafts[:upto]
    deposit = letters.deposit_of(drafts[0], letter.documents[0], drafts[0].event_time)
    known = replace(letters.dossier(letter.provider), deposit=deposit)
    known = replace(known, **changes)  # type: ignore[arg-type]
    head = drafting.Head(letters.DELIVERY, "", upto + 1, drafts[-1].sha256, letters.SUBMITTED, frozenset())
    at = letters.SUBMITTED + timedelta(hours=hours, milliseconds=333)
    made = letters.one_draft(head, event, known, at)
    return [*letter.documents[:upto], letter.provider.sealed(made)]


@pytest.mark.parametrize(
    ("upto", "event", "hours"),
    [
        (1, "C.3", 5),  # accepted without a notice
        (2, "D.1", 5),  # made available without acceptance
        (2, "E.1", 5),  # handed over without acceptance
        (3, "E.1", 26),  # handed over before it was made available
        (3, "D.1", 27),  # made available at another time than accepted
        (3, "C.4", 27),  # accepted and refused
        (2, "C.3", 0.5),  # accepted before the notice
        (2, "C.5", 24 * 15),  # expired while the period ran
        (5, "E.2", 24 * 400),  # not collected, after it was handed over
    ],
)
def test_a_story_that_cannot_happen_is_refused(letter: Letter, upto: int, event: str, hours: float) -> None:
    """Perfect seals do not help events in an order, or at times, that the service's rules exclude."""
    report = verify(packed(letter, redraft(letter, upto, event, hours)), letter.anchors)
    assert (report.verdict, report.failed_check) == (Verdict.INVALID, "story")


@pytest.mark.parametrize("lag_seconds", [0.0, 1.0, 3600.0, 3601.0, 20 * 86_400.0])
def test_both_times_are_told_and_what_was_proved_late_is_said_to_be(letter: Letter, lag_seconds: float) -> None:
    """An outage takes no evidence away, so it stays valid; but for so long it was the service's word alone."""
    documents = [letter.provider.sealed(d, lag=timedelta(seconds=lag_seconds)) for d in letter.drafts[:1]]
    for proof in (packed(letter, documents), documents[0]):
        for bound in (3600, 60):
            report = verify(proof, letter.anchors, lag_seconds_max=bound)
            assert (report.verdict, isinstance(report.facts, LetterFacts)) == (Verdict.VALID, True)
            assert isinstance(report.facts, LetterFacts)
            [event] = report.facts.events
            happened, proved = (time_text(t) for t in (event.event_time, event.stamped_at) if t is not None)
            assert f"by the service's word, at {happened}; proved since {proved}" in lines_of(report, "x", "en")
            is_late = lag_seconds > bound
            [told] = as_dict(report)["facts"]["events"]  # type: ignore[index]
            assert (told["lag_seconds"], told["is_late"]) == (lag_seconds, is_late)
            sentence = f"Proved more than {bound} s after it happened by the service's word: A.1"
            for shown in (lines_of(report, "x", "en", quiet=True), as_html([("x", report)], "en")):
                assert (sentence in shown.replace("&#x27;", "'")) is is_late
            assert ("prouvé tardivement" in lines_of(report, "x", "fr")) is is_late


@pytest.mark.parametrize(("held_days", "failed"), [(0, None), (1, "story"), (14, "story")])
def test_a_period_counts_from_the_notice_that_is_proved(letter: Letter, held_days: int, failed: str | None) -> None:
    """Held back and dated long ago, a notice ends nobody's time: C.5 comes sixteen days after its proof."""
    drafts, documents = letters.life(letter.provider, "unclaimed")
    late = letter.provider.sealed(drafts[1], lag=timedelta(days=held_days + 1))
    report = verify(packed(letter, [documents[0], late, documents[2]]), letter.anchors)
    assert report.failed_check == failed
    assert report.verdict is (Verdict.INVALID if failed else Verdict.VALID)


@pytest.mark.parametrize("early", [timedelta(milliseconds=334), timedelta(hours=1), timedelta(days=30)])
def test_nothing_happens_before_the_submission(letter: Letter, early: timedelta) -> None:
    """A deposit, or any event, that is dated before the letter was handed over proves a story that cannot be."""
    known = letters.dossier(letter.provider)
    head = drafting.Head(letters.DELIVERY, "", 1, None, letters.SUBMITTED, frozenset())
    at = letters.SUBMITTED + timedelta(milliseconds=333)
    documents = [letter.provider.sealed(letters.one_draft(head, e, known, at - early)) for e in ("A.1", "A.2")]
    for document in documents:
        for proof in (document, packed(letter, [document])):
            report = verify(proof, letter.anchors)
            assert (report.verdict, report.failed_check) == (Verdict.INVALID, "times")


def test_all_evidences_speak_of_one_letter(letter: Letter) -> None:
    """Another number, recipient, document or deposit in a later evidence is refused."""
    known = letters.dossier(letter.provider)
    deposit = letters.deposit_of(letter.drafts[0], letter.documents[0], letter.drafts[0].event_time)
    changes: list[dict[str, object]] = [
        {"number": "11111111111111"},
        {"recipient": replace(known.recipient, email="other@example.net")},
        {"parts": (letters.part(b"other"),)},
        {"deposit": replace(deposit, sha256=bytes(32))},
        {"deposit": replace(deposit, seal_signature_sha256=bytes(32))},
        {"deposit": replace(deposit, deposited_at=deposit.deposited_at - SECOND)},
    ]
    for change in changes:
        documents = redraft(letter, 1, "C.1", 1, **change)
        assert verify(packed(letter, documents), letter.anchors).failed_check == "one_delivery"
    assert verify(packed(letter, letter.documents, number="11111111111111"), letter.anchors).failed_check


def test_the_recipients_acts_are_all_by_one_person(letter: Letter) -> None:
    """Acceptance by one person and handover to another is refused."""
    drafts = letter.drafts[:4]
    deposit = letters.deposit_of(drafts[0], letter.documents[0], drafts[0].event_time)
    known = replace(letters.dossier(letter.provider), deposit=deposit)
    head = drafting.Head(letters.DELIVERY, "", 5, drafts[-1].sha256, letters.SUBMITTED, frozenset())
    made = drafting.draft(
        head,
        "E.1",
        known,
        identification=replace(letters.IDENTIFICATION, person_sha256=bytes(32)),
        receipt=b"receipt",
        event_time=letters.SUBMITTED + timedelta(hours=30),
    )
    documents = [*letter.documents[:4], letter.provider.sealed(made)]
    assert verify(packed(letter, documents), letter.anchors).failed_check == "one_delivery"


def resealed(letter: Letter, seal: Signer, unit: Signer) -> bytes:
    """The first evidence drafted for, and sealed by, other keys."""
    known = letters.dossier(replace(letter.provider, seal=seal))
    head = drafting.Head(letters.DELIVERY, "submitted", 1, None, letters.SUBMITTED, frozenset())
    return replace(letter.provider, seal=seal, unit=unit).sealed(
        letters.one_draft(head, "A.1", known, letters.SUBMITTED)
    )


def test_certificates_must_be_made_for_their_use_and_valid_then(letter: Letter) -> None:
    """A seal by a time-stamping or expired certificate, or one from before its validity, is refused."""
    root, seal, unit = letter.provider.root, letter.provider.seal, letter.provider.unit
    early, late = letters.SUBMITTED - timedelta(days=1), letters.SUBMITTED + timedelta(days=1)
    assert verify(resealed(letter, seal, unit), letter.anchors).verdict is Verdict.VALID
    for_time = leaf(root, purposes=TIME_STAMPING)
    assert verify(resealed(letter, for_time, unit), letter.anchors).failed_check == "seals"
    assert verify(resealed(letter, root, unit), letter.anchors).failed_check == "seals"
    assert verify(resealed(letter, leaf(root, not_after=early), unit), letter.anchors).failed_check == "trust"
    assert verify(resealed(letter, leaf(root, not_before=late), unit), letter.anchors).failed_check == "trust"
    expired = leaf(root, purposes=TIME_STAMPING, not_after=early)
    assert verify(resealed(letter, seal, expired), letter.anchors).failed_check == "times"
    foreign = leaf(authority("Other"), purposes=TIME_STAMPING)
    assert verify(resealed(letter, seal, foreign), letter.anchors).failed_check == "trust"
    assert verify(resealed(letter, seal, seal), letter.anchors).failed_check == "times"
    no_authority = authority("No Authority", is_authority=False)
    sealed = resealed(letter, leaf(no_authority), unit)
    assert verify(sealed, (*letter.anchors, no_authority.der)).failed_check == "trust"


def test_revocation_counts_from_its_time(letter: Letter) -> None:
    """Revoked before the time-stamp refuses; after it, only a compromised time-stamping unit does."""
    root, seal, unit = letter.provider.root, letter.provider.seal, letter.provider.unit
    document = letter.documents[0]
    compromised, replaced = x509.ReasonFlags.key_compromise, x509.ReasonFlags.superseded
    later, earlier = FROM + timedelta(days=200), FROM + timedelta(days=1)
    cases = [
        (seal, earlier, compromised, "revocation"),
        (seal, later, compromised, None),
        (unit, earlier, replaced, "revocation"),
        (unit, later, replaced, None),
        (unit, later, compromised, "revocation"),
    ]
    for signer, since, reason, failed in cases:
        crl = revocation_list(root, [(signer, since, reason)])
        assert verify(document, letter.anchors, revocation_lists=[crl]).failed_check == failed
    foreign = revocation_list(authority("Test Authority"), [(seal, earlier, compromised)])
    report = verify(document, letter.anchors, revocation_lists=[foreign])
    assert (report.verdict, report.steps[-1].outcome.value) == (Verdict.VALID, "not_checked")
    assert verify(document, letter.anchors, revocation_lists=[b"no list"]).failed_check == "revocation"
    inside = packed(letter, letter.documents, revocation_lists=(revocation_list(root, [(seal, earlier, replaced)]),))
    assert verify(inside, letter.anchors).failed_check == "revocation"


def test_swapped_tokens_and_certificates_are_refused(letter: Letter) -> None:
    """The token of another evidence, no token, or another certificate in KeyInfo does not pass."""
    canonical = letter.drafts[0].canonical
    seal = xades.take_apart(letter.documents[0]).seal
    other = xades.take_apart(letter.documents[1]).seal
    swapped = xades.assemble(canonical, seal.certificate_der, seal.signature, other.token)
    assert verify(swapped, letter.anchors).failed_check == "times"
    bare = xades.assemble(canonical, seal.certificate_der, seal.signature, None)
    assert verify(bare, letter.anchors).failed_check == "times"
    foreign = leaf(letter.provider.root)
    reframed = xades.assemble(canonical, foreign.der, seal.signature, seal.token)
    assert verify(reframed, letter.anchors).failed_check == "seals"
    resealed_by = foreign.sign_raw(xades.signed_parts(canonical, foreign.der).info)
    token = time_stamp(letter.provider.unit, imprint_sha256(resealed_by), letters.SUBMITTED + SECOND)
    taken_over = xades.assemble(canonical, foreign.der, resealed_by, token)
    assert verify(taken_over, letter.anchors).failed_check == "seals"
    # A second certificate of the same authority in the token, where only the unit's belongs.
    carried = time_stamp(
        letter.provider.unit, imprint_sha256(seal.signature), letters.SUBMITTED + SECOND, certificate=foreign.der
    )
    loaded = xades.assemble(canonical, seal.certificate_der, seal.signature, carried)
    assert verify(loaded, letter.anchors).failed_check == "times"


def test_edited_evidence_is_refused(letter: Letter) -> None:
    """An edit anywhere in an evidence, even one that keeps the form, breaks its seal."""
    for old, new in ((b"Ch\xc3\xa2teauroux", b"Chateauroux!"), (b"40128823401927", b"40128823401928")):
        edited = letter.documents[0].replace(old, new)
        assert verify(edited, letter.anchors).failed_check in ("form", "seals")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"</ds:Signature>", b"</ds:Signature> "),
        (b"<ds:KeyInfo>", b"<ds:KeyInfo><ds:KeyName></ds:KeyName>"),
        (b"</ds:X509Certificate>", b"</ds:X509Certificate><ds:X509Certificate>AAAA</ds:X509Certificate>"),
        (b"</ds:X509Data>", b"</ds:X509Data><ds:X509Data></ds:X509Data>"),
        (b"</ds:Object>", b"</ds:Object><ds:Object></ds:Object>"),
        (b"<xades:EncapsulatedTimeStamp>", b"<xades:EncapsulatedTimeStamp> "),
        (b"<xades:SigningTime>2026", b"<xades:SigningTime>2025"),
        (b"</xades:UnsignedProperties>", b"</xades:UnsignedProperties><xades:UnsignedProperties/>"),
        (b"<erds:Evidence ", b"<?xml version='1.0'?><erds:Evidence "),
        (b"<erds:Evidence ", b"\n<erds:Evidence "),
    ],
)
def test_nothing_can_be_added_beside_the_seal(letter: Letter, old: bytes, new: bytes) -> None:
    """The unsigned parts of a document have one spelling too: additions that no signature covers are refused."""
    edited = letter.documents[0].replace(old, new, 1)
    assert edited != letter.documents[0]
    assert verify(edited, letter.anchors).failed_check == "form"


def test_base64_has_one_spelling(letter: Letter) -> None:
    """Bits that base64 ignores cannot be used to make a second file with the same meaning."""
    value = letter.documents[0].split(b"<ds:X509Certificate>")[1].split(b"</")[0]
    token = letter.documents[0].split(b"<xades:EncapsulatedTimeStamp>")[1].split(b"</")[0]
    signature = letter.documents[0].split(b"<ds:SignatureValue")[1].split(b">")[1].split(b"<")[0]
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    tried = 0
    for text in (value, token, signature):
        padding = text.count(b"=")
        if not padding:
            continue
        tried += 1
        last = text[-padding - 1]
        twin = alphabet[alphabet.index(last) ^ 1]
        spelled = text[: -padding - 1] + bytes([twin]) + b"=" * padding
        assert verify(letter.documents[0].replace(text, spelled), letter.anchors).failed_check == "form"
    assert tried


def repacked(letter: Letter, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> bytes:
    return pack(change(unpack(letter.package)))


@pytest.mark.parametrize(
    "change",
    [
        lambda e: [*e, ("evidence/006-E.2.xml", e[2][1])],
        lambda e: [*e, ("hidden.txt", b"x")],
        lambda e: [*e[:-1], ("trust/authority-2.cer", b"x"), e[-1]],
        lambda e: [e[1], e[0], *e[2:]],
        lambda e: [entry for entry in e if entry[0] != "package.json"],
        lambda e: [entry for entry in e if entry[0] != "evidence/003-C.3.xml"],
        lambda e: [entry for entry in e if entry[0] != "META-INF/manifest.xml"],
        lambda e: [entry for entry in e if entry[0] != "META-INF/signatures.xml"],
        lambda e: [(n, c.replace(b"40128823401927", b"40128823401928")) for n, c in e],
        lambda e: [(n, c.replace(b'"snapshot": 1', b'"snapshot": 01')) for n, c in e],
        lambda e: [(n, b"[]" if n == "package.json" else c) for n, c in e],
        lambda e: [(n, b"[" * 100_000 if n == "package.json" else c) for n, c in e],
    ],
)
def test_entries_cannot_be_added_removed_or_changed(
    letter: Letter, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]
) -> None:
    """Whatever is done to the entries, with a correct zip around them, is refused."""
    report = verify(repacked(letter, change), letter.anchors)
    assert report.verdict in (Verdict.INVALID, Verdict.NOT_A_PROOF)


def test_an_edited_package_sealed_by_somebody_else_is_refused(letter: Letter) -> None:
    """Dropping the last evidence and sealing the rest anew needs the provider's own certificate."""
    foreign = leaf(authority("Other"))
    snapshot = letters.snapshot(letter.provider, letter.documents[:2])
    to_sign = package_to_sign(snapshot, letters.PACKED_AT)
    signature = foreign.sign_raw(package_signed_info(to_sign, foreign.der))
    token = time_stamp(letter.provider.unit, imprint_sha256(signature), letters.PACKED_AT)
    forged = finish(to_sign, foreign.der, signature, token)
    assert verify(forged, letter.anchors).failed_check == "trust"


def test_a_foreign_certificate_in_the_package_is_refused(letter: Letter) -> None:
    """Copies for information must be the anchors themselves, so that nobody is led to trust another."""
    authorities = (letter.provider.root.der, authority("Other").der)
    assert verify(packed(letter, letter.documents, authorities=authorities), letter.anchors).failed_check == "trust"


def test_a_zip_comment_or_trailing_bytes_are_refused(letter: Letter) -> None:
    """Nothing can be hung onto a package."""
    commented = bytearray(letter.package) + b"note"
    commented[-6:-4] = (4).to_bytes(2, "little")
    for changed in (bytes(commented), letter.package + b"\n", b"\n" + letter.package, letter.package[:-1]):
        assert verify(changed, letter.anchors).verdict is Verdict.INVALID


def test_the_report_names_the_file_and_what_is_in_it(letter: Letter) -> None:
    """The report binds its findings to the digest of the file that was checked."""
    report = verify(letter.package, letter.anchors)
    assert report.sha256 == hashlib.sha256(letter.package).hexdigest()
    assert isinstance(report.facts, LetterFacts)
    assert [event.code for event in report.facts.events] == ["A.1", "C.1", "C.3", "D.1", "E.1"]
    assert [step.number for step in report.steps] == list(range(1, 13))


def with_entry(letter: Letter, name: str, content: bytes) -> bytes:
    return repacked(letter, lambda entries: [(n, content if n == name else c) for n, c in entries])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["number", "delivery", "mode", "snapshot", "previous_sha256"]), JSON))
def test_whatever_the_description_says_the_answer_is_a_report(letter: Letter, changes: dict[str, object]) -> None:
    """No description, however odd, makes the verifier raise."""
    described = json.loads(dict(unpack(letter.package))["package.json"])
    forged = json.dumps({**described, **changes}).encode()
    verdict = verify(with_entry(letter, "package.json", forged), letter.anchors).verdict
    assert verdict in (Verdict.INVALID, Verdict.NOT_A_PROOF)


@given(st.sampled_from(["X509Certificate", "EncapsulatedTimeStamp", "SignatureValue"]), st.binary(max_size=80))
def test_whatever_a_seal_carries_the_answer_is_a_report(letter: Letter, name: str, value: bytes) -> None:
    """No certificate, token or signature, however broken, makes the verifier raise."""
    pattern = rf"(<(?:ds|xades):{name}[^>]*>)[^<]*".encode()
    forged = re.sub(pattern, lambda m: m.group(1) + base64.b64encode(value), letter.documents[0])
    assert verify(forged, letter.anchors).verdict is Verdict.INVALID
    seal_file = dict(unpack(letter.package))[SIGNATURES]
    forged = re.sub(pattern, lambda m: m.group(1) + base64.b64encode(value), seal_file)
    assert verify(with_entry(letter, SIGNATURES, forged), letter.anchors).verdict is Verdict.INVALID


def test_odd_certificates_and_vague_tokens_are_refused(letter: Letter) -> None:
    """Certificates that the library cannot read to the end, and tokens too vague to prove a time, are refusals."""
    signature = xades.take_apart(letter.documents[0]).seal.signature
    canonical, der = letter.drafts[0].canonical, letter.provider.seal.der
    wrong_version = letter.provider.unit.der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    assert wrong_version != letter.provider.unit.der
    for token in (
        time_stamp(
            letter.provider.unit, imprint_sha256(signature), letters.SUBMITTED + SECOND, certificate=wrong_version
        ),
        time_stamp(letter.provider.unit, imprint_sha256(signature), letters.SUBMITTED, accuracy_seconds=10**12),
    ):
        assert verify(xades.assemble(canonical, der, signature, token), letter.anchors).failed_check == "times"
    crl = revocation_list(letter.provider.root, [])
    for position in range(0, len(crl), 3):
        broken = bytearray(crl)
        broken[position] ^= 0xFF
        report = verify(letter.documents[0], letter.anchors, revocation_lists=[bytes(broken)])
        assert report.failed_check == "revocation" or report.steps[-1].outcome.value == "not_checked"
