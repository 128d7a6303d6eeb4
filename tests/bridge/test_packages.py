"""What the bridge seals as a package, and what it does not, whoever asks: the caller may be taken over."""

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec import structs

from hsm_bridge import wire
from pipeline.evidence.package.batch_proof import REJECTED, BatchHead, BatchProofWriter, ProvenLine
from pipeline.formats import package_form
from pipeline.formats.xades import imprint_sha256
from tests.bridge_process import describe, provider_key
from tests.contract.bridge_cases import DELIVERY, BridgeCase
from tests.fakes import pki
from tests.fakes.bridge import FakeBridge

pytestmark = pytest.mark.anyio
OTHER_DELIVERY = UUID(int=99)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Forge = Callable[[wire.SealPackage], wire.SealPackage]


class Clock:
    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def case(clock: Clock) -> BridgeCase:
    fake = FakeBridge(legal_now=clock.now, random=random.Random(1).randbytes)
    return BridgeCase(fake.client, clock.now, provider_key(), await describe(fake.client("operator")))


@pytest.fixture
async def two(case: BridgeCase) -> wire.SealPackage:
    """A deposit and the event after it, of one letter."""
    deposit = await case.proven(first := case.draft("A.1"))
    return case.package_of(deposit, await case.proven(case.draft("C.1", after=first.canonical)))


async def sealed(case: BridgeCase, item: wire.SealPackage | wire.SealList) -> str:
    """ok, or why not."""
    [answer] = await case.bridge("archive").ask([item])
    return "ok" if isinstance(answer, wire.Sealed) else answer.code


def changed(item: wire.SealPackage, place: int, **fields: bytes) -> wire.SealPackage:
    proofs = list(item.evidences)
    proofs[place] = structs.replace(proofs[place], **fields)
    return structs.replace(item, evidences=tuple(proofs))


async def test_proofs_of_one_letter_are_sealed(case: BridgeCase, two: wire.SealPackage) -> None:
    """All of them, or the first; with a list of revocations or without."""
    assert await sealed(case, two) == "ok"
    assert await sealed(case, structs.replace(two, evidences=two.evidences[:1], revocation_list=None)) == "ok"
    later = structs.replace(two, snapshot=2, previous_sha256=bytes(32))
    assert await sealed(case, later) == "ok"


FORGED: dict[str, tuple[Forge, str]] = {
    "no evidence": (lambda i: structs.replace(i, evidences=()), "package_invalid"),
    "one twice": (lambda i: structs.replace(i, evidences=(i.evidences[0],) * 2), "package_invalid"),
    "one missing": (lambda i: structs.replace(i, evidences=i.evidences[1:]), "package_invalid"),
    "another order": (lambda i: structs.replace(i, evidences=i.evidences[::-1]), "package_invalid"),
    "another number": (lambda i: structs.replace(i, number="0" * 14), "package_invalid"),
    "a number that is markup": (lambda i: structs.replace(i, number="<q/>"), "package_invalid"),
    "a letter's bytes": (lambda i: changed(i, 0, evidence=b"%PDF-1.7 a letter"), "evidence_invalid"),
    "an altered evidence": (
        lambda i: changed(i, 0, evidence=i.evidences[0].evidence.replace(b">FR<", b">DE<")),
        "seal_invalid",
    ),
    "no seal": (lambda i: changed(i, 0, signature=b""), "seal_invalid"),
    "a seal of zeros": (lambda i: changed(i, 0, signature=bytes(64)), "seal_invalid"),
    "the other's seal": (lambda i: changed(i, 0, signature=i.evidences[1].signature), "seal_invalid"),
    "no token": (lambda i: changed(i, 0, token=b""), "token_invalid"),
    "the other's token": (lambda i: changed(i, 0, token=i.evidences[1].token), "token_invalid"),
    "a foreign list": (
        lambda i: structs.replace(i, revocation_list=pki.revocation_list(pki.authority(), [])),
        "package_invalid",
    ),
    "a list that is none": (lambda i: structs.replace(i, revocation_list=b"%PDF"), "package_invalid"),
    "a first with one before it": (lambda i: structs.replace(i, previous_sha256=bytes(32)), "package_invalid"),
    "a second with none": (lambda i: structs.replace(i, snapshot=2), "package_invalid"),
    "half a digest": (lambda i: structs.replace(i, snapshot=2, previous_sha256=bytes(8)), "package_invalid"),
    "of tomorrow": (lambda i: structs.replace(i, signing_time=NOW + timedelta(days=1)), "event_in_future"),
    "of yesterday": (lambda i: structs.replace(i, signing_time=NOW - timedelta(days=1)), "signing_time_past"),
    "older than its proofs": (lambda i: structs.replace(i, signing_time=NOW - timedelta(minutes=5)), "clock_behind"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
async def test_a_package_that_is_not_so_is_not_sealed(case: BridgeCase, two: wire.SealPackage, name: str) -> None:
    """Foreign bytes, evidences without this service's seal and token, of the wrong place, letter or time."""
    forge, code = FORGED[name]
    assert forge(two) != two
    answer = await sealed(case, forge(two))
    assert answer == code


async def test_proofs_of_two_letters_are_no_package(case: BridgeCase) -> None:
    """Each is good in itself, and the second even names the first."""
    first = case.draft("A.1")
    foreign = case.draft("C.1", after=first.canonical, delivery=OTHER_DELIVERY)
    item = case.package_of(await case.proven(first), await case.proven(foreign))
    assert await sealed(case, item) == "package_invalid"


async def test_another_service_s_proofs_are_no_package(case: BridgeCase, two: wire.SealPackage, clock: Clock) -> None:
    """Sealed by another bridge; stamped by another's unit or by nobody's."""
    fake = FakeBridge(legal_now=clock.now, random=random.Random(2).randbytes)
    other = BridgeCase(fake.client, clock.now, provider_key(), await describe(fake.client("operator")))
    foreign = await other.proven(other.draft("A.1"))
    assert await sealed(case, case.package_of(foreign)) == "certificate_unknown"
    own = two.evidences[0]
    [stamp] = await other.bridge("timestamp").ask([wire.TimeStamp(imprint_sha256(own.signature), NOW)])
    assert isinstance(stamp, wire.Stamped)
    assert await sealed(case, case.package_of(structs.replace(own, token=stamp.token))) == "token_invalid"


@pytest.mark.parametrize(
    ("ahead_ms", "code"), [(60_000, "token_invalid"), (999, "token_invalid"), (1, "token_invalid"), (0, "ok")]
)
async def test_a_token_older_than_the_event_proves_nothing(
    case: BridgeCase, clock: Clock, ahead_ms: int, code: str
) -> None:
    """The seal is good; the token was got before, by a clock that was behind: by the rule of who verifies."""
    ahead = timedelta(milliseconds=ahead_ms)
    later = case.draft("A.1", at=NOW + ahead)
    clock.moment += ahead
    [seal] = await case.bridge("seal").ask([wire.SealEvidence(later.canonical, None)])
    assert isinstance(seal, wire.Sealed)
    clock.moment -= ahead
    [stamp] = await case.bridge("archive").ask([wire.TimeStamp(imprint_sha256(seal.signature), None)])
    assert isinstance(stamp, wire.Stamped)
    clock.moment += timedelta(minutes=2)
    item = case.package_of(wire.PackagedEvidence(later.canonical, seal.signature, stamp.token))
    assert await sealed(case, item) == code


# ------------------------------------------------------------------ lists
def written() -> wire.SealList:
    writer = BatchProofWriter()
    writer.start()
    writer.lines([ProvenLine(1, None, REJECTED, None, "email_invalid")])
    writer.describe(BatchHead(DELIVERY, "x", "non_qualified", "x", "x", 1, bytes(32), NOW), (b"ca",), (b"crl",))
    package = writer.to_sign(NOW)
    return wire.SealList(package.digests, package.signing_time)


def manifested(*names: str) -> wire.SealList:
    """These entries, with the manifest that they call for."""
    manifest = hashlib.sha256(package_form.manifest(list(names))).digest()
    mimetype = hashlib.sha256(package_form.MIMETYPE).digest()
    digests = [(name, mimetype if name == "mimetype" else bytes(32)) for name in names]
    return wire.SealList((*digests, (package_form.MANIFEST, manifest)), NOW)


async def test_a_list_is_sealed(case: BridgeCase) -> None:
    """As the writer of batch proofs writes it."""
    assert await sealed(case, written()) == "ok"


@pytest.mark.parametrize(
    "item",
    [
        manifested("mimetype", "package.json", "evidence/001-A.1.xml"),
        manifested("mimetype", "lines/001.csv", "batch.json", "evidence/001-A.1.xml"),
        manifested("mimetype", "lines/001.csv", "batch.json", "package.json"),
        manifested("mimetype", "lines/001.csv", "paper.pdf"),
        manifested("mimetype", "batch.json"),
        manifested("mimetype", "lines/001.csv"),
        manifested("mimetype", "batch.json", "lines/001.csv"),
        manifested("lines/001.csv", "batch.json"),
        structs.replace(written(), entries=(("mimetype", bytes(32)), *written().entries[1:])),
        structs.replace(written(), entries=(*written().entries[:-1], (package_form.MANIFEST, bytes(32)))),
        structs.replace(written(), entries=()),
        structs.replace(written(), signing_time=NOW + timedelta(days=1)),
        structs.replace(written(), signing_time=NOW - timedelta(days=1)),
    ],
)
async def test_what_is_no_list_is_not_sealed_as_one(case: BridgeCase, item: wire.SealList) -> None:
    """An evidence, what describes a package, papers, half a list, another type or manifest, another time."""
    assert await sealed(case, item) in ("item_invalid", "event_in_future", "signing_time_past")
