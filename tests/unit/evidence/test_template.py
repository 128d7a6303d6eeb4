"""Evidence bytes: rendered and read are inverse, and canonical for a reader nobody here wrote."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from pipeline.evidence.content import EvidenceContent
from pipeline.evidence.dossier import Deposit, Issuer, Part, Reason, RecipientParty, SenderParty
from pipeline.evidence.form import reading, xml
from pipeline.evidence.form.xades import signed_parts
from pipeline.formats import instants, xades
from pipeline.formats.events import EVENTS
from pipeline.formats.evidence_head import HeadError, evidence_id, parse_evidence_head
from pipeline.formats.person import IdentifiedPerson
from tests.unit.evidence.conftest import Letter

DS, XADES = xades.DS, xades.XADES

characters = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff")
words = st.text(characters, min_size=1, max_size=20)
optional_words = st.none() | words
digests = st.binary(min_size=32, max_size=32)
times = st.integers(0, 2 * 10**12).map(lambda ms: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
tokens = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True)
dates = st.dates(date(1900, 1, 1), date(2020, 1, 1))
optional_dates = st.none() | dates
people = st.builds(
    IdentifiedPerson, words, words, optional_words, optional_dates, words, tokens, tokens, times, digests
)
issuers = st.builds(Issuer, words, words, tokens, tokens, digests)
senders = st.builds(SenderParty, words, words, tokens, tokens, times)
recipients = st.builds(
    RecipientParty, tokens, words, words, words, optional_words, optional_dates, optional_words, optional_words
)
reasons = st.none() | st.builds(Reason, tokens, words)
deposits = st.none() | st.builds(Deposit, st.uuids(), digests, times, digests)
details = st.lists(st.tuples(tokens, words), max_size=3)


@st.composite
def contents(draw: st.DrawFn) -> EvidenceContent:
    event, delivery = draw(st.sampled_from(sorted(EVENTS))), draw(st.uuids())
    ordinal, sequence = draw(st.integers(0, 9)), draw(st.integers(1, 99))
    parts = [
        Part(n, draw(words), draw(words), draw(st.integers(0, 10**9)), draw(digests), draw(digests))
        for n in range(1, draw(st.integers(1, 3)) + 1)
    ]
    return EvidenceContent(
        evidence=evidence_id(delivery, event, ordinal),
        event=event,
        reason=draw(reasons),
        event_time=draw(times),
        issuer=draw(issuers),
        sender=draw(senders),
        recipient=draw(recipients),
        submitted_at=draw(times),
        number=draw(tokens),
        parts=tuple(parts),
        delivery=delivery,
        ordinal=ordinal,
        sequence=sequence,
        predecessor_sha256=None if sequence == 1 else draw(digests),
        config_version=draw(tokens),
        mode=draw(st.sampled_from(["non_qualified", "qualified"])),
        deposit=draw(deposits),
        client_ref=draw(optional_words),
        consent_ref=draw(optional_words),
        identification=draw(st.none() | people),
        details=tuple(draw(details)),
    )


@given(contents())
def test_reading_is_the_inverse_of_rendering(content: EvidenceContent) -> None:
    """Every content comes back equal from its bytes, is canonical for lxml, and the bridge's head agrees with it."""
    canonical = xml.render(content)
    assert reading.read(canonical) == content
    assert etree.tostring(etree.fromstring(canonical), method="c14n", exclusive=True) == canonical
    head = parse_evidence_head(canonical)
    assert (head.event, head.event_time, head.delivery) == (content.event, content.event_time, content.delivery)
    assert (head.sequence, head.predecessor_sha256) == (content.sequence, content.predecessor_sha256)
    assert head.certificate_sha256 == content.issuer.seal_certificate_sha256
    assert head.person_sha256 == (content.identification.person_sha256 if content.identification else None)
    assert head.mode == content.mode


def test_signed_fragments_are_their_own_canonical_form(letter: Letter) -> None:
    """What we hash and sign is byte for byte what a standard canonicaliser takes out of the finished document."""
    for draft, document in zip(letter.drafts, letter.documents, strict=True):
        root = etree.fromstring(document)
        signed = signed_parts(draft.canonical, letter.provider.seal.der)

        def canonical(path: str, root: etree._Element = root) -> bytes:
            found = root.find(path)
            assert found is not None
            return etree.tostring(found, method="c14n", exclusive=True)

        assert canonical(f".//{{{DS}}}SignedInfo") == signed.info
        assert canonical(f".//{{{XADES}}}SignedProperties") == signed.properties
        assert canonical(f".//{{{DS}}}SignatureValue") in document
        signature = root.find(f"{{{DS}}}Signature")
        assert signature is not None
        root.remove(signature)
        assert etree.tostring(root, method="c14n", exclusive=True) == draft.canonical


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'Id="evidence-', b'Id="evidense-'),
        (b"SubmissionAcceptance</", b"ContentHandover</"),  # an act that needs a receipt, under another's identifier
        (b"SubmissionAcceptance</", b"RelayAcceptance</"),
        (b"<q:Sequence>1</q:Sequence>", b"<q:Sequence>2</q:Sequence>"),
        (b"<q:Sequence>1</q:Sequence>", b"<q:Sequence>01</q:Sequence>"),
        (b"<q:Ordinal>0</q:Ordinal>", b"<q:Ordinal>1</q:Ordinal>"),
        (b"non_qualified", b"other"),
        (b"<EventTime>2026", b"<EventTime> 2026"),
        (b"<EventTime>2026-03-02T09", b"<EventTime>2026-13-02T09"),
        (b"<EventTime>", b"<EventTime><!-- 2027 -->"),
        (b"</erds:Evidence>", b"<ds:Signature></ds:Signature></erds:Evidence>"),
        (b"</erds:Evidence>", b"</erds:Evidence>\n"),
        (b"<q:Documents ", b'<q:Documents Id="evidence-1" '),
        (b"<erds:SenderDetails>", b"<erds:SenderDetails><erds:EvidenceIdentifier></erds:EvidenceIdentifier>"),
        (b"<erds:Extensions>", b"<erds:Extensions><erds:Other></erds:Other>"),
    ],
)
def test_an_evidence_in_another_form_is_refused(letter: Letter, old: bytes, new: bytes) -> None:
    """Neither the bridge nor the verifier takes bytes that say something in a way this service does not write."""
    canonical = letter.drafts[0].canonical
    mutant = canonical.replace(old, new, 1)
    assert mutant != canonical
    with pytest.raises(reading.NotOurForm):
        reading.read(mutant)
    if b"SenderDetails" not in new:  # the head does not read the sender
        with pytest.raises(HeadError):
            parse_evidence_head(mutant)


def test_times_are_cut_and_need_a_zone() -> None:
    """A time is written in UTC milliseconds rounded down, SigningTime in whole seconds; a naive time is refused."""
    moment = datetime(2026, 3, 2, 23, 59, 59, 999_999, tzinfo=UTC)
    assert instants.seconds_text(moment) == "2026-03-02T23:59:59Z"
    assert instants.time_text(moment) == "2026-03-02T23:59:59.999Z"
    with pytest.raises(ValueError):
        instants.time_text(moment.replace(tzinfo=None))
    assert instants.seconds_text(moment + timedelta(microseconds=1)) == "2026-03-03T00:00:00Z"
