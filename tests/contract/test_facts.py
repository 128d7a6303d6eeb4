"""What every reader of facts promises: one suite over PostgreSQL and over the memory that the simulation trusts."""

import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pipeline.delivery.facts import Notice, Snapshot, UploadWrap
from pipeline.delivery.states import DEPOSITED, SUBMITTED
from pipeline.errors import ClockBehind, Transient
from pipeline.evidence.binding import check_row
from pipeline.evidence.dossier import Deposit, Issuer, Reason
from pipeline.evidence.draft import draft
from pipeline.evidence.facts import EvidenceDraft, EvidenceSeal, EvidenceToken
from pipeline.evidence.time_stamp import checked_time_stamp
from pipeline.formats.xades import imprint_sha256
from pipeline.ports.bridge import wire
from tests.contract.facts_worlds import BEGAN, CRL, PROVIDER, MemoryWorld, PostgresWorld, World, known
from tests.memory.tables import Submission
from tests.simulation import letters

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory on asyncio", "memory on trio", "PostgreSQL"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> str:
    return "trio" if kind.endswith("trio") else "asyncio"


@pytest.fixture
def world(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if kind == "PostgreSQL":
        return PostgresWorld(request.getfixturevalue("postgres"), request.getfixturevalue("database"), tmp_path)
    return MemoryWorld()


def submitted(
    world: World,
    consent: str = "not_needed",
    parts: int = 1,
    *,
    known_second: bool = True,
    submitted_at: datetime = BEGAN,
) -> Submission:
    """A submission, planted; nobody has looked at it yet."""
    fate = letters.WITHDRAWN if consent == "withdrawn" else letters.ACCEPT
    made = letters.letter(fate, random.Random(uuid4().int), known(world, "intake"), BEGAN, parts).submission
    needs_consent = consent != "not_needed"
    dossier = replace(
        made.dossier,
        recipient=replace(made.dossier.recipient, kind="consumer" if needs_consent else "professional"),
        consent_ref="consent-1" if needs_consent else None,
        submitted_at=submitted_at,
        parts=made.dossier.parts if known_second else tuple(replace(p, sha3_256=None) for p in made.dossier.parts),
    )
    submission = replace(made, dossier=dossier, consent=consent)
    world.submit(submission)
    return submission


async def drafted(world: World, submission: Submission, role: str, event: str, ordinal: int = 0) -> EvidenceDraft:
    """One evidence more, by the role that may."""
    delivery = submission.dossier.delivery
    async with world.reader(role) as (facts, _):
        dossier = (await facts.dossiers([delivery]))[delivery]
    async with world.tx(role) as tx:
        locked = (await tx.lock([delivery]))[delivery]
        reason = Reason("digest_mismatch", "another digest") if event in ("A.2", "C.2") else None
        made = draft(locked.head, event, dossier, reason=reason, ordinal=ordinal)
        await tx.add([made])
    return made


async def sealed(world: World, evidence: EvidenceDraft) -> EvidenceSeal:
    [answer] = await world.bridge.bridge("seal").ask([wire.SealEvidence(evidence.canonical, evidence.receipt)])
    assert not isinstance(answer, wire.Denied), answer
    fact = EvidenceSeal(evidence.evidence, answer.signature, answer.key_id)
    async with world.tx("seal") as tx:
        await tx.add([fact])
    return fact


async def stamped(world: World, evidence: EvidenceDraft, seal: EvidenceSeal) -> EvidenceToken:
    items = [wire.TimeStamp(imprint_sha256(seal.signature), evidence.event_time)]
    [answer] = await world.bridge.bridge("timestamp").ask(items)
    assert not isinstance(answer, wire.Denied), answer
    gen_time = checked_time_stamp(answer.token, seal.signature, evidence.event_time).gen_time
    fact = EvidenceToken(evidence.evidence, answer.token, gen_time)
    async with world.tx("timestamp") as tx:
        await tx.lock([evidence.delivery])
        await tx.add([fact])
        await tx.advance([evidence.delivery])
    return fact


async def deposited(world: World) -> tuple[Submission, EvidenceDraft, EvidenceSeal, EvidenceToken]:
    submission = submitted(world)
    evidence = await drafted(world, submission, "encrypt", "A.1")
    seal = await sealed(world, evidence)
    return submission, evidence, seal, await stamped(world, evidence, seal)


def notice(submission: Submission, ordinal: int) -> Notice:
    name = f"{submission.dossier.delivery}/{ordinal}"
    day = BEGAN.date()
    return Notice(
        delivery=submission.dossier.delivery,
        ordinal=ordinal,
        notice_date=day,
        last_day=day + timedelta(days=15),
        language=submission.language,
        message_id=f"<{name}@example.org>",
        claim_sha256=hashlib.sha256(name.encode()).digest(),
        text_sha256=bytes(32),
        mail=f"mail {name}".encode(),
        prepared_at=BEGAN,
    )


async def test_nothing_happens_to_a_letter_before_it_was_submitted(world: World) -> None:
    """The clock was set back between the submission and its proof: whoever drafts waits until it has passed."""
    submission = submitted(world, submitted_at=datetime(2031, 1, 1, tzinfo=UTC))
    delivery = submission.dossier.delivery
    with pytest.raises(ClockBehind) as behind:
        await drafted(world, submission, "encrypt", "A.1")
    assert behind.value.subjects == {delivery}
    await drafted(world, submitted(world), "encrypt", "A.1")


@pytest.mark.parametrize("ahead_seconds", [0, 60, 3600])
async def test_a_token_that_is_later_than_now_is_not_kept(world: World, ahead_seconds: int) -> None:
    """An authority ahead of the database: no state stands on it, and its row goes with the transaction."""
    submission = submitted(world)
    evidence = await drafted(world, submission, "encrypt", "A.1")
    seal = await sealed(world, evidence)
    ahead = timedelta(seconds=ahead_seconds)
    token = EvidenceToken(evidence.evidence, b"token", evidence.event_time + ahead)

    async def stamp() -> None:
        async with world.tx("timestamp") as tx:
            await tx.lock([evidence.delivery])
            await tx.add([token])
            await tx.advance([evidence.delivery])

    if not ahead_seconds:
        await stamp()
        return
    with pytest.raises(ClockBehind) as behind:
        await stamp()
    assert behind.value.subjects == {evidence.delivery}
    await stamped(world, evidence, seal)


async def test_a_dossier_says_what_was_submitted(world: World) -> None:
    """Who sends, to whom, which documents; the issuer is the provider under the key that seals now; no deposit yet."""
    submission = submitted(world, parts=2)
    delivery = submission.dossier.delivery
    seal = known(world, "seal")
    assert seal.certificate is not None
    issuer = Issuer(
        PROVIDER.name, PROVIDER.country, PROVIDER.policy_oid, seal.key_id, hashlib.sha256(seal.certificate).digest()
    )
    async with world.reader("encrypt") as (facts, _):
        assert await facts.dossiers([delivery]) == {delivery: replace(submission.dossier, issuer=issuer)}


async def test_the_deposit_is_told_once_it_is_stamped(world: World) -> None:
    """Not while A.1 is drafted or sealed; then its digest, its time and the digest of its seal."""
    submission = submitted(world)
    delivery = submission.dossier.delivery
    evidence = await drafted(world, submission, "encrypt", "A.1")
    seal = await sealed(world, evidence)
    async with world.reader("notify") as (facts, _):
        assert (await facts.dossiers([delivery]))[delivery].deposit is None
        await stamped(world, evidence, seal)
        assert (await facts.dossiers([delivery]))[delivery].deposit == Deposit(
            evidence.evidence, evidence.sha256, evidence.event_time, hashlib.sha256(seal.signature).digest()
        )


async def test_what_nobody_knows_is_left_out(world: World) -> None:
    """An unknown id is no key of the answer, beside a known one or alone."""
    submission, evidence, _, _ = await deposited(world)
    delivery, stranger = submission.dossier.delivery, UUID(int=7)
    async with world.reader("encrypt") as (facts, _):
        assert set(await facts.dossiers([stranger, delivery])) == {delivery}
        assert set(await facts.submissions([stranger, delivery])) == {delivery}
        assert set(await facts.contents([stranger, delivery])) == {delivery}
        assert await facts.dossiers([stranger]) == {}
    async with world.reader("seal") as (facts, _):
        assert set(await facts.drafts([stranger, evidence.evidence])) == {evidence.evidence}
    async with world.reader("timestamp") as (facts, _):
        assert set(await facts.seals([stranger, evidence.evidence])) == {evidence.evidence}
    async with world.reader("notify") as (facts, _):
        assert set(await facts.announcements([stranger, delivery])) == {delivery}
        assert await facts.notices([(delivery, 1)]) == {}
    async with world.reader("archive") as (facts, _):
        assert set(await facts.proofs([stranger, delivery])) == {delivery}


@pytest.mark.parametrize("consent", ["given", "withdrawn", "unknown", "not_needed"])
async def test_a_submission_tells_state_and_consent(world: World, consent: str) -> None:
    """As it stands now: given, withdrawn, never recorded, or not needed."""
    delivery = submitted(world, consent).dossier.delivery
    async with world.reader("ingest") as (facts, _):
        told = (await facts.submissions([delivery]))[delivery]
    assert (told.state, told.consent, told.dossier.delivery) == (SUBMITTED, consent, delivery)
    async with world.tx("encrypt") as tx:
        assert (await tx.lock([delivery]))[delivery].consent_stands is (consent != "withdrawn")


async def test_contents_name_every_segment_in_order(world: World) -> None:
    """Two documents: what the sender declared of each, and where each one's encrypted bytes are."""
    submission = submitted(world, parts=2)
    delivery = submission.dossier.delivery
    async with world.reader("encrypt") as (facts, _):
        told = (await facts.contents([delivery]))[delivery]
    assert told.declared_sha256 == submission.declared_sha256
    assert told.segments == submission.segments
    assert [p.number for p in told.dossier.parts] == [1, 2]


async def test_a_content_s_wrap_is_told_to_every_letter_of_it(world: World) -> None:
    """The first one committed stays; the second digest of an upload in parts is known from then on."""
    made = submitted(world, parts=2, known_second=False)
    delivery, uploads = made.dossier.delivery, [s.upload for s in made.segments]
    async with world.reader("encrypt") as (facts, _):
        told = (await facts.contents([delivery]))[delivery]
    assert told.wraps == {} and told.uploads == dict(enumerate(uploads, start=1))
    assert [p.sha3_256 for p in told.dossier.parts] == [None, None]
    first = UploadWrap(uploads[0], "kek-1", b"context", b"wrapped", b"3" * 32, BEGAN)
    for wrap in (first, replace(first, wrapped=b"other", sha3_256=b"4" * 32)):
        async with world.tx("encrypt") as tx:
            await tx.add([wrap])
    async with world.reader("encrypt") as (facts, _):
        told = (await facts.contents([delivery]))[delivery]
        assert told.wraps == {uploads[0]: first}
        assert [p.sha3_256 for p in told.dossier.parts] == [b"3" * 32, None]


async def test_a_draft_is_read_as_it_was_stored(world: World) -> None:
    """The bytes to be sealed, and the certificate of the key that they name."""
    submission = submitted(world)
    evidence = await drafted(world, submission, "encrypt", "A.1")
    async with world.reader("seal") as (facts, _):
        told = (await facts.drafts([evidence.evidence]))[evidence.evidence]
    assert (told.row.canonical, told.receipt, told.row.delivery) == (evidence.canonical, None, evidence.delivery)
    assert (told.seal_key_id, told.row.certificate) == (evidence.seal_key_id, known(world, "seal").certificate)
    check_row(told.row)


async def test_a_seal_is_read_with_the_time_of_its_event(world: World) -> None:
    """Nothing while there is only a draft; then the signature and the EventTime that its token must not precede."""
    submission = submitted(world)
    evidence = await drafted(world, submission, "encrypt", "A.1")
    async with world.reader("timestamp") as (facts, _):
        assert await facts.seals([evidence.evidence]) == {}
        seal = await sealed(world, evidence)
        told = (await facts.seals([evidence.evidence]))[evidence.evidence]
    assert (told.row.event, told.row.event_time, told.signature) == ("A.1", evidence.event_time, seal.signature)
    check_row(told.row)


async def test_a_row_is_read_with_its_predecessors_digest(world: World) -> None:
    """Of the one before it in the sequence, as the bytes name it."""
    submission, first, _, _ = await deposited(world)
    second = await drafted(world, submission, "notify", "C.1")
    async with world.reader("seal") as (facts, _):
        told = await facts.drafts([first.evidence, second.evidence])
    rows = [told[e.evidence].row for e in (first, second)]
    assert [row.predecessor_sha256 for row in rows] == [None, first.sha256]
    for row in rows:
        check_row(row)


async def test_what_is_not_committed_is_not_read(world: World) -> None:
    """Facts are committed rows: an open transaction and one rolled back show nothing."""
    submission = submitted(world)

    class GivenUpError(Exception):
        pass

    async with world.reader("notify") as (facts, _):
        with pytest.raises(GivenUpError):
            async with world.tx("notify") as tx:
                await tx.add([notice(submission, 1)])
                assert await facts.notices([(submission.dossier.delivery, 1)]) == {}
                raise GivenUpError
        assert await facts.notices([(submission.dossier.delivery, 1)]) == {}


async def test_announcements_count_notices_and_tell_the_time_of_the_law(world: World) -> None:
    """The next ordinal after those prepared; no sender, no subject, no file name in it."""
    submission = submitted(world)
    delivery = submission.dossier.delivery
    async with world.reader("notify") as (facts, _):
        first = (await facts.announcements([delivery]))[delivery]
        async with world.tx("notify") as tx:
            await tx.add([notice(submission, 1)])
        world.jump(timedelta(days=16))
        second = (await facts.announcements([delivery]))[delivery]
    assert (first.next_ordinal, second.next_ordinal) == (1, 2)
    assert timedelta(days=16) <= second.legal_time - first.legal_time < timedelta(days=16, minutes=1)
    assert (first.number, first.recipient_email, first.language) == (
        submission.dossier.number,
        submission.dossier.recipient.email,
        submission.language,
    )


async def test_notices_give_the_stored_bytes_and_the_last_one_rules(world: World) -> None:
    """A later ordinal takes the rule from the earlier; its bytes stay as they were."""
    submission = submitted(world)
    delivery = submission.dossier.delivery
    async with world.reader("notify") as (facts, _):
        async with world.tx("notify") as tx:
            await tx.add([notice(submission, 1)])
        alone = (await facts.notices([(delivery, 1)]))[delivery, 1]
        async with world.tx("notify") as tx:
            await tx.add([notice(submission, 2)])
        both = await facts.notices([(delivery, 1), (delivery, 2)])
    assert alone.is_latest
    assert [both[delivery, n].is_latest for n in (1, 2)] == [False, True]
    assert [both[delivery, n].mail for n in (1, 2)] == [notice(submission, n).mail for n in (1, 2)]
    assert alone.recipient_email == submission.dossier.recipient.email
    assert (alone.notice_date, alone.last_day) == (BEGAN.date(), BEGAN.date() + timedelta(days=15))


async def test_proofs_hold_the_stamped_prefix_and_nothing_else(world: World) -> None:
    """Complete evidences only: a draft behind the prefix waits for the next snapshot."""
    submission, evidence, seal, token = await deposited(world)
    delivery = submission.dossier.delivery
    await drafted(world, submission, "notify", "C.2")
    async with world.reader("archive") as (facts, _):
        told = (await facts.proofs([delivery]))[delivery]
    assert (told.stamped_through, told.snapshots, told.snapshot_through, told.snapshot_sha256) == (1, 0, 0, None)
    [only] = told.evidences
    assert (only.evidence, only.event, only.sequence) == (evidence.evidence, "A.1", 1)
    assert (only.canonical, only.signature, only.token) == (evidence.canonical, seal.signature, token.token)
    assert only.certificate == known(world, "seal").certificate


async def test_proofs_end_before_a_gap(world: World) -> None:
    """An evidence with its token whose predecessor has none yet: it is in no package until that one is."""
    submission, evidence, *_ = await deposited(world)
    delivery = submission.dossier.delivery
    notified = await drafted(world, submission, "notify", "C.1", 1)
    failed = await drafted(world, submission, "notify", "C.2", 1)
    await stamped(world, failed, await sealed(world, failed))
    async with world.reader("archive") as (facts, _):
        before = (await facts.proofs([delivery]))[delivery]
    assert (before.stamped_through, [e.evidence for e in before.evidences]) == (1, [evidence.evidence])
    await stamped(world, notified, await sealed(world, notified))
    async with world.reader("archive") as (facts, _):
        after = (await facts.proofs([delivery]))[delivery]
    ids = [e.evidence for e in (evidence, notified, failed)]
    assert (after.stamped_through, [e.evidence for e in after.evidences]) == (3, ids)


async def test_proofs_name_the_snapshot_before(world: World) -> None:
    """Its number, its digest and how far it went: the next one is chained to it."""
    submission, *_ = await deposited(world)
    delivery = submission.dossier.delivery
    async with world.tx("archive") as tx:
        await tx.add([Snapshot(delivery, 1, uuid4().hex, 10, bytes(32), None, 1)])
    async with world.reader("archive") as (facts, _):
        told = (await facts.proofs([delivery]))[delivery]
    assert (told.snapshots, told.snapshot_through, told.snapshot_sha256) == (1, 1, bytes(32))


async def test_the_state_is_told_as_it_was_advanced(world: World) -> None:
    """After the deposit's token the delivery reads as deposited."""
    submission, *_ = await deposited(world)
    delivery = submission.dossier.delivery
    async with world.reader("ingest") as (facts, _):
        assert (await facts.submissions([delivery]))[delivery].state == DEPOSITED


async def test_the_time_of_the_law_is_in_milliseconds_and_jumps_ahead(world: World) -> None:
    """Rounded down, so that no event claims to be later than it was."""
    async with world.reader("notify") as (facts, _):
        before = await facts.legal_now()
        world.jump(timedelta(days=16))
        after = await facts.legal_now()
    assert before.microsecond % 1000 == after.microsecond % 1000 == 0
    assert timedelta(days=16) <= after - before < timedelta(days=16, minutes=1)


async def test_keys_are_found_by_use_and_by_name(world: World) -> None:
    """The one that seals now, any by its name, the pinned authority and the published list; never an unknown one."""
    seal = known(world, "seal")
    async with world.reader("seal") as (_, keys):
        assert await keys.active("seal") == seal
        assert await keys.by_id(seal.key_id) == seal
        assert await keys.trust_anchor() == world.bridge.authority
        assert await keys.document(CRL) == world.bridge.crl
        assert await keys.document("nothing") is None
        with pytest.raises(Transient):
            await keys.by_id("nothing")
        with pytest.raises(Transient):
            await keys.active("nothing")
