"""Submitting letters: one transaction, no duplicates, every mistake named, nothing stored on a refusal."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.gateway.sender.conftest import CONSENT, PDF, World, letter, problem, upload, uploaded_letter
from tests.gateway.sender.stored import in_parallel, nothing_stored

pytestmark = pytest.mark.anyio


def base64_of(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()


async def test_a_letter_is_stored_with_its_message(world: World) -> None:
    """202 with Location; delivery, document and exactly one interactive message to `ingest` are there together."""
    client = await world.sender()
    answer = await client.post("/v1/deliveries", json=await uploaded_letter(client, client_ref="r-1"))
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert answer.headers["location"] == f"/v1/deliveries/{body['id']}"
    assert answer.headers["mode"] == body["mode"] == "demonstration"
    assert body["state"] == "submitted"
    assert body["client_ref"] == "r-1"
    assert len(body["number"]) == 14
    assert world.psql("SELECT lane, kind, subject FROM outbox.ingest").strip() == f"0|submitted|{body['id']}"
    assert world.count("qerds.delivery_document") == 1
    for name in (body["id"], body["number"]):
        assert (await client.get(f"/v1/deliveries/{name}")).json() == body


@pytest.mark.parametrize(
    ("given_names", "birth_name", "is_theirs"),
    [
        *(("Jean Pierre", "Martin", True), ("JEAN-PIERRE", "MARTIN", True), ("Jean", "Martin", True)),
        *(("Jean Pierre Marie", "Martin", True), ("Marie", "Martin", False), ("Pierre", "Martin", False)),
        *(("Jean Marie", "Martin", False), ("Jean Pierre", "Durand", False), ("Luc Jean Pierre", "Martin", False)),
    ],
)
async def test_a_consent_serves_for_the_person_who_gave_it(
    world: World, given_names: str, birth_name: str, is_theirs: bool
) -> None:
    """At one address, which a family may share: not for a brother, a wife or a son; a name more or less is the same."""
    client = await world.sender()
    await client.put("/v1/consents/c-1", json=CONSENT)
    body = await uploaded_letter(client, consent_ref="c-1")
    body["recipient"] |= {"kind": "consumer", "given_names": given_names, "birth_name": birth_name}
    answer = await client.post("/v1/deliveries", json=body)
    if is_theirs:
        assert answer.status_code == 202, answer.text
    else:
        problem(answer, 422, "consent_unknown", "/consent_ref")
        assert nothing_stored(world)


async def test_a_policy_demands_the_birth_date_of_consumers(world: World) -> None:
    """Told beforehand, at /v1/me and by validate; a letter without is refused, one with and a professional's pass."""
    client = await world.sender()
    await client.put("/v1/consents/c-1", json=CONSENT)
    body = await uploaded_letter(client, consent_ref="c-1")
    consumer = {**body["recipient"], "kind": "consumer"}
    without, with_date = ({**body, "recipient": {**consumer, **more}} for more in ({}, {"birth_date": "1980-05-17"}))
    told = (await client.get("/v1/me")).json()["consumers"]
    assert (told["birth_date"], told["match_kinds"][0]) == ("optional", "birth_name")
    assert (await client.post("/v1/deliveries/validate", json=without)).json() == {"errors": []}
    world.psql("UPDATE qerds.sender SET birth_date_demanded = true")
    told = (await client.get("/v1/me")).json()["consumers"]
    assert told["birth_date"] == "required"
    assert all("birth_date" in kind for kind in told["match_kinds"])
    [error] = (await client.post("/v1/deliveries/validate", json=without)).json()["errors"]
    assert (error["code"], error["pointer"]) == ("birth_date_required", "/recipient/birth_date")
    answer = await client.post("/v1/deliveries", json=without)
    problem(answer, 422, "birth_date_required", "/recipient/birth_date")
    assert nothing_stored(world)
    for letter_ in (with_date, body):
        assert (await client.post("/v1/deliveries", json=letter_)).status_code == 202


async def test_a_consumers_letter_names_a_consent(world: World) -> None:
    """Without: consent_required; unknown, of another address, withdrawn: said so; recorded: accepted."""
    client = await world.sender()
    body = await uploaded_letter(client)
    body["recipient"]["kind"] = "consumer"
    problem(await client.post("/v1/deliveries", json=body), 422, "consent_required", "/consent_ref")
    body["consent_ref"] = "c-1"
    problem(await client.post("/v1/deliveries", json=body), 422, "consent_unknown", "/consent_ref")
    await client.put("/v1/consents/c-1", json={**CONSENT, "email": "someone@example.org"})
    problem(await client.post("/v1/deliveries", json=body), 422, "consent_unknown", "/consent_ref")
    await client.put("/v1/consents/c-2", json=CONSENT)
    await client.put("/v1/consents/c-3", json=CONSENT)
    await client.post("/v1/consents/c-3/withdraw")
    problem(
        await client.post("/v1/deliveries", json={**body, "consent_ref": "c-3"}),
        422,
        "consent_withdrawn",
        "/consent_ref",
    )
    assert nothing_stored(world)
    assert (await client.post("/v1/deliveries", json={**body, "consent_ref": "c-2"})).status_code == 202


# ------------------------------------------------------------------ what a request alone can tell
Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        (lambda b: b.update(colour="blue"), "field_unknown", "/colour"),
        (lambda b: b.update({"a/b~c": 1}), "field_unknown", "/a~1b~0c"),
        (lambda b: b["recipient"].update(age=5), "field_unknown", "/recipient/age"),
        (lambda b: b["documents"][0].update(inline="x"), "field_unknown", "/documents/0/inline"),
        (lambda b: b.pop("recipient"), "field_invalid", "/recipient"),
        (lambda b: b.update(recipient=[]), "field_invalid", "/recipient"),
        (lambda b: b["recipient"].update(kind="robot"), "field_invalid", "/recipient/kind"),
        (lambda b: b["recipient"].update(kind=5), "field_invalid", "/recipient/kind"),
        (lambda b: b["recipient"].update(language="de"), "field_invalid", "/recipient/language"),
        (lambda b: b["recipient"].update(given_names="a\nb"), "field_invalid", "/recipient/given_names"),
        (lambda b: b["recipient"].update(given_names="a\u202eb"), "field_invalid", "/recipient/given_names"),
        (lambda b: b["recipient"].update(birth_name=" Martin"), "field_invalid", "/recipient/birth_name"),
        (lambda b: b["recipient"].update(birth_name="x" * 201), "field_invalid", "/recipient/birth_name"),
        (lambda b: b["recipient"].update(birth_date="1980-02-30"), "field_invalid", "/recipient/birth_date"),
        (lambda b: b["recipient"].update(birth_date="80-1-1"), "field_invalid", "/recipient/birth_date"),
        (lambda b: b["recipient"].update(organisation={"siren": "1"}), "field_invalid", "/recipient/organisation/name"),
        (lambda b: b["recipient"].update(email="x"), "email_invalid", "/recipient/email"),
        (lambda b: b["recipient"].update(email="a@b.c\r\nBcc: d@e.f"), "email_invalid", "/recipient/email"),
        (lambda b: b["recipient"].update(email="a@[127.0.0.1]"), "email_invalid", "/recipient/email"),
        (lambda b: b["recipient"].update(email="=?utf-8?q?a=0Ab?=@b.fr"), "email_invalid", "/recipient/email"),
        (lambda b: b.update(client_ref="a@b"), "field_invalid", "/client_ref"),
        (lambda b: b.update(client_ref="x" * 65), "field_invalid", "/client_ref"),
        (lambda b: b.update(subject=""), "field_invalid", "/subject"),
        (lambda b: b.update(subject=True), "field_invalid", "/subject"),
        (lambda b: b.update(documents=[]), "field_invalid", "/documents"),
        (lambda b: b.update(documents=b["documents"] * 21), "field_invalid", "/documents"),
        (lambda b: b.update(documents=[5]), "field_invalid", "/documents/0"),
        (lambda b: b["documents"][0].update(upload_id="x"), "field_invalid", "/documents/0/upload_id"),
        (lambda b: b["documents"][0].update(upload_id=str(uuid4())), "upload_unknown", "/documents/0/upload_id"),
        (lambda b: b["documents"][0].update(sha256="00" * 32), "digest_mismatch", "/documents/0/sha256"),
        (lambda b: b["documents"][0].update(sha256="zz" * 32), "field_invalid", "/documents/0/sha256"),
        (lambda b: b["documents"][0].update(file_name="../x"), "field_invalid", "/documents/0/file_name"),
        (lambda b: b["documents"][0].update(file_name=".."), "field_invalid", "/documents/0/file_name"),
        (lambda b: b["documents"][0].update(file_name="a.txt"), "field_invalid", "/documents/0/file_name"),
        (lambda b: b["documents"][0].update(file_name="a.js"), "field_invalid", "/documents/0/file_name"),
        (lambda b: b["recipient"].update(email="jеan@example.org"), "email_invalid", "/recipient/email"),
        (lambda b: b.update(subject="Votre cоntrat"), "field_invalid", "/subject"),
        (lambda b: b.update(subject="a\U000e0041"), "field_invalid", "/subject"),
        (lambda b: b.update(metadata={"a": "b\ue000"}), "field_invalid", "/metadata/a"),
        (lambda b: b.update(metadata={str(n): "x" for n in range(11)}), "field_invalid", "/metadata"),
        (lambda b: b.update(metadata={"a b": "x"}), "field_invalid", "/metadata/a b"),
        (lambda b: b.update(metadata={"a": 5}), "field_invalid", "/metadata/a"),
    ],
)
async def test_bad_letters_are_refused(world: World, change: Change, code: str, pointer: str) -> None:
    """Each wrong field gets its code and pointer, from submit and from validate; nothing is stored."""
    client = await world.sender()
    body = await uploaded_letter(client)
    change(body)
    raw = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    problem(await client.post("/v1/deliveries", content=raw, headers=headers), 422, code, pointer)
    dry = await client.post("/v1/deliveries/validate", content=raw, headers=headers)
    assert (dry.status_code, {e["code"] for e in dry.json()["errors"]} & {code}) == (200, {code})
    assert nothing_stored(world)


async def test_all_mistakes_at_once(world: World) -> None:
    """A letter with five mistakes is told all five in one answer."""
    client = await world.sender()
    body = letter("x", subject="", client_ref="a@b")
    body["recipient"].update(email="x", age=5)
    answer = problem(await client.post("/v1/deliveries", json=body), 422, "field_invalid")
    assert [error["pointer"] for error in answer["errors"]] == [
        "/client_ref",
        "/recipient/email",
        "/recipient/age",
        "/subject",
        "/documents/0/upload_id",
    ]


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b"[]", 400, "malformed_json"),
        (b'{"a":1,"a":2}', 400, "malformed_json"),
        (b'{"a":NaN}', 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b'{"a":' + b"1" * 5000 + b"}", 400, "malformed_json"),
        (b'{"a":"\xff"}', 400, "invalid_encoding"),
        ('{"a":1}'.encode("utf-16"), 400, "invalid_encoding"),
        (b'{"a":"' + b"x" * 2_200_000 + b'"}', 413, "body_too_large"),
    ],
)
async def test_bodies_that_are_no_letter(world: World, raw: bytes, status: int, code: str) -> None:
    """Malformed JSON, other encodings, repeated names, deep nesting, too much: a problem, and nothing stored."""
    client = await world.sender()
    headers = {"Content-Type": "application/json"}
    problem(await client.post("/v1/deliveries", content=raw, headers=headers), status, code)
    assert nothing_stored(world)


async def test_another_content_type(world: World) -> None:
    """A body that is not announced as JSON is not read as JSON."""
    client = await world.sender()
    problem(await client.post("/v1/deliveries", content=b"{}"), 415, "type_not_allowed")


async def test_uploads_of_others_and_expired_ones(world: World) -> None:
    """Another sender's upload is unknown; one that ran out is 410; neither is stored."""
    client, other = await world.sender(), await world.sender("other")
    foreign = (await upload(other)).json()["id"]
    problem(await client.post("/v1/deliveries", json=letter(foreign)), 422, "upload_unknown", "/documents/0/upload_id")
    body = await uploaded_letter(client)
    world.psql("UPDATE qerds.upload SET expires_at = now() - interval '1 s'")
    problem(await client.post("/v1/deliveries", json=body), 410, "upload_expired", "/documents/0/upload_id")
    assert nothing_stored(world)


async def test_names_are_kept_in_one_form(world: World) -> None:
    """A decomposed é is stored composed, an international domain as A-labels, accents in file names as they are."""
    client = await world.sender()
    body = await uploaded_letter(client)
    body["recipient"].update(given_names="Rene\u0301", email="jean@Élysée.example")
    body["documents"][0]["file_name"] = "Re\u0301siliation.pdf"
    assert (await client.post("/v1/deliveries", json=body)).status_code == 202
    row = world.psql("SELECT given_names, recipient_email FROM qerds.delivery").strip()
    assert row == "René|jean@xn--lyse-9oad.example"
    assert world.psql("SELECT file_name FROM qerds.delivery_document").strip() == "Résiliation.pdf"


@pytest.mark.parametrize("valid", [True, False])
async def test_a_trace_is_carried_with_the_letter(world: World, valid: bool) -> None:
    """traceparent stands in the letter's message; a malformed one is left out and refuses nothing."""
    client = await world.sender()
    trace = f"00-{'4b' * 16}-{('ab' if valid else '00') * 8}-01"
    body = await uploaded_letter(client)
    assert (await client.post("/v1/deliveries", json=body, headers={"traceparent": trace})).status_code == 202
    assert world.psql("SELECT coalesce(traceparent, '-') FROM outbox.ingest").strip() == (trace if valid else "-")


# ------------------------------------------------------------------ the same letter again
async def test_the_same_client_ref_is_one_letter(world: World) -> None:
    """The same letter again is 200 replayed, also with the file uploaded anew; another one is 409 naming the first."""
    client = await world.sender()
    body = await uploaded_letter(client, client_ref="r-1")
    first = (await client.post("/v1/deliveries", json=body)).json()
    again = await client.post("/v1/deliveries", json=body)
    assert again.status_code == 200
    assert again.json() == {**first, "replayed": True}
    body["documents"][0]["upload_id"] = (await upload(client)).json()["id"]
    assert (await client.post("/v1/deliveries", json=body)).status_code == 200
    answer = await client.post("/v1/deliveries", json={**body, "subject": "Another"})
    assert problem(answer, 409, "client_ref_conflict", "/client_ref")["existing_id"] == first["id"]
    assert world.count("qerds.delivery") == world.count("outbox.ingest") == 1


async def test_a_client_ref_belongs_to_its_sender(world: World) -> None:
    """Two senders may use the same reference."""
    for name in ("demo", "other"):
        client = await world.sender(name)
        answer = await client.post("/v1/deliveries", json=await uploaded_letter(client, client_ref="r-1"))
        assert answer.status_code == 202


async def test_a_rejected_letter_frees_its_client_ref(world: World) -> None:
    """After a rejection the same reference may be used for a new letter."""
    client = await world.sender()
    body = await uploaded_letter(client, client_ref="r-1")
    first = (await client.post("/v1/deliveries", json=body)).json()
    world.psql("UPDATE qerds.delivery SET state = 'rejected'")
    second = await client.post("/v1/deliveries", json=body)
    assert second.status_code == 202
    assert second.json()["id"] != first["id"]


async def test_a_race_for_one_client_ref(world: World) -> None:
    """Eight identical submissions at once: one 202, the others its replay; one delivery, one message."""
    client = await world.sender()
    body = await uploaded_letter(client, client_ref="race")
    answers = await in_parallel(8, lambda: client.post("/v1/deliveries", json=body))
    assert sorted(a.status_code for a in answers) == [200] * 7 + [202]
    assert len({a.json()["id"] for a in answers}) == 1
    assert world.count("qerds.delivery") == world.count("outbox.ingest") == 1


async def test_a_race_of_different_letters_for_one_client_ref(world: World) -> None:
    """Two different letters at once under one reference: exactly one is accepted, the other is a conflict."""
    client = await world.sender()
    body = await uploaded_letter(client, client_ref="race")
    subjects = iter(["one", "two"])
    answers = await in_parallel(2, lambda: client.post("/v1/deliveries", json={**body, "subject": next(subjects)}))
    assert sorted(a.status_code for a in answers) == [202, 409]
    assert world.count("qerds.delivery") == world.count("outbox.ingest") == 1


# ------------------------------------------------------------------ Idempotency-Key
async def test_an_idempotency_key_repeats_the_answer(world: World) -> None:
    """Same key, same request: the same 202 to the byte, also when the upload has run out meanwhile; one delivery."""
    client = await world.sender()
    body = await uploaded_letter(client)
    headers = {"Idempotency-Key": "k-1"}
    first = await client.post("/v1/deliveries", json=body, headers=headers)
    world.psql("UPDATE qerds.upload SET expires_at = now() - interval '1 s'")
    again = await client.post("/v1/deliveries", json=body, headers=headers)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert world.count("qerds.delivery") == 1


async def test_a_reused_idempotency_key(world: World) -> None:
    """Same key, another request: 422, nothing stored; after 72 hours the key is free again."""
    client = await world.sender()
    body = await uploaded_letter(client)
    headers = {"Idempotency-Key": "k-1"}
    await client.post("/v1/deliveries", json=body, headers=headers)
    other = {**body, "subject": "Another"}
    problem(
        await client.post("/v1/deliveries", json=other, headers=headers),
        422,
        "idempotency_key_reused",
        "Idempotency-Key",
    )
    assert world.count("qerds.delivery") == 1
    world.psql("UPDATE qerds.idempotency SET created_at = now() - interval '73 hours'")
    assert (await client.post("/v1/deliveries", json=other, headers=headers)).status_code == 202


async def test_a_race_for_one_idempotency_key(world: World) -> None:
    """Eight at once: one delivery; the others get its answer, or 409 in flight."""
    client = await world.sender()
    body = await uploaded_letter(client)
    answers = await in_parallel(8, lambda: client.post("/v1/deliveries", json=body, headers={"Idempotency-Key": "k-1"}))
    assert {a.status_code for a in answers} <= {202, 409}
    assert len({a.json()["id"] for a in answers if a.status_code == 202}) == 1
    assert world.count("qerds.delivery") == world.count("outbox.ingest") == 1


async def test_failures_are_not_remembered(world: World) -> None:
    """A refused request leaves its key free: the corrected one is accepted under it."""
    client = await world.sender()
    body = await uploaded_letter(client)
    headers = {"Idempotency-Key": "k-1"}
    problem(await client.post("/v1/deliveries", json={**body, "subject": ""}, headers=headers), 422, "field_invalid")
    assert (await client.post("/v1/deliveries", json=body, headers=headers)).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
async def test_malformed_idempotency_keys(world: World, key: str) -> None:
    """A key is 1 to 255 printable ASCII characters."""
    client = await world.sender()
    headers = {b"Idempotency-Key": key.encode()}
    answer = await client.post("/v1/deliveries", json=await uploaded_letter(client), headers=headers)
    problem(answer, 422, "field_invalid", "Idempotency-Key")
    assert nothing_stored(world)


# ------------------------------------------------------------------ reading
@pytest.mark.parametrize("name", ["x", "00000000000000", "01a0d9c5-0000-7000-8000-000000000000", "a%00b", "٠" * 14])
async def test_names_of_nothing(world: World, name: str) -> None:
    """What is no delivery of the sender is 404, however it is spelt."""
    client = await world.sender()
    for path in ("", "/evidence", "/package", "/evidence/x"):
        problem(await client.get(f"/v1/deliveries/{name}{path}"), 404, "not_found")


async def test_another_senders_letter_is_not_there(world: World) -> None:
    """By id, by number, its evidence, its package, in the list: as if it did not exist."""
    client, other = await world.sender(), await world.sender("other")
    made = (await client.post("/v1/deliveries", json=await uploaded_letter(client))).json()
    for name in (made["id"], made["number"]):
        for path in ("", "/evidence", "/package"):
            problem(await other.get(f"/v1/deliveries/{name}{path}"), 404, "not_found")
    assert (await other.get("/v1/deliveries")).json() == {"items": [], "next_cursor": None}


async def test_a_list_goes_on_where_it_stopped(world: World) -> None:
    """Pages of two give every letter exactly once, in one order; filters hold."""
    client = await world.sender()
    body = await uploaded_letter(client)
    made = [(await client.post("/v1/deliveries", json={**body, "client_ref": f"r-{n}"})).json()["id"] for n in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await client.get("/v1/deliveries", params=query)).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == made
    one = (await client.get("/v1/deliveries", params={"client_ref": "r-3"})).json()["items"]
    assert [item["id"] for item in one] == [made[3]]
    assert (await client.get("/v1/deliveries", params={"state": "deposited"})).json()["items"] == []


async def listed(client: httpx.AsyncClient, **query: str | int) -> list[str]:
    """The client_refs of the whole list, page by page."""
    seen: list[str] = []
    for _ in range(20):
        page = (await client.get("/v1/deliveries", params=query)).json()
        seen += [item["client_ref"] for item in page["items"]]
        if page["next_cursor"] is None:
            return seen
        query["cursor"] = page["next_cursor"]
    raise AssertionError("the list has no end")


async def five_letters(world: World, client: httpx.AsyncClient) -> None:
    """r-0 is submitted, r-1 and r-3 are deposited, the later one first; r-2 is rejected; r-4 is notified."""
    body = await uploaded_letter(client)
    for n in range(5):
        await client.post("/v1/deliveries", json={**body, "client_ref": f"r-{n}"})
    moves = {1: ("deposited", 3, 7), 3: ("deposited", 2, 6), 2: ("rejected", 1, 5), 4: ("notified", 4, 8)}
    for n, (state, settled, changed) in moves.items():
        world.psql(
            f"SET session_replication_role = replica; UPDATE qerds.delivery SET state = '{state}', "
            f"settled_at = submitted_at + interval '{settled} min', "
            f"changed_at = submitted_at + interval '{changed} min' "
            f"WHERE client_ref = 'r-{n}'"
        )


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_a_list_is_in_the_order_of_deposit(world: World, limit: int) -> None:
    """Whatever the page: by deposit, then those without one by rejection or submission; also of one state."""
    client = await world.sender()
    await five_letters(world, client)
    assert await listed(client, limit=limit) == ["r-3", "r-1", "r-4", "r-0", "r-2"]
    assert await listed(client, limit=limit, state="deposited") == ["r-3", "r-1"]
    assert await listed(client, limit=limit, state="rejected") == ["r-2"]
    assert await listed(client, limit=limit, client_ref="r-2") == ["r-2"]
    assert await listed(client, limit=limit, client_ref="r-2", state="submitted") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_a_list_of_changes_is_in_their_order(world: World, limit: int) -> None:
    """What changed last comes last; the other filters hold; what changed at the instant did not change after it."""
    client = await world.sender()
    await five_letters(world, client)
    ever = "2020-01-01T00:00:00Z"
    assert await listed(client, limit=limit, changed_after=ever) == ["r-0", "r-2", "r-3", "r-1", "r-4"]
    assert await listed(client, limit=limit, changed_after=ever, state="deposited") == ["r-3", "r-1"]
    assert await listed(client, limit=limit, changed_after=ever, client_ref="r-4") == ["r-4"]
    assert await listed(client, limit=limit, changed_after=ever, batch_id=str(uuid4())) == []
    [third] = (await client.get("/v1/deliveries", params={"client_ref": "r-3"})).json()["items"]
    assert await listed(client, limit=limit, changed_after=third["changed_at"]) == ["r-1", "r-4"]
    assert await listed(client, limit=limit, changed_after="2199-01-01T00:00:00Z") == []


async def test_a_cursor_holds_while_letters_are_deposited(world: World) -> None:
    """What is deposited behind the reader is not read again; what is deposited before it comes in its place."""
    client = await world.sender()
    await five_letters(world, client)
    page = (await client.get("/v1/deliveries", params={"limit": 2})).json()
    assert [item["client_ref"] for item in page["items"]] == ["r-3", "r-1"]
    for ref, settled in (("r-1", "3 min"), ("r-0", "5 min")):
        world.psql(
            "SET session_replication_role = replica; UPDATE qerds.delivery SET state = 'notified', changed_at = now(), "
            f"settled_at = submitted_at + interval '{settled}' WHERE client_ref = '{ref}'"
        )
    assert await listed(client, limit=2, cursor=page["next_cursor"]) == ["r-4", "r-0", "r-2"]


async def test_every_letter_of_a_reference_is_listed(world: World) -> None:
    """Those that were rejected and the one that was not."""
    client = await world.sender()
    body = await uploaded_letter(client, client_ref="r-1")
    for _ in range(3):
        assert (await client.post("/v1/deliveries", json=body)).status_code == 202
        world.psql("UPDATE qerds.delivery SET state = 'rejected' WHERE state = 'submitted'")
    last = (await client.post("/v1/deliveries", json=body)).json()["id"]
    found = (await client.get("/v1/deliveries", params={"client_ref": "r-1"})).json()["items"]
    assert len(found) == 4
    assert found[-1]["id"] == last
    assert await listed(client, limit=1, client_ref="r-1") == ["r-1"] * 4


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"state": "lost"}, "state"),
        ({"cursor": "!!"}, "cursor"),
        ({"cursor": "eA"}, "cursor"),
        ({"cursor": base64_of("d 0 x")}, "cursor"),
        ({"cursor": base64_of(f"d -1 {uuid4()}")}, "cursor"),
        ({"cursor": base64_of(f"d {'9' * 20} {uuid4()}")}, "cursor"),
        ({"cursor": base64_of(f"c 0 {uuid4()}")}, "cursor"),
        ({"cursor": base64_of(f"d 0 {uuid4()}"), "changed_after": "2026-01-01T00:00:00Z"}, "cursor"),
        ({"changed_after": "2026-01-01"}, "changed_after"),
        ({"changed_after": "2026-01-01T00:00:00"}, "changed_after"),
        ({"batch_id": "x"}, "batch_id"),
        ({"client_ref": "a@b"}, "client_ref"),
        ({"page": "2"}, "page"),
    ],
)
async def test_bad_list_parameters(world: World, query: dict[str, str], pointer: str) -> None:
    """A wrong or unknown parameter is named."""
    client = await world.sender()
    answer = await client.get("/v1/deliveries", params=query)
    problem(answer, 422, "field_unknown" if pointer == "page" else "field_invalid", pointer)


async def test_validate_says_what_submit_would_and_stores_nothing(world: World) -> None:
    """A right letter has no errors; asking stored nothing."""
    client = await world.sender()
    answer = await client.post("/v1/deliveries/validate", json=await uploaded_letter(client))
    assert answer.json() == {"errors": []}
    assert nothing_stored(world)
    assert sha256(PDF).hexdigest() == letter("x")["documents"][0]["sha256"]
