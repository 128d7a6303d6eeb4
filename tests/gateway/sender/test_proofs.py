"""Proofs over the API: complete, only inside the stamped prefix, with ranges, and checkable by the public check."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx
import pytest

from pipeline.delivery.number import with_check_digit
from pipeline.evidence.facts import EvidenceDraft
from pipeline.evidence.form.xades import take_apart
from tests.fakes.letters import CONTENT, DELIVERY, PACKED_AT, life, snapshot
from tests.fakes.pki import Provider
from tests.gateway.sender.conftest import World, problem

pytestmark = pytest.mark.anyio

NUMBER = with_check_digit("4012882340192")  # the check digit of the letter in tests/fakes is made up
OBJECT = "00112233445566778899aabbccddeeff"


@dataclass
class Planted:
    """A refused letter in the database, as the stages would have left it."""

    client: httpx.AsyncClient
    drafts: list[EvidenceDraft]
    documents: list[bytes]
    package: bytes


async def stream(content: bytes) -> AsyncIterator[bytes]:
    yield content


def plant(world: World, provider: Provider, plan: str) -> tuple[list[EvidenceDraft], list[bytes]]:
    sender = world.psql("SELECT sender FROM qerds.sender_client WHERE client_id = 'demo'").strip()
    drafts, documents = life(provider, plan)
    world.psql(
        "INSERT INTO qerds.published_key (key_id, use, spki, certificate, not_before, until) VALUES "
        f"('seal-1', 'seal', '\\x00', '\\x{provider.seal.der.hex()}', now(), now() + interval '1 day');"
        "INSERT INTO qerds.delivery (id, number, sender, request_sha256, lane, mode, config_version, recipient_kind, "
        "recipient_email, given_names, birth_name, language, subject, submitted_at) VALUES "
        f"('{DELIVERY}', '{NUMBER}', '{sender}', sha256('x'), 0, 'non_qualified', 'embedded-1', 'professional', "
        "'zoe@example.net', 'Zoé', 'Lefèvre', 'fr', 'subject', now());"
        "ALTER TABLE qerds.evidence DISABLE TRIGGER guard_decision"  # it was decided long ago
    )
    for d, document in zip(drafts, documents, strict=True):
        parts = take_apart(document).seal
        receipt = "NULL" if d.receipt is None else f"'\\x{d.receipt.hex()}'"
        world.psql(
            "INSERT INTO qerds.evidence (evidence, delivery, event, ordinal, sequence, event_time, canonical, sha256, "
            f"seal_key_id, receipt) VALUES ('{d.evidence}', '{d.delivery}', '{d.event}', 0, {d.sequence}, "
            f"'{d.event_time.isoformat()}', '\\x{d.canonical.hex()}', '\\x{d.sha256.hex()}', 'seal-1', {receipt});"
            "INSERT INTO qerds.evidence_seal (evidence, signature, key_id) VALUES "
            f"('{d.evidence}', '\\x{parts.signature.hex()}', 'seal-1');"
            "INSERT INTO qerds.evidence_token (evidence, token, gen_time) VALUES "
            f"('{d.evidence}', '\\x{(parts.token or b'').hex()}', '{d.event_time.isoformat()}')"
        )
    return drafts, documents


def stamp_through(world: World, count: int, *states: str) -> None:
    for state in states:
        world.psql(f"UPDATE qerds.delivery SET state = '{state}', stamped_through = {count}")


@pytest.fixture
async def planted(world: World) -> Planted:
    provider = Provider.new()
    world.parts.keys.anchor = provider.root.der
    drafts, documents = plant(world, provider, "refused")
    stamp_through(world, 3, "deposited", "notified", "refused")
    package = provider.packed(snapshot(provider, documents), PACKED_AT)
    return Planted(await world.sender(), drafts, documents, package)


async def store_package(world: World, planted: Planted) -> None:
    await world.parts.objects.put(OBJECT, stream(planted.package))
    world.psql(
        "INSERT INTO qerds.snapshot (delivery, snapshot, object, bytes, sha256, sequence_through) VALUES "
        f"('{DELIVERY}', 1, '{OBJECT}', {len(planted.package)}, '\\x{sha256(planted.package).hexdigest()}', 3)"
    )


async def test_a_letter_shows_what_is_stamped(world: World, planted: Planted) -> None:
    """State, times and evidence list follow the stamped prefix; an evidence beyond it is not there."""
    body = (await planted.client.get(f"/v1/deliveries/{NUMBER}")).json()
    assert body["state"] == "refused"
    assert body["decided_at"] > body["notified_at"] > body["deposited_at"]
    listed = (await planted.client.get(f"/v1/deliveries/{DELIVERY}/evidence")).json()
    assert [(e["id"], e["event"], e["sha256"]) for e in listed] == [
        (str(d.evidence), d.event, d.sha256.hex()) for d in planted.drafts
    ]
    world.psql(
        "ALTER TABLE qerds.delivery DISABLE TRIGGER guard_transition; UPDATE qerds.delivery SET stamped_through = 1"
    )
    assert len((await planted.client.get(f"/v1/deliveries/{DELIVERY}/evidence")).json()) == 1
    last = planted.drafts[-1].evidence
    problem(await planted.client.get(f"/v1/deliveries/{DELIVERY}/evidence/{last}"), 404, "not_found")


async def test_an_evidence_is_the_sealed_document(planted: Planted) -> None:
    """The XML that comes over the API is to the byte the one that seal and timestamp made."""
    for d, document in zip(planted.drafts, planted.documents, strict=True):
        answer = await planted.client.get(f"/v1/deliveries/{NUMBER}/evidence/{d.evidence}")
        assert answer.headers["content-type"] == "application/xml"
        assert answer.content == document


async def test_a_rejected_letter_says_why(world: World) -> None:
    """The reason is the one in the sealed A.2."""
    plant(world, Provider.new(), "rejected")
    stamp_through(world, 1, "rejected")
    client = await world.sender()
    body = (await client.get(f"/v1/deliveries/{NUMBER}")).json()
    assert body["state"] == "rejected"
    assert body["reason"] == {"code": "period_expired", "text": "no answer within the period"}


async def test_a_package_that_is_not_there_is_asked_for(world: World, planted: Planted) -> None:
    """404 not_yet with Retry-After, and a message to `archive`; then it comes whole with its digest as ETag."""
    answer = await planted.client.get(f"/v1/deliveries/{NUMBER}/package")
    problem(answer, 404, "not_yet")
    assert int(answer.headers["retry-after"]) > 0
    assert world.psql("SELECT kind, subject FROM outbox.archive").strip() == f"preserve|{DELIVERY}"
    await store_package(world, planted)
    answer = await planted.client.get(f"/v1/deliveries/{NUMBER}/package")
    assert answer.content == planted.package
    assert answer.headers["etag"] == f'"{sha256(planted.package).hexdigest()}"'
    assert int(answer.headers["content-length"]) == len(planted.package)
    shown = (await planted.client.get(f"/v1/deliveries/{NUMBER}")).json()["snapshots"]
    assert shown == [
        {
            "n": 1,
            "sha256": sha256(planted.package).hexdigest(),
            "bytes": len(planted.package),
            "events": ["A.1", "C.1", "C.4"],
        }
    ]


async def test_nothing_stamped_asks_for_no_package(world: World, planted: Planted) -> None:
    """While no evidence is stamped there is nothing to preserve, and `archive` is left alone."""
    world.psql(
        "ALTER TABLE qerds.delivery DISABLE TRIGGER guard_transition; UPDATE qerds.delivery SET stamped_through = 0"
    )
    problem(await planted.client.get(f"/v1/deliveries/{NUMBER}/package"), 404, "not_yet")
    assert world.count("outbox.archive") == 0


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=10-99999999", 10, None)],
)
async def test_ranges_of_a_package(world: World, planted: Planted, header: str, first: int, last: int | None) -> None:
    """An interrupted download goes on with Range."""
    await store_package(world, planted)
    answer = await planted.client.get(f"/v1/deliveries/{NUMBER}/package?snapshot=1", headers={"Range": header})
    assert answer.status_code == 206
    assert answer.content == planted.package[first : None if last is None else last + 1]
    assert answer.headers["content-range"].endswith(f"/{len(planted.package)}")


async def test_ranges_that_do_not_apply(world: World, planted: Planted) -> None:
    """Outside: 416 with the size; not understood, or of another version: the whole; unchanged: 304; unknown n: 404."""
    await store_package(world, planted)
    path = f"/v1/deliveries/{NUMBER}/package"
    answer = await planted.client.get(path, headers={"Range": "bytes=99999999-"})
    problem(answer, 416, "range_invalid")
    assert answer.headers["content-range"] == f"bytes */{len(planted.package)}"
    for headers in ({"Range": "bytes=0-1,3-4"}, {"Range": "bytes=-"}, {"Range": "bytes=0-1", "If-Range": '"x"'}):
        assert (await planted.client.get(path, headers=headers)).status_code == 200
    etag = f'"{sha256(planted.package).hexdigest()}"'
    assert (await planted.client.get(path, headers={"If-None-Match": etag})).status_code == 304
    problem(await planted.client.get(f"{path}?snapshot=2"), 404, "not_found")
    problem(await planted.client.get(f"{path}?snapshot=0"), 422, "field_invalid", "snapshot")


async def test_a_package_that_the_store_lost(world: World, planted: Planted) -> None:
    """A recorded package without its object is unavailable, never an empty or cut download."""
    await store_package(world, planted)
    await world.parts.objects.delete(OBJECT)
    problem(await planted.client.get(f"/v1/deliveries/{NUMBER}/package"), 503, "unavailable")


# ------------------------------------------------------------------ the public check
async def check(world: World, files: list[tuple[str, Any]], data: dict[str, Any] | None = None) -> httpx.Response:
    return await world.anonymous().post("/v1/verify", files=files, data=data)


async def test_a_package_verifies(world: World, planted: Planted) -> None:
    """Without a token: the verdict, its steps, the proven events; with a document that is named or not."""
    proof = ("proof", ("p.asice", planted.package))
    answer = await check(world, [proof])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["kind"], body["verdict"], body["failed_check"]) == ("package", "valid", None)
    assert [e["event"] for e in body["facts"]["events"]] == ["A.1", "C.1", "C.4"]
    assert (await check(world, [proof, ("content", ("a.pdf", CONTENT))])).json()["verdict"] == "valid"
    assert (await check(world, [proof, ("content", ("a.pdf", b"other"))])).json()["verdict"] == "invalid"
    named = {"content_sha256": sha256(CONTENT).hexdigest()}
    assert (await check(world, [proof], named)).json()["verdict"] == "valid"
    french = await world.anonymous().post("/v1/verify", files=[proof], headers={"Accept-Language": "fr"})
    assert french.json()["sentence"] != body["sentence"]


async def test_an_altered_package_does_not_verify(world: World, planted: Planted) -> None:
    """One changed byte: invalid, with the check that failed; bytes that are no proof say so."""
    altered = bytearray(planted.package)
    altered[len(altered) // 2] ^= 1
    body = (await check(world, [("proof", ("p", bytes(altered)))])).json()
    assert body["verdict"] in ("invalid", "not_a_proof")
    assert (await check(world, [("proof", ("p", b"hello"))])).json()["verdict"] == "not_a_proof"


async def test_bad_checks(world: World) -> None:
    """No proof, no multipart, a malformed one, a wrong digest, too much: a problem naming the part."""
    client = world.anonymous()
    problem(await client.post("/v1/verify", json={}), 415, "type_not_allowed")
    problem(await check(world, [("other", ("x", b"y"))]), 422, "field_invalid", "proof")
    problem(
        await check(world, [("proof", ("x", b"y"))], {"content_sha256": "zz"}), 422, "field_invalid", "content_sha256"
    )
    problem(await check(world, [("proof", ("x", b"y"))], {"content": "text"}), 422, "field_invalid", "content")
    broken = {"Content-Type": "multipart/form-data"}
    problem(await client.post("/v1/verify", content=b"x", headers=broken), 422, "field_invalid")
    broken = {"Content-Type": "multipart/form-data; boundary=b"}
    problem(await client.post("/v1/verify", content=b"garbage", headers=broken), 422, "field_invalid")
    huge = {**broken, "Content-Length": str(64 * 1024 * 1024)}
    problem(await client.post("/v1/verify", content=b"x", headers=huge), 413, "body_too_large")


async def test_no_answer_holds_a_reserved_word(world: World, planted: Planted) -> None:
    """Nothing the API says of a letter calls the service by a name it may not bear."""
    await store_package(world, planted)
    answers = [
        await planted.client.get("/v1/me"),
        await planted.client.get(f"/v1/deliveries/{NUMBER}"),
        await planted.client.get("/v1/deliveries"),
        await planted.client.get("/v1/status"),
        await planted.client.get("/docs"),
        await planted.client.get("/v1/openapi.json"),
        await check(world, [("proof", ("p", planted.package))]),
    ]
    for answer in answers:
        said = json.dumps(dict(answer.headers)) + answer.text
        assert "qualif" not in said.lower()
        assert "LRE" not in said
        assert "lettre recommandée" not in said.lower()
