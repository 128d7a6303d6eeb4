"""The contract of the bridge's ports: the real bridge over SoftHSM and the one in memory keep the same promises."""

import json
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from joserfc.jwk import RSAKey
from msgspec import structs

from deploy.local.softhsm import SoftToken
from hsm_bridge import wire
from hsm_bridge.client import BridgeClient
from hsm_bridge.operations.table import OPERATIONS
from pipeline.errors import Invariant
from pipeline.evidence.form import xades as seals
from pipeline.evidence.package.batch_proof import REJECTED, BatchHead, BatchProofWriter, ProvenLine
from pipeline.evidence.package.snapshot import package_signed_info, package_to_sign
from pipeline.formats import tst
from pipeline.formats.configuration import DatabaseSettings
from pipeline.formats.context import content_context, parse_content_context
from pipeline.formats.package_form import SnapshotContents
from pipeline.formats.xades import LIST_OF_THE_SERVICE, imprint_sha256
from tests.bridge_process import (
    CLIENT_ID,
    ISSUER,
    SECOND,
    BridgeHome,
    describe,
    provider_key,
    second_key,
    stop,
    write_jwks,
)
from tests.contract.bridge_cases import DELIVERY, KEYS, BridgeCase, letter_context, proof
from tests.fakes.bridge import FakeBridge, decision_item, pinned
from tests.fakes.identity import ProviderTokens, second_signed, second_values
from tests.servers import short_directory

OTHER_DELIVERY = UUID(int=99)
SUITE = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def in_memory(home: Path) -> BridgeCase:
    """The fake, pinned to a provider of its own."""
    key = provider_key()
    jwks = home / "jwks.json"
    write_jwks(jwks, key)

    def now() -> datetime:
        return datetime.now(UTC)

    identity = pinned(jwks)
    fake = FakeBridge(legal_now=now, random=secrets.token_bytes, identity=identity)
    return BridgeCase(fake.client, now, key, anyio.run(describe, fake.client("operator")))


@pytest.fixture(scope="module")
def real(make_softhsm: Callable[[], SoftToken], make_database: Callable[[], DatabaseSettings]) -> Iterator[BridgeHome]:
    home = BridgeHome(short_directory(), make_softhsm(), make_database())
    home.write()
    home.ceremony()
    process = home.start()
    try:
        yield home
    finally:
        assert stop(process) == 0, (home.home / "bridge.log").read_text()
        shutil.rmtree(home.home)


@pytest.fixture(params=["in_memory", "softhsm"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BridgeCase]:
    """Each bridge in turn; connections are closed with the test."""
    if request.param == "in_memory":
        yield in_memory(tmp_path)
        return
    home: BridgeHome = request.getfixturevalue("real")
    clients: dict[str, BridgeClient] = {}

    def client(caller: str) -> BridgeClient:
        return clients.setdefault(caller, home.client(caller))

    yield BridgeCase(client, lambda: datetime.now(UTC), home.provider_key, home.describe())


@pytest.fixture(autouse=True)
async def closing(case: BridgeCase, anyio_backend: str) -> AsyncIterator[None]:
    """Sockets end inside the loop that opened them."""
    yield
    for caller in wire.CALLERS:
        await case.client(caller).aclose()


pytestmark = pytest.mark.anyio


async def test_an_upload_key_opens_under_its_own_info_only(case: BridgeCase) -> None:
    """A key sealed to the intake key comes back under the info it was sealed with, and under no other."""
    intake = next(key for key in case.description.keys if key.use == "intake")
    public = load_der_public_key(intake.spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    sealed = SUITE.encrypt(KEYS[:32], public, b"info")
    bridge = case.bridge("encrypt")
    opened, other, short, flipped, unknown = await bridge.ask(
        [
            wire.OpenIntake(intake.key_id, b"info", sealed),
            wire.OpenIntake(intake.key_id, b"another", sealed),
            wire.OpenIntake(intake.key_id, b"info", sealed[:60]),
            wire.OpenIntake(intake.key_id, b"info", b"\x04" + bytes(64) + sealed[65:]),
            wire.OpenIntake("seal-2026-1", b"info", sealed),
        ]
    )
    assert opened == wire.Opened(KEYS[:32])
    assert [codes(answer) for answer in (other, short, flipped)] == ["intake_invalid"] * 3
    assert codes(unknown) == "key_unknown"


async def test_a_wrap_needs_a_context_and_whole_keys(case: BridgeCase) -> None:
    """Nothing is wrapped under bytes that are no context, or a letter's, and no half key."""
    content = await case.content()
    assert KEYS not in content.wrapped
    answers = await case.bridge("encrypt").ask(
        [
            wire.WrapContent(b"free text", KEYS),
            wire.WrapContent(letter_context(b"letter"), KEYS),
            wire.WrapContent(content.context, KEYS[:40]),
            wire.WrapContent(content.context, b""),
            wire.WrapContent(content.context, KEYS * 101),
        ]
    )
    assert [codes(answer) for answer in answers] == ["context_invalid"] * 2 + ["item_invalid"] * 3


async def test_one_content_is_wrapped_for_many_letters(case: BridgeCase) -> None:
    """Each letter's wrap is its own and opens for its addressee to the keys of its contents, in order."""
    first, second = await case.content(b"first", KEYS[:32]), await case.content(b"second", KEYS[32:])
    items = [
        wire.DeriveWrap(letter_context(b"first", b"second"), (first, second)),
        wire.DeriveWrap(letter_context(b"first", delivery=OTHER_DELIVERY), (first,)),
    ]
    both, one = await case.bridge("encrypt").ask(items)
    assert isinstance(both, wire.Wrapped) and isinstance(one, wire.Wrapped)
    person = await case.identified(letter=(items[0].context, both))
    accepted = await case.decided(person, "accept")
    assert person.ticket is not None
    mine = wire.Release(both.wrapped, both.key_id, items[0].context, person.ticket, accepted.receipt)
    other = wire.Release(one.wrapped, one.key_id, items[1].context, person.ticket, accepted.receipt)
    released, refused = await case.bridge("gateway").ask([mine, other])
    assert isinstance(released, wire.Released) and released.keys == KEYS
    assert codes(refused) == "ticket_invalid"


async def test_a_letter_s_wrap_is_made_of_exactly_its_contents(case: BridgeCase) -> None:
    """Another content, one too few, too many, out of order, altered, or in a letter's context: no wrap."""
    first, second = await case.content(b"first", KEYS[:32]), await case.content(b"second", KEYS[32:])
    letter = letter_context(b"first", b"second")
    derived = (await case.bridge("encrypt").ask([wire.DeriveWrap(letter, (first, second))]))[0]
    assert isinstance(derived, wire.Wrapped)
    flipped = structs.replace(first, wrapped=first.wrapped[:-1] + bytes([first.wrapped[-1] ^ 1]))
    a_letter_s = wire.WrappedContent(derived.key_id, derived.wrapped, letter)
    wrong = {
        wire.DeriveWrap(letter, (second, first)): "content_mismatch",
        wire.DeriveWrap(letter, (first, first)): "content_mismatch",
        wire.DeriveWrap(letter, (first,)): "content_mismatch",
        wire.DeriveWrap(letter, ()): "content_mismatch",
        wire.DeriveWrap(letter, (first, second, second)): "content_mismatch",
        wire.DeriveWrap(letter, (structs.replace(first, wrapped=second.wrapped), second)): "wrap_invalid",
        wire.DeriveWrap(letter, (flipped, second)): "wrap_invalid",
        wire.DeriveWrap(letter, (structs.replace(first, key_id="mac-1"), second)): "wrap_invalid",
        wire.DeriveWrap(letter, (a_letter_s, second)): "context_invalid",
        wire.DeriveWrap(first.context, (first,)): "context_invalid",
        wire.DeriveWrap(b"", (first,)): "context_invalid",
    }
    answers = await case.bridge("encrypt").ask(list(wrong))
    assert [codes(answer) for answer in answers] == list(wrong.values())


async def test_a_content_s_wrap_opens_no_letter(case: BridgeCase) -> None:
    """The wrap that lies in the database for later letters is good for nothing at `release`."""
    person = await case.identified()
    accepted = await case.decided(person, "accept")
    content = await case.content()
    assert person.ticket is not None
    item = wire.Release(content.wrapped, content.key_id, content.context, person.ticket, accepted.receipt)
    disguised = structs.replace(item, context=letter_context(b"letter"))
    answers = await case.bridge("gateway").ask([item, disguised])
    assert [codes(answer) for answer in answers] == ["context_invalid", "wrap_invalid"]


async def test_after_its_last_day_no_letter_is_made_of_a_content(case: BridgeCase) -> None:
    """open_until is in the context: whoever moves it moves the context, and then nothing opens."""
    content = await case.content()
    about = parse_content_context(content.context)
    over = content_context(replace(about, open_until=datetime.now(UTC).replace(microsecond=0)))
    longer = content_context(replace(about, open_until=about.open_until + timedelta(days=1)))
    bridge, letter = case.bridge("encrypt"), letter_context(b"letter")
    closed, forged = await bridge.ask(
        [wire.DeriveWrap(letter, (structs.replace(content, context=c),)) for c in (over, longer)]
    )
    [too_late] = await bridge.ask([wire.WrapContent(over, KEYS)])
    assert [codes(answer) for answer in (closed, forged, too_late)] == [
        "content_closed",
        "wrap_invalid",
        "content_closed",
    ]


async def test_a_seal_verifies_under_the_published_certificate(case: BridgeCase) -> None:
    """The signature is the XAdES one over exactly these bytes, checked by the code that verifies proofs."""
    drafted = case.draft("A.1")
    [answer] = await case.bridge("seal").ask([wire.SealEvidence(drafted.canonical, None)])
    assert isinstance(answer, wire.Sealed), answer
    assert answer.key_id == case.seal_key.key_id
    seals.verified_seal(drafted.canonical, case.seal_certificate, answer.signature)


async def test_one_bad_evidence_harms_no_other(case: BridgeCase) -> None:
    """Refusals are per item and in order; what is asked in the same call is done."""
    good = case.draft("A.1").canonical
    later = case.draft("A.1", at=case.legal_now() + timedelta(hours=1)).canonical
    foreign = case.draft("A.1", certificate_sha256=bytes(32)).canonical
    old = case.draft("A.1", at=datetime(2020, 1, 1, tzinfo=UTC)).canonical
    qualified = case.draft("A.1", mode="qualified").canonical
    evidences = (b"<erds:Evidence/>", good, later, foreign, old, qualified, good + b" ")
    items = [wire.SealEvidence(e, None) for e in evidences]
    answers = await case.bridge("seal").ask(items)
    assert [codes(answer) for answer in answers] == [
        "evidence_invalid",
        "ok",
        "event_in_future",
        "certificate_unknown",
        "certificate_not_valid",
        "mode_mismatch",
        "evidence_invalid",
    ]


async def test_no_act_of_a_recipient_is_sealed_without_its_receipt(case: BridgeCase) -> None:
    """C.3 and D.1 stand on an acceptance, C.4 on a refusal, E.1 on a handover, each by the person in the evidence."""
    person = await case.identified()
    who = person.person
    accepted, refused = await case.decided(person, "accept"), await case.decided(person, "refuse")
    context, wrap = await case.wrapped()
    assert person.ticket is not None
    [released] = await case.bridge("gateway").ask(
        [wire.Release(wrap.wrapped, wrap.key_id, context, person.ticket, accepted.receipt)]
    )
    assert isinstance(released, wire.Released)
    receipts = {"accept": accepted.receipt, "refuse": refused.receipt, "handover": released.receipt}
    allowed = {("C.3", "accept"), ("D.1", "accept"), ("C.4", "refuse"), ("E.1", "handover")}
    pairs = [(event, act) for event in ("C.3", "D.1", "C.4", "E.1") for act in receipts]
    evidences = {
        event: case.draft(event, at=accepted.at, identification=who, receipt=b"x", contents=(b"letter",)).canonical
        for event, _ in pairs
    }
    seal = case.bridge("seal")
    answers = await seal.ask([wire.SealEvidence(evidences[event], receipts[act]) for event, act in pairs])
    assert {pair for pair, answer in zip(pairs, answers, strict=True) if codes(answer) == "ok"} == allowed
    missing = await seal.ask([wire.SealEvidence(evidence, None) for evidence in evidences.values()])
    assert {codes(answer) for answer in missing} == {"receipt_missing"}
    [unexpected] = await seal.ask([wire.SealEvidence(case.draft("A.1").canonical, accepted.receipt)])
    assert codes(unexpected) == "receipt_unexpected"


async def test_a_receipt_of_another_delivery_or_person_or_a_forged_one_seals_nothing(case: BridgeCase) -> None:
    """What makes a receipt this act's receipt is checked one by one."""
    person = await case.identified()
    who = person.person
    receipt = (await case.decided(person, "accept")).receipt
    drafted = partial(case.draft, "C.3", receipt=b"x", contents=(b"letter",))
    evidences = {
        "other delivery": drafted(delivery=OTHER_DELIVERY, identification=who),
        "other person": drafted(identification=replace(who, person_sha256=bytes(32))),
        "other documents": case.draft("C.3", identification=who, receipt=b"x"),
        "same": drafted(identification=who),
    }
    answers = await case.bridge("seal").ask(
        [
            wire.SealEvidence(evidences["other delivery"].canonical, receipt),
            wire.SealEvidence(evidences["other person"].canonical, receipt),
            wire.SealEvidence(evidences["other documents"].canonical, receipt),
            *(wire.SealEvidence(evidences["same"].canonical, forged) for forged in forgeries(receipt)),
        ]
    )
    assert {codes(answer) for answer in answers} == {"receipt_invalid"}


async def test_a_token_verifies_and_is_not_older_than_its_event(case: BridgeCase) -> None:
    """Tokens verify under the authority alone; a time-stamp for an event that has not come is not given."""
    imprint = imprint_sha256(bytes(64))
    event_time = case.legal_now().replace(microsecond=0)
    [first, second] = await case.bridge("timestamp").ask([wire.TimeStamp(imprint, event_time)] * 2)
    assert isinstance(first, wire.Stamped) and isinstance(second, wire.Stamped)
    token = tst.verify_token(first.token, imprint, anchors=[case.description.ca])
    assert token.gen_time >= event_time
    assert token.stamp.serial != tst.parse_token(second.token).stamp.serial
    [future] = await case.bridge("archive").ask([wire.TimeStamp(imprint, event_time + timedelta(hours=1))])
    assert codes(future) == "event_in_future"
    ahead = case.legal_now() + timedelta(seconds=30)  # a clock that is a little behind will get there
    stamped, behind = await case.bridge("timestamp").ask([wire.TimeStamp(imprint, e) for e in (event_time, ahead)])
    assert isinstance(stamped, wire.Stamped)
    assert codes(behind) == "clock_behind"


async def test_a_package_seal_covers_every_entry(case: BridgeCase) -> None:
    """The signature is over the entries that whoever packs the same proofs makes; a proof that is none is refused."""
    proof = await case.proven(case.draft("A.1"))
    item = case.package_of(proof)
    forged = structs.replace(item, evidences=(structs.replace(proof, signature=bytes(64)),))
    good, bad = await case.bridge("archive").ask([item, forged])
    assert isinstance(good, wire.Sealed), good
    document = seals.assemble(proof.evidence, case.seal_certificate, proof.signature, proof.token)
    lists = (case.description.crl,)
    snapshot = SnapshotContents(
        DELIVERY, item.number, "non_qualified", 1, None, (document,), (case.description.ca,), lists
    )
    info = package_signed_info(package_to_sign(snapshot, item.signing_time), case.seal_certificate)
    verify_raw(case.seal_key.spki, good.signature, info)
    assert codes(bad) == "seal_invalid"


async def test_a_list_is_sealed_as_a_list(case: BridgeCase) -> None:
    """Its purpose is under the signature; entries of anything else, evidences above all, are refused."""
    writer, moment = BatchProofWriter(), case.legal_now()
    writer.start()
    writer.lines([ProvenLine(1, None, REJECTED, None, "email_invalid")])
    writer.describe(BatchHead(DELIVERY, "x", "non_qualified", "x", "x", 1, bytes(32), moment), (), ())
    package = writer.to_sign(moment)
    package_names = ("mimetype", "package.json", "evidence/001-A.1.xml", "META-INF/manifest.xml")
    good, odd = await case.bridge("archive").ask(
        [
            wire.SealList(package.digests, package.signing_time),
            wire.SealList(tuple((name, bytes(32)) for name in package_names), package.signing_time),
        ]
    )
    assert isinstance(good, wire.Sealed), good
    assert package.purpose == LIST_OF_THE_SERVICE
    verify_raw(case.seal_key.spki, good.signature, package_signed_info(package, case.seal_certificate))
    assert codes(odd) == "item_invalid"


async def test_the_addressee_identifies_decides_and_opens(case: BridgeCase) -> None:
    """The whole way of a recipient: login, match, acceptance, keys; what is answered is what the provider said."""
    context, wrap = await case.wrapped()
    tokens = await case.login()
    [identified] = await case.bridge("gateway").ask([proof(tokens, context, wrap)])
    assert isinstance(identified, wire.Identified), identified
    person = identified.person
    assert (identified.match, person.level, person.subject) == ("match", "substantial", "subject-1")
    assert (person.given_names, person.birth_name, person.birth_date) == ("Zoé Anne", "LEFÈVRE", date(1980, 5, 17))
    assert person.method in ("embedded", "demo-identity")  # as the configuration names the provider
    assert json.loads(identified.proof)["id_token"].count(".") == 2
    accepted = await case.decided(identified, "accept")
    assert accepted.person_sha256 == person.person_sha256
    assert identified.ticket is not None
    [released] = await case.bridge("gateway").ask(
        [wire.Release(wrap.wrapped, wrap.key_id, context, identified.ticket, accepted.receipt)]
    )
    assert isinstance(released, wire.Released)
    assert released.keys == KEYS


async def test_keys_are_released_for_nothing_less(case: BridgeCase) -> None:
    """Another context, another letter, a refusal, a forged ticket or receipt, another person: no key comes out."""
    person = await case.identified()
    other = await case.identified(OTHER_DELIVERY)
    accepted, refused = await case.decided(person, "accept"), await case.decided(person, "refuse")
    context, wrap = await case.wrapped()
    other_context, other_wrap = await case.wrapped(OTHER_DELIVERY)
    assert person.ticket is not None and other.ticket is not None
    good = wire.Release(wrap.wrapped, wrap.key_id, context, person.ticket, accepted.receipt)
    wrong = [
        structs.replace(good, context=other_context),
        structs.replace(good, wrapped=other_wrap.wrapped),
        structs.replace(good, wrapped=wrap.wrapped[:-1] + bytes([wrap.wrapped[-1] ^ 1])),
        *(structs.replace(good, wrapped=wrap.wrapped[:length]) for length in range(len(wrap.wrapped))),
        structs.replace(good, wrapped=wrap.wrapped + bytes(32)),
        structs.replace(good, wrapped=wrap.wrapped + bytes(10_000)),
        structs.replace(good, wrap_key_id="mac-1"),
        structs.replace(good, receipt=refused.receipt),
        structs.replace(good, receipt=b""),
        structs.replace(good, ticket=other.ticket),
        structs.replace(good, ticket=accepted.receipt),
        structs.replace(good, context=other_context, wrapped=other_wrap.wrapped),
        *(structs.replace(good, ticket=forged) for forged in forgeries(person.ticket)),
        *(structs.replace(good, receipt=forged) for forged in forgeries(accepted.receipt)),
    ]
    answers = await case.bridge("gateway").ask(wrong)
    assert all(isinstance(answer, wire.Denied) for answer in answers), answers


async def test_keys_are_released_to_who_accepted_what_is_released(case: BridgeCase) -> None:
    """Of one letter: a namesake who identifies after the acceptance gets no key of it, nor does who accepted get those
    of other documents, though each half is the bridge's own word."""
    context, wrap = await case.wrapped()
    person = await case.identified(letter=(context, wrap))
    accepted = await case.decided(person, "accept")
    claims = {"sub": "subject-2"}
    namesake_tokens = await case.login(id_claims=claims, userinfo_claims=claims)
    [namesake] = await case.bridge("gateway").ask([proof(namesake_tokens, context, wrap)])
    assert isinstance(namesake, wire.Identified) and namesake.ticket is not None, namesake
    other_context = letter_context(b"another letter")
    [other_wrap] = await case.bridge("encrypt").ask(
        [wire.DeriveWrap(other_context, (await case.content(b"another letter"),))]
    )
    assert isinstance(other_wrap, wire.Wrapped) and person.ticket is not None
    good = wire.Release(wrap.wrapped, wrap.key_id, context, person.ticket, accepted.receipt)
    other_documents = structs.replace(good, context=other_context, wrapped=other_wrap.wrapped)
    wrong = [structs.replace(good, ticket=namesake.ticket), other_documents]
    answers = await case.bridge("gateway").ask([*wrong, good])
    assert [codes(answer) for answer in answers[:2]] == ["receipt_invalid"] * 2
    assert isinstance(answers[2], wire.Released)


async def test_no_wrap_is_like_another(case: BridgeCase) -> None:
    """The same keys under the same context, again and again: a nonce that came twice under one key would tell both."""
    content = await case.content()
    again = [wire.WrapContent(content.context, KEYS)] * 20
    wraps = [answer.wrapped for answer in await case.bridge("encrypt").ask(again) if isinstance(answer, wire.Wrapped)]
    begin = 2 + len(content.key_id.encode())  # a version and the key's name with its length come first
    assert len({wrapped[begin : begin + 12] for wrapped in [*wraps, content.wrapped]}) == 21


async def test_only_the_addressee_gets_a_ticket(case: BridgeCase) -> None:
    """Another family is no match and gets no ticket; a near match gets none either; nobody without a ticket decides."""
    context, wrap = await case.wrapped()
    bent = ({"family_name": "DURAND", "preferred_username": "", "given_name": "Paul"}, {"given_name": "Paul"})
    items = [proof(await case.login(userinfo_claims=claims), context, wrap) for claims in bent]
    answers = await case.bridge("gateway").ask(items)
    assert [(a.match, a.ticket) for a in answers if isinstance(a, wire.Identified)] == [("no", None), ("near", None)]
    denied = await case.bridge("gateway").ask(
        [decision_item(b"", DELIVERY, "accept"), decision_item(b"x" * 90, DELIVERY, "accept")]
    )
    assert {codes(answer) for answer in denied} == {"ticket_invalid"}


async def test_a_ticket_is_for_one_delivery_and_two_acts(case: BridgeCase) -> None:
    """A ticket decides nothing elsewhere, and the bridge writes no receipt of a handover on demand."""
    person = await case.identified()
    assert person.ticket is not None
    elsewhere, handover = await case.bridge("gateway").ask(
        [decision_item(person.ticket, OTHER_DELIVERY, "accept"), decision_item(person.ticket, DELIVERY, "handover")]
    )
    assert [codes(elsewhere), codes(handover)] == ["ticket_invalid", "item_invalid"]


ATTACKS: dict[str, tuple[Callable[[ProviderTokens], tuple[str, str]], str]] = {
    "not encrypted": (lambda t: (t.signed(t.id_values()), t.userinfo()), "token_not_encrypted"),
    "unsigned, encrypted": (lambda t: (t.encrypted(t.unsigned(t.id_values())), t.userinfo()), "algorithm_refused"),
    "foreign key of the same name": (
        lambda t: (t.encrypted(t.signed(t.id_values(), provider_key())), t.userinfo()),
        "signature_invalid",
    ),
    "key of another name": (
        lambda t: (t.encrypted(t.signed(t.id_values(), provider_key(), "other")), t.userinfo()),
        "key_unknown",
    ),
    "foreign userinfo": (
        lambda t: (t.id_token(), t.encrypted(t.signed(t.userinfo_values(), provider_key()))),
        "signature_invalid",
    ),
    "userinfo missing": (lambda t: (t.id_token(), ""), "userinfo_missing"),
    "cut": (lambda t: (t.id_token()[:-4], t.userinfo()), "token_malformed"),
    "no token at all": (lambda t: ("hello", t.userinfo()), "token_malformed"),
    "altered ciphertext": (lambda t: (altered(t.id_token()), t.userinfo()), "decryption_failed"),
    "too large": (lambda t: ("a" * 40_000, t.userinfo()), "token_too_large"),
}
BENT_CLAIMS: dict[str, tuple[dict[str, object], str]] = {
    "expired": ({"exp": 1_700_000_000}, "token_expired"),
    "old": ({"iat": 1_700_000_000}, "token_not_fresh"),
    "authenticated long ago": ({"auth_time": 1_700_000_000}, "authentication_not_fresh"),
    "another login": ({"nonce": "x"}, "nonce_mismatch"),
    "another provider": ({"iss": "https://evil.example"}, "issuer_mismatch"),
    "another client": ({"aud": "another"}, "audience_mismatch"),
    "two clients": ({"aud": [CLIENT_ID, "another"]}, "audience_mismatch"),
    "low level": ({"acr": "eidas1"}, "level_too_low"),
    "unknown level": ({"acr": "eidas9"}, "level_too_low"),
    "another subject": ({"sub": "somebody"}, "subject_mismatch"),
    "exp as text": ({"exp": "never"}, "claims_malformed"),
}


async def test_a_hostile_login_is_refused_with_its_reason(case: BridgeCase) -> None:
    """Every known trick with tokens gives a stable code and no person."""
    context, wrap = await case.wrapped()
    items, wanted = [], []
    for attack, code in ATTACKS.values():
        tokens = await case.login()
        id_token, userinfo = attack(tokens)
        bent = wire.IdentityTokens(id_token, userinfo)
        items.append(structs.replace(proof(tokens, context, wrap), tokens=bent))
        wanted.append(code)
    for claims, code in BENT_CLAIMS.values():
        items.append(proof(await case.login(id_claims=claims), context, wrap))
        wanted.append(code)
    answers = await case.bridge("gateway").ask(items)
    got = dict(zip([*ATTACKS, *BENT_CLAIMS], map(codes, answers), strict=True))
    assert got == dict(zip([*ATTACKS, *BENT_CLAIMS], wanted, strict=True))


async def test_a_login_counts_only_for_its_session_delivery_and_wrap(case: BridgeCase) -> None:
    """A nonce of another session or delivery, or a made-up one, is refused; so is a context of another wrap."""
    context, wrap = await case.wrapped()
    other_context, other_wrap = await case.wrapped(OTHER_DELIVERY)
    tokens = await case.login()
    good = proof(tokens, context, wrap)
    elsewhere = structs.replace(good, delivery=OTHER_DELIVERY, context=other_context, wrapped=other_wrap.wrapped)
    wrong: list[tuple[wire.VerifyIdentity, str]] = [
        (structs.replace(good, session=bytes(32)), "nonce_invalid"),
        (elsewhere, "nonce_invalid"),
        (structs.replace(good, provider=SECOND), "nonce_invalid"),
        (structs.replace(good, provider="unknown"), "nonce_invalid"),
        (structs.replace(good, nonce="A" * 76), "nonce_invalid"),
        (structs.replace(good, nonce=""), "nonce_invalid"),
        (structs.replace(good, nonce="é"), "nonce_invalid"),
        (structs.replace(good, context=other_context), "context_invalid"),
        (structs.replace(good, wrapped=other_wrap.wrapped), "wrap_invalid"),
        (structs.replace(good, session=b"short"), "item_invalid"),
    ]
    answers = await case.bridge("gateway").ask([item for item, _ in wrong])
    assert [codes(answer) for answer in answers] == [code for _, code in wrong]


async def test_a_second_provider_identifies_in_its_own_way(case: BridgeCase) -> None:
    """Signed with RS256, in the clear, the person in the ID token, levels in words of its own: as its switches say."""
    context, wrap = await case.wrapped()
    claims = {"usage_name": "Martin", "preferred_username": "login-name"}
    item = await case.second_proof(context, wrap, claims)
    [answer] = await case.bridge("gateway").ask([item])
    assert isinstance(answer, wire.Identified) and answer.match == "match", answer
    assert (answer.person.method, answer.person.level, answer.person.usage_name) == (SECOND, "high", "Martin")
    assert json.loads(answer.proof) == {
        "id_token": item.tokens.id_token,
        "keys": [second_key().as_dict(private=False)],
    }


SECOND_BENT: dict[str, tuple[dict[str, object], str]] = {
    "level too low": ({"acr": "urn:second:password"}, "level_too_low"),
    "a level of the other provider": ({"acr": "eidas2"}, "level_too_low"),
    "no level": ({"acr": None}, "level_too_low"),
    "another issuer": ({"iss": ISSUER}, "issuer_mismatch"),
    "no authentication time": ({"auth_time": None}, "claims_malformed"),
}


async def test_a_second_providers_tokens_are_held_to_its_own_switches(case: BridgeCase) -> None:
    """What is right at one provider is wrong at the other: levels, issuer, algorithm, keys, encryption, userinfo."""
    context, wrap = await case.wrapped()
    items = [await case.second_proof(context, wrap, claims) for claims, _ in SECOND_BENT.values()]
    codes_wanted = [code for _, code in SECOND_BENT.values()]
    first, second = await case.login(), await case.second_proof(context, wrap, {})
    values = second_values(second.nonce, datetime.now(UTC))
    for tokens, code in [
        (wire.IdentityTokens(first.signed(values), ""), "algorithm_refused"),  # ES256 by the other provider's key
        (wire.IdentityTokens(first.encrypted(second.tokens.id_token), ""), "token_malformed"),
        (wire.IdentityTokens(second.tokens.id_token, second.tokens.id_token), "userinfo_unexpected"),
        (wire.IdentityTokens(second_signed(values, RSAKey.generate_key(2048)), ""), "signature_invalid"),
    ]:
        items.append(structs.replace(second, tokens=tokens))
        codes_wanted.append(code)
    answers = await case.bridge("gateway").ask(items)
    assert [codes(answer) for answer in answers] == codes_wanted


async def test_a_login_begins_at_a_configured_provider_only(case: BridgeCase) -> None:
    """No nonce for a provider that the bridge does not know."""
    [answer] = await case.bridge("gateway").ask([wire.BeginIdentity(OTHER_DELIVERY, bytes(32), "unknown")])
    assert codes(answer) == "item_invalid"


async def test_a_letter_that_asks_for_more_gets_more(case: BridgeCase) -> None:
    """The level in the authenticated context counts, even above the installation's own minimum."""
    context, wrap = await case.wrapped(level="high")
    substantial = proof(await case.login(), context, wrap)
    high = proof(await case.login(id_claims={"acr": "eidas3"}), context, wrap)
    refused, person = await case.bridge("gateway").ask([substantial, high])
    assert codes(refused) == "level_too_low"
    assert isinstance(person, wire.Identified) and person.person.level == "high"


async def test_a_webhook_is_signed_over_its_id_its_time_and_its_body(case: BridgeCase) -> None:
    """ed25519 by a key of its own, which is published; another id, time or body does not verify."""
    now = int(datetime.now(UTC).timestamp())
    [answer] = await case.bridge("webhook").ask([wire.SignWebhook(DELIVERY, now, b'{"a":1}')])
    assert isinstance(answer, wire.WebhookSigned)
    [key] = [k for k in case.description.keys if k.key_id == answer.key_id]
    assert (key.use, key.certificate) == ("webhook", None)
    assert key.not_before <= datetime.now(UTC) <= key.not_after
    public = load_der_public_key(key.spki)
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(answer.signature, f'{DELIVERY}.{now}.{{"a":1}}'.encode())
    for other in (f'{OTHER_DELIVERY}.{now}.{{"a":1}}', f'{DELIVERY}.{now + 1}.{{"a":1}}', f"{DELIVERY}.{now}.{{}}"):
        with pytest.raises(InvalidSignature):
            public.verify(answer.signature, other.encode())


async def test_a_webhook_of_another_time_or_size_is_not_signed(case: BridgeCase) -> None:
    """Nothing is signed for another day, and nothing that receivers may refuse for its length."""
    now = int(datetime.now(UTC).timestamp())
    items = [
        wire.SignWebhook(DELIVERY, now - 600, b"{}"),
        wire.SignWebhook(DELIVERY, now + 600, b"{}"),
        wire.SignWebhook(DELIVERY, now, bytes(20_001)),
        wire.SignWebhook(DELIVERY, now, bytes(20_000)),
    ]
    answers = await case.bridge("webhook").ask(items)
    assert [codes(a) for a in answers] == ["timestamp_invalid", "timestamp_invalid", "item_invalid", "ok"]


async def test_what_is_not_in_the_table_is_denied(case: BridgeCase) -> None:
    """Each caller kind may ask exactly its own operations; the rest is a fault of the installation."""
    for caller in wire.CALLERS:
        for op, operation in OPERATIONS.items():
            response = await case.client(caller).exchange(op, [wire.encode(wire.Describe())])
            assert (caller, op, response.err == wire.DENIED) == (caller, op, caller not in operation.callers)
    with pytest.raises(Invariant):
        await case.bridge("seal").ask([wire.TimeStamp(bytes(32), None)])


async def test_one_call_asks_one_operation(case: BridgeCase) -> None:
    """Items of two operations in one call are a mistake, and nothing is asked; no items are no call."""
    mixed: list[wire.Item[Any, Any]] = [wire.Describe(), wire.ReportHealth()]
    with pytest.raises(ValueError, match="one operation"):
        await case.bridge("operator").ask(mixed)
    assert await case.bridge("operator").ask(list[wire.Describe]()) == []


def codes(answer: object) -> str:
    return answer.code if isinstance(answer, wire.Denied) else "ok"


def forgeries(sealed: bytes) -> list[bytes]:
    """Every single-bit neighbour at a few places, a cut one, an extended one."""
    flips = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(0, len(sealed), 7)]
    return [*flips, sealed[:-1], sealed + b"\x00", sealed[:-32] + bytes(32)]


def altered(compact: str) -> str:
    head, key, nonce, text, tag = compact.split(".")
    return ".".join((head, key, nonce, ("B" if text[0] == "A" else "A") + text[1:], tag))


def verify_raw(spki: bytes, signature: bytes, data: bytes) -> None:
    public = load_der_public_key(spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
