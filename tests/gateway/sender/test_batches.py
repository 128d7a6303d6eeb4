"""/v1/batches: a batch from its opening to its results, and everything a sender may do wrong on the way."""

import csv
import hashlib
import io
import json
import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import anyio
import httpx
import pytest

from gateway.sender import backlog, batch_items
from pipeline.adapters.postgres.database import Database
from pipeline.errors import Transient
from pipeline.stores.batches import NewPart
from tests.drawing import ingest_process
from tests.gateway.sender.conftest import CONSENT, PDF, World, content_digest, letter, problem, upload

pytestmark = pytest.mark.anyio
NDJSON = "application/x-ndjson"


async def opened(client: httpx.AsyncClient, **changes: Any) -> str:
    """A batch whose lines need a client_ref and an address only."""
    shared = letter((await upload(client)).json()["id"])
    del shared["recipient"]["email"]
    body = {"name": "Échéances de mars", "format": "ndjson", "defaults": shared, **changes}
    answer = await client.post("/v1/batches", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/batches/{answer.json()['id']}"
    return str(answer.json()["id"])


def line(number: int, **changes: Any) -> dict[str, Any]:
    return {"client_ref": f"r-{number}", "recipient": {"email": f"person-{number}@example.org"}, **changes}


def ndjson(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


async def put(
    client: httpx.AsyncClient, batch: str, part: int, body: bytes, kind: str = NDJSON, **headers: str
) -> httpx.Response:
    given = {"Content-Type": kind, "Content-Digest": content_digest(body), **headers}
    return await client.put(f"/v1/batches/{batch}/items?part={part}", content=body, headers=given)


def closing(*bodies: bytes, lines: int) -> dict[str, Any]:
    digests = b"".join(hashlib.sha256(body).digest() for body in bodies)
    return {"parts": len(bodies), "lines": lines, "sha256_of_parts": hashlib.sha256(digests).hexdigest()}


async def submitted(client: httpx.AsyncClient, batch: str, *bodies: bytes) -> httpx.Response:
    """All parts, then submit."""
    lines = 0
    for part, body in enumerate(bodies, start=1):
        answer = await put(client, batch, part, body)
        assert answer.status_code == 201, answer.text
        lines += answer.json()["lines"]
    return await client.post(f"/v1/batches/{batch}/submit", json=closing(*bodies, lines=lines))


async def drawn(world: World) -> None:
    async with ingest_process(world.parts.config.database) as process:
        await process.run()
        assert process.log == []


async def results(client: httpx.AsyncClient, batch: str, **query: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/batches/{batch}/results", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == NDJSON
    return [json.loads(text) for text in answer.text.splitlines()]


# ------------------------------------------------------------------ the walk
async def test_a_batch_becomes_deliveries(world: World) -> None:
    """Opened, two parts, submitted, drawn: each line is a delivery with the fields of the line over the defaults."""
    client = await world.sender()
    batch = await opened(client)
    bodies = ndjson(line(1), line(2)), ndjson(line(3, subject="Autre objet"))
    answer = await submitted(client, batch, *bodies)
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "submitted"
    assert answer.json()["counts"] == {"received": 3, "accepted": 0, "rejected": 0, "unprocessed": 3}
    await drawn(world)
    shown = (await client.get(f"/v1/batches/{batch}")).json()
    assert shown["state"] == "processing"
    assert shown["counts"] == {"received": 3, "accepted": 3, "rejected": 0, "unprocessed": 0}
    assert shown["deliveries_by_state"] == {"submitted": 3}
    rows = await results(client, batch)
    assert [(row["line"], row["client_ref"], row["status"]) for row in rows] == [
        (1, "r-1", "accepted"),
        (2, "r-2", "accepted"),
        (3, "r-3", "accepted"),
    ]
    listed = (await client.get("/v1/deliveries", params={"batch_id": batch})).json()["items"]
    assert {(d["id"], d["number"]) for d in listed} == {(row["delivery_id"], row["number"]) for row in rows}
    assert {d["batch_id"] for d in listed} == {batch}
    told = world.psql("SELECT lane, subject FROM qerds.delivery WHERE client_ref = 'r-3'").strip()
    assert told == "2|Autre objet"


async def test_lines_that_cannot_be_letters_are_told_and_the_others_go_on(world: World) -> None:
    """Each rejected line has its own problem with code, field and remedy; nothing holds the others up."""
    client = await world.sender()
    batch = await opened(client)
    nobody = str(uuid4())
    document = {"file_name": "a.pdf", "sha256": hashlib.sha256(PDF).hexdigest()}
    bad: list[tuple[str, dict[str, Any]]] = [
        ("email_invalid", line(1, recipient={"email": "nobody"})),
        ("field_invalid", line(2, subject=7)),
        ("field_unknown", line(3, subjet="x")),
        ("field_invalid", {**line(4), "client_ref": "a@b"}),
        ("consent_required", line(5, recipient={"email": "a@example.org", "kind": "consumer"})),
        ("consent_unknown", line(6, consent_ref="none")),
        ("upload_unknown", line(7, documents=[{"upload_id": nobody, **document}])),
        ("field_invalid", line(8, documents=[])),
        ("field_invalid", line(9, metadata={"a": "\u0007"})),
        ("field_invalid", line(10, recipient={"email": None, "usage_name": 3, "birth_date": "31/12/1980"})),
    ]
    good = [line(number) for number in range(100, 110)]
    lines = [one for pair in zip([b for _, b in bad], good, strict=True) for one in pair]
    await submitted(client, batch, ndjson(*lines))
    await drawn(world)
    rows = await results(client, batch)
    assert [row["line"] for row in rows] == list(range(1, 21))
    assert [row["status"] for row in rows] == ["rejected", "accepted"] * 10
    assert [row["problem"]["code"] for row in rows[::2]] == [code for code, _ in bad]
    for row in rows[::2]:
        assert row["problem"]["remedy"]
        assert row["problem"]["errors"]
        assert "delivery_id" not in row
    assert [row["line"] for row in await results(client, batch, status="rejected")] == list(range(1, 21, 2))
    assert len(await results(client, batch, status="accepted")) == 10


async def test_a_policy_holds_for_the_lines_of_a_batch(world: World) -> None:
    """As validate says beforehand: a consumer's line without the birth date is rejected, others pass."""
    client = await world.sender()
    await client.put("/v1/consents/c-1", json=CONSENT)
    batch = await opened(client)
    world.psql("UPDATE qerds.sender SET birth_date_demanded = true")
    consumer = {"kind": "consumer", **{name: CONSENT[name] for name in ("email", "given_names", "birth_name")}}
    lines = [
        line(1, recipient=consumer, consent_ref="c-1"),
        line(2, recipient={**consumer, "birth_date": "1980-05-17"}, consent_ref="c-1"),
        line(3),
    ]
    await submitted(client, batch, ndjson(*lines))
    await drawn(world)
    rows = await results(client, batch)
    assert [row["status"] for row in rows] == ["rejected", "accepted", "accepted"]
    assert rows[0]["problem"]["code"] == "birth_date_required"


async def test_lines_that_would_poison_a_database(world: World) -> None:
    """Names and texts that no database takes: rejected lines, told with what can be written; never a dead letter."""
    client = await world.sender()
    batch = await opened(client)
    lines = [
        b'{"client_ref": "r-1", "\\u0000name\\uffff": 1}',
        b'{"client_ref": "r-2", "recipient": {"email": "a@example.org", "given_names": "\\u0000"}}',
        b'{"client_ref": "r-3", "metadata": {"\\ufffe": "x"}, "consent_ref": "\\u0000"}',
        b'{"client_ref": "r-4\\u0000", "documents": [{"inline_base64": "eA==", "file_name": "\\u0000"}]}',
        b'{"client_ref": "r-5", "subject": ' + b"1" * 5000 + b"}",
        b'{"client_ref": "r-6", "metadata": {"\\udfff": "x"}}',
        b'{"client_ref": "r-7", "subject": "\\ud800"}',
        json.dumps(line(8)).encode(),
    ]
    await submitted(client, batch, b"\n".join(lines[:4] + lines[7:]))
    await drawn(world)
    rows = await results(client, batch)
    assert [row["status"] for row in rows] == ["rejected"] * 4 + ["accepted"]
    assert "/\ufffdname\ufffd" in {error["pointer"] for error in rows[0]["problem"]["errors"]}
    assert (await client.get(f"/v1/batches/{batch}/results", params={"format": "csv"})).status_code == 200
    for unreadable in lines[4:7]:  # a number without end, half of a surrogate pair
        problem(await put(client, await opened(client), 1, unreadable), 422, "part_malformed")


async def test_mended_results_give_the_missing_ones_and_no_doubles(world: World) -> None:
    """The whole file again, with the bad lines mended: accepted lines are replayed, and only those are new."""
    client = await world.sender()
    first = await opened(client)
    defaults = json.loads(world.psql(f"SELECT defaults FROM qerds.batch WHERE id = '{first}'"))
    await submitted(client, first, ndjson(line(1), line(2, subject=7), line(3)))
    await drawn(world)
    again = await opened(client, defaults=defaults)
    await submitted(client, again, ndjson(line(1), line(2), line(3, subject="changed")))
    await drawn(world)
    rows = await results(client, again)
    assert [row["status"] for row in rows] == ["accepted", "accepted", "rejected"]
    assert [row.get("replayed") for row in rows] == [True, None, None]
    assert rows[2]["problem"]["code"] == "client_ref_conflict"
    assert rows[0]["delivery_id"] == (await results(client, first))[0]["delivery_id"]
    assert world.count("qerds.delivery") == 3


async def test_one_client_ref_twice_in_one_batch(world: World) -> None:
    """The same letter is replayed, another one is a conflict, also within one draw."""
    client = await world.sender()
    batch = await opened(client)
    await submitted(client, batch, ndjson(line(1), line(1), line(1, subject="another"), line(2)))
    await drawn(world)
    rows = await results(client, batch)
    assert [row["status"] for row in rows] == ["accepted", "accepted", "rejected", "accepted"]
    assert rows[1]["replayed"] is True
    assert rows[0]["delivery_id"] == rows[1]["delivery_id"]
    assert world.count("qerds.delivery") == 2


async def test_csv_with_the_sender_s_own_columns(world: World) -> None:
    """A mapped CSV draws like NDJSON; results come as CSV when they are asked for."""
    client = await world.sender()
    mapping = {"Réf": "client_ref", "Courriel": "recipient.email", "Objet": "subject"}
    batch = await opened(client, format="csv", csv_mapping=mapping)
    body = 'Réf;Courriel;Montant;Objet\nr-1;a@example.org;12,5;"Un; deux"\nr-2;;;\n'.encode()
    answer = await put(client, batch, 1, body, "text/csv")
    assert answer.json()["lines"] == 2
    await client.post(f"/v1/batches/{batch}/submit", json=closing(body, lines=2))
    await drawn(world)
    answer = await client.get(f"/v1/batches/{batch}/results", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["line"], row["status"], row["problem_code"]) for row in rows] == [
        ("1", "accepted", ""),
        ("2", "rejected", "field_invalid"),
    ]
    assert rows[1]["problem_fields"] == "/recipient/email"
    assert world.psql("SELECT subject FROM qerds.delivery").strip() == "Un; deux"
    problem(await put(client, batch, 2, body), 415, "type_not_allowed")


# ------------------------------------------------------------------ parts
async def test_a_part_is_stored_once(world: World) -> None:
    """The same body again is 200; another one under the same number is a conflict, and the first one stays."""
    client = await world.sender()
    batch = await opened(client)
    body, other = ndjson(line(1), line(2)), ndjson(line(3))
    assert (await put(client, batch, 1, body)).status_code == 201
    again = await put(client, batch, 1, body)
    assert (again.status_code, again.json()["lines"]) == (200, 2)
    problem(await put(client, batch, 1, other), 409, "part_conflict")
    headers = {"Content-Digest": content_digest(body)}
    problem(await put(client, batch, 1, other, **headers), 422, "digest_mismatch", "Content-Digest")
    assert world.count("qerds.batch_line") == 2
    assert world.count("qerds.batch_intake") == 0


async def test_one_part_sent_twice_at_once(world: World) -> None:
    """A client sends again while its first request is still at work: stored once, and nothing is left over."""
    client = await world.sender()
    batch = await opened(client)
    body = ndjson(*[line(n) for n in range(5000)])
    statuses: list[int] = []

    async def send() -> None:
        statuses.append((await put(client, batch, 1, body)).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(send)
    assert sorted(statuses) == [200, 200, 201]
    assert (world.count("qerds.batch_line"), world.count("qerds.batch_intake")) == (5000, 0)


FIRST = len(ndjson(line(1)))


@pytest.mark.parametrize(
    ("body", "status", "code", "at_line", "offset"),
    [
        (ndjson(line(1)) + b'{"client_ref": "\xff"}\n', 422, "part_malformed", 2, FIRST),
        (ndjson(line(1)) + b"[]\n", 422, "part_malformed", 2, FIRST),
        (ndjson(line(1)) + b"\n", 422, "part_malformed", 2, FIRST),
        (ndjson(line(1)) + b'{"subject":"' + b"x" * 65536 + b'"}', 413, "line_too_long", 2, FIRST),
        (b"", 422, "part_malformed", 1, 0),
    ],
)
async def test_a_broken_part_leaves_nothing_and_spoils_nothing(
    world: World, body: bytes, status: int, code: str, at_line: int, offset: int
) -> None:
    """It is refused as a whole, with line and byte offset; parts that came before stay."""
    client = await world.sender()
    batch = await opened(client)
    await put(client, batch, 1, ndjson(line(7)))
    told = problem(await put(client, batch, 2, body), status, code)
    assert (told["line"], told["byte_offset"]) == (at_line, offset)
    shown = (await client.get(f"/v1/batches/{batch}")).json()
    assert (shown["parts"], shown["counts"]["received"]) == (1, 1)
    assert (world.count("qerds.batch_line"), world.count("qerds.batch_intake")) == (1, 0)


async def test_a_part_with_another_digest_leaves_nothing(world: World) -> None:
    """What arrived is not what was sent: nothing is kept."""
    client = await world.sender()
    batch = await opened(client)
    headers = {"Content-Digest": content_digest(b"x")}
    problem(await put(client, batch, 1, ndjson(line(1)), **headers), 422, "digest_mismatch", "Content-Digest")
    problem(await put(client, batch, 1, b"{}\n", **{"Content-Digest": ""}), 422, "field_invalid", "Content-Digest")
    problem(await put(client, batch, 0, b"{}\n"), 422, "field_invalid", "part")
    assert world.count("qerds.batch_line") == 0


@pytest.mark.timeout(90)  # 100,000 lines, each slowed by the tracing of memory: some 12 s on a quiet machine
async def test_a_part_of_any_length_takes_little_memory(world: World) -> None:
    """32 MiB pass in some slices; lines stand in the table a few thousand at a time."""
    client = await world.sender()
    batch = await opened(client)
    one = json.dumps(line(1, subject="x" * 180)).encode() + b"\n"
    piece = one * (65536 // len(one))
    count = 32 * 1024 * 1024 // len(piece)
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(piece)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield piece

    value = f"sha-256=:{b64encode(digest.digest()).decode()}:"
    tracemalloc.start()
    try:
        answer = await client.put(
            f"/v1/batches/{batch}/items?part=1",
            content=pieces(),
            headers={"Content-Type": NDJSON, "Content-Digest": value},
        )
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 201, answer.text
    assert answer.json()["lines"] == world.count("qerds.batch_line") == count * (65536 // len(one))
    assert peak_bytes < 24 * 1024 * 1024
    problem(await put(client, batch, 2, b"x" * (batch_items.PART_BYTES_MAX + 1)), 413, "body_too_large")


# ------------------------------------------------------------------ submit, cancel
async def test_submit_says_what_was_sent(world: World) -> None:
    """Counts and digests that are not those of the stored parts: nothing is drawn, and the answer tells."""
    client = await world.sender()
    batch = await opened(client)
    body = ndjson(line(1), line(2))
    await put(client, batch, 1, body)
    right = closing(body, lines=2)
    address = f"/v1/batches/{batch}/submit"
    problem(await client.post(address, json={**right, "parts": 2}), 422, "field_invalid", "/parts")
    problem(await client.post(address, json={**right, "lines": 3}), 422, "field_invalid", "/lines")
    wrong = {**right, "sha256_of_parts": "ab" * 32}
    problem(await client.post(address, json=wrong), 422, "digest_mismatch", "/sha256_of_parts")
    problem(await client.post(address, json={**right, "parts": True}), 422, "field_invalid", "/parts")
    await put(client, batch, 3, ndjson(line(3)))
    gap = closing(body, ndjson(line(3)), lines=3)
    problem(await client.post(address, json=gap), 422, "field_invalid", "/parts")
    assert world.count("outbox.ingest") == 0


async def test_a_batch_is_submitted_once(world: World) -> None:
    """Twice is already_submitted; parts and validation are over; the batch is drawn once."""
    client = await world.sender()
    batch = await opened(client)
    body = ndjson(line(1))
    assert (await submitted(client, batch, body)).status_code == 202
    told = problem(
        await client.post(f"/v1/batches/{batch}/submit", json=closing(body, lines=1)), 409, "already_submitted"
    )
    assert told["state"] == "submitted"
    problem(await put(client, batch, 2, ndjson(line(2))), 409, "batch_not_open")
    problem(await client.post(f"/v1/batches/{batch}/validate"), 409, "batch_not_open")
    assert (await put(client, batch, 1, body)).status_code == 200  # a repetition that was under way
    assert world.count("outbox.ingest") == 1


async def test_a_batch_that_was_not_submitted_in_time(world: World) -> None:
    """410 for whatever would change it; it can still be looked at, and its lines go a day later."""
    client = await world.sender()
    batch = await opened(client)
    body = ndjson(line(1))
    await put(client, batch, 1, body)
    world.psql("UPDATE qerds.batch SET expires_at = now() - interval '1 s'")
    problem(await put(client, batch, 2, body), 410, "batch_expired")
    problem(await client.post(f"/v1/batches/{batch}/submit", json=closing(body, lines=1)), 410, "batch_expired")
    problem(await client.post(f"/v1/batches/{batch}/validate"), 410, "batch_expired")
    assert (await client.get(f"/v1/batches/{batch}")).json()["state"] == "open"
    await world.parts.batches.forget_expired()
    assert world.count("qerds.batch_line") == 1
    world.psql("UPDATE qerds.batch SET expires_at = now() - interval '25 h'")
    await world.parts.batches.forget_expired()
    assert (world.count("qerds.batch_line"), world.count("qerds.batch_part")) == (0, 0)


async def test_lines_of_a_body_that_broke_off_are_dropped(world: World) -> None:
    """A gateway that died in the middle of a body leaves lines without a part: they count for nothing, then go."""
    client = await world.sender()
    batch = await opened(client)
    intake = uuid4()
    await world.parts.batches.begin_intake(intake, UUID(batch))
    await world.parts.batches.add_lines(intake, [(n, b"{}") for n in range(1, 50)])
    assert (await client.get(f"/v1/batches/{batch}")).json()["counts"]["received"] == 0
    await world.parts.batches.forget_expired()
    assert world.count("qerds.batch_line") == 49
    world.psql("UPDATE qerds.batch_intake SET began_at = now() - interval '2 h'")
    await world.parts.batches.forget_expired()
    assert (world.count("qerds.batch_line"), world.count("qerds.batch_intake")) == (0, 0)


async def test_many_parts_of_a_batch_that_ran_out_go_in_one_round(world: World) -> None:
    """However the sender cut it: what is written of people in its lines is not kept for weeks more."""
    client = await world.sender()
    batch = await opened(client)
    await put(client, batch, 1, ndjson(line(1)))
    world.psql(
        "INSERT INTO qerds.batch_part (batch, part, intake, sha256, bytes, lines) "
        "SELECT batch, n, gen_random_uuid(), sha256, bytes, 1 FROM qerds.batch_part, generate_series(2, 100) n;"
        "INSERT INTO qerds.batch_line (intake, line, body) SELECT intake, 1, '{}' FROM qerds.batch_part WHERE part > 1;"
        "UPDATE qerds.batch SET expires_at = now() - interval '25 h'"
    )
    await world.parts.batches.forget_expired()
    assert (world.count("qerds.batch_line"), world.count("qerds.batch_intake")) == (0, 0)


async def test_a_body_that_is_dropped_as_broken_does_not_become_a_part(world: World) -> None:
    """Its process stood still for an hour and goes on while another one removes its lines: none of both, never half."""
    client = await world.sender()
    batch, intake = UUID(await opened(client)), uuid4()
    store, sender = world.parts.batches, UUID(world.psql("SELECT sender FROM qerds.batch").strip())
    await store.begin_intake(intake, batch)
    await store.add_lines(intake, [(n, b"{}") for n in range(1, 50)])
    world.psql("UPDATE qerds.batch_intake SET began_at = now() - interval '2 h'")
    gateway = Database(world.parts.config.database.dsn("qerds_gateway"))
    assert [r["intake"] for r in await gateway.fetch("claim_broken_intakes", 20)] == [intake]
    await gateway.fetch("drop_lines", intake, 0, 20)  # and before the next ones go, it has come to its end:
    await store.add_lines(intake, [(50, b"{}")])
    with pytest.raises(Transient):
        await store.add_part(sender, NewPart(batch, 1, intake, bytes(32), 150, 50), None)
    await gateway.close()
    assert [world.count(f"qerds.batch_{table}") for table in ("line", "intake", "part")] == [0, 0, 0]


async def test_what_a_cancelled_batch_says_of_people_goes_after_a_week(world: World) -> None:
    """Its lines are still counted and told as unprocessed; what stood in them is gone, from the last to the first."""
    client = await world.sender()
    batch = await opened(client)
    await submitted(client, batch, ndjson(line(1), line(2)), ndjson(line(3), line(4)), ndjson(line(5)))
    world.psql(
        "UPDATE qerds.batch SET drawn_part = 1, drawn_line = 1; DELETE FROM qerds.batch_line l "
        "USING qerds.batch_part p WHERE p.part = 1 AND l.intake = p.intake AND l.line = 1"
    )
    await client.post(f"/v1/batches/{batch}/cancel")
    await world.parts.batches.forget_expired()
    assert [row["client_ref"] for row in await results(client, batch)] == ["r-2", "r-3", "r-4", "r-5"]
    world.psql("UPDATE qerds.batch SET completed_at = now() - interval '8 d'")
    gateway = Database(world.parts.config.database.dsn("qerds_gateway"))
    await gateway.fetch("empty_lines", UUID(batch), 99, 0, 1)  # killed after the first step
    await gateway.close()
    assert [row["client_ref"] for row in await results(client, batch)] == ["r-2", "r-3", "r-4", None]
    await world.parts.batches.forget_expired()
    assert world.psql("SELECT sum(length(body)) FROM qerds.batch_line").strip() == "0"
    told = await results(client, batch)
    assert [(row["line"], row["client_ref"], row["status"]) for row in told] == [
        (n, None, "unprocessed") for n in (2, 3, 4, 5)
    ]
    assert (await client.get(f"/v1/batches/{batch}")).json()["counts"]["received"] == 5


async def test_a_cancelled_batch_is_drawn_no_further(world: World) -> None:
    """Lines that were not drawn are unprocessed, and stay so; a second cancel changes nothing."""
    client = await world.sender()
    batch = await opened(client)
    await submitted(client, batch, ndjson(line(1)), ndjson(line(2), line(3)))
    async with ingest_process(world.parts.config.database) as process:
        await process.turn()
        answer = await client.post(f"/v1/batches/{batch}/cancel")
        assert answer.json()["state"] == "cancelled"
        await process.run()
    assert (await client.post(f"/v1/batches/{batch}/cancel")).status_code == 200
    rows = await results(client, batch)
    assert [(row["line"], row["client_ref"], row["status"]) for row in rows] == [
        (1, "r-1", "accepted"),
        (2, "r-2", "unprocessed"),
        (3, "r-3", "unprocessed"),
    ]
    assert [row["line"] for row in await results(client, batch, status="unprocessed")] == [2, 3]
    counts = (await client.get(f"/v1/batches/{batch}")).json()["counts"]
    assert counts == {"received": 3, "accepted": 1, "rejected": 0, "unprocessed": 2}
    problem(await client.post(f"/v1/batches/{batch}/submit", json=closing(b"", lines=1)), 409, "batch_not_open")
    assert world.count("outbox.message") == 1  # of the one that was drawn


# ------------------------------------------------------------------ validate, opening, lists
async def test_validate_tells_what_lines_would_become(world: World) -> None:
    """The same results, before anything is drawn; nothing changes."""
    client = await world.sender()
    batch = await opened(client)
    await put(client, batch, 1, ndjson(line(1), line(2, subject=7)))
    await put(client, batch, 2, ndjson(line(3, recipient={"email": "nobody"})))
    answer = await client.post(f"/v1/batches/{batch}/validate")
    assert answer.status_code == 200, answer.text
    rows = [json.loads(text) for text in answer.text.splitlines()]
    assert [(row["line"], row["status"]) for row in rows] == [(1, "accepted"), (2, "rejected"), (3, "rejected")]
    assert [row["problem"]["code"] for row in rows[1:]] == ["field_invalid", "email_invalid"]
    assert world.count("qerds.batch_line") == 3
    assert world.count("qerds.delivery") == 0


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"name": ""}, "field_invalid", "/name"),
        ({"format": "xlsx"}, "field_invalid", "/format"),
        ({"csv_mapping": {"A": "client_ref"}}, "field_invalid", "/csv_mapping"),
        ({"format": "csv", "csv_mapping": {"A": "nonsense"}}, "field_invalid", "/csv_mapping"),
        ({"format": "csv", "csv_mapping": {"A": "subject", "B": "subject"}}, "field_invalid", "/csv_mapping"),
        ({"defaults": {"client_ref": "x"}}, "field_unknown", "/defaults/client_ref"),
        ({"defaults": {"subject": 7}}, "field_invalid", "/defaults/subject"),
        ({"defaults": {"recipient": {"kind": "robot"}}}, "field_invalid", "/defaults/recipient/kind"),
        ({"colour": "red"}, "field_unknown", "/colour"),
    ],
)
async def test_a_batch_that_cannot_be_opened(world: World, changes: dict[str, Any], code: str, pointer: str) -> None:
    """What is wrong whatever the lines say is told at once."""
    client = await world.sender()
    answer = await client.post("/v1/batches", json={"name": "a", "format": "ndjson", **changes})
    problem(answer, 422, code, pointer)
    assert world.count("qerds.batch") == 0


async def test_batches_are_their_sender_s(world: World) -> None:
    """Another sender's batch is not there, whatever is asked; the list shows one's own, page by page."""
    client, other = await world.sender(), await world.sender("other")
    mine = [await opened(client) for _ in range(3)]
    for method, path in [
        ("GET", ""),
        ("PUT", "/items?part=1"),
        ("POST", "/validate"),
        ("POST", "/submit"),
        ("POST", "/cancel"),
        ("GET", "/results"),
    ]:
        problem(await other.request(method, f"/v1/batches/{mine[0]}{path}"), 404, "not_found")
    assert (await other.get("/v1/batches")).json() == {"items": [], "next_cursor": None}
    first = (await client.get("/v1/batches", params={"limit": "2"})).json()
    second = (await client.get("/v1/batches", params={"cursor": first["next_cursor"]})).json()
    assert [b["id"] for b in [*first["items"], *second["items"]]] == mine
    assert second["next_cursor"] is None
    problem(await client.get("/v1/batches/none"), 404, "not_found")


@pytest.mark.parametrize("number", ["000001000999999", "00000100099999999999", "0", "-1", "1e3", "\u0661"])
async def test_numbers_that_look_small_by_their_beginning(world: World, number: str) -> None:
    """A page that holds everything, or a number that no column holds, is no number here, whatever its first digits."""
    client = await world.sender()
    batch = await opened(client)
    problem(await client.get("/v1/batches", params={"limit": number}), 422, "field_invalid", "limit")
    problem(await client.get("/v1/events", params={"limit": number}), 422, "field_invalid", "limit")
    body = ndjson(line(1))
    answer = await client.put(
        f"/v1/batches/{batch}/items",
        params={"part": number},
        content=body,
        headers={"Content-Type": "application/x-ndjson", "Content-Digest": content_digest(body)},
    )
    problem(answer, 422, "field_invalid", "part")


async def test_too_much_at_once(world: World) -> None:
    """A deep mailbox: 429 with Retry-After; a letter on its own only when those are too many. Nothing is stored."""
    client = await world.sender()
    batch, body = await opened(client), ndjson(line(1))
    await put(client, batch, 1, body)
    single = letter((await upload(client)).json()["id"])
    fill = (
        "INSERT INTO outbox.ingest (lane, kind, subject) "
        "SELECT {}, 'draw', gen_random_uuid() FROM generate_series(1, {})"
    )
    world.psql(fill.format(2, backlog.WAITING_MAX))
    client = await world.sender()  # of a gateway that has not asked within the second
    answer = await client.post(f"/v1/batches/{batch}/submit", json=closing(body, lines=1))
    problem(answer, 429, "backlog_full")
    assert int(answer.headers["retry-after"]) >= 1
    problem(await put(client, batch, 2, body), 429, "backlog_full")
    assert (await client.post("/v1/deliveries", json=single)).status_code == 202
    world.psql(fill.format(0, backlog.WAITING_MAX))
    client = await world.sender()
    problem(await client.post("/v1/deliveries", json=single), 429, "backlog_full")
    assert world.count("qerds.batch_line") == 1


async def test_letters_that_pile_up_at_a_later_stage_hold_back_the_gateway(world: World) -> None:
    """`ingest` hands letters on as fast as they come: else they would wait at the slowest stage, without end."""
    client = await world.sender()
    single = letter((await upload(client)).json()["id"])
    fill = (
        "INSERT INTO outbox.timestamp (lane, kind, subject, evidence) "
        "SELECT {}, 'sealed', gen_random_uuid(), gen_random_uuid() FROM generate_series(1, {})"
    )
    world.psql(fill.format(2, backlog.WAITING_MAX))
    assert (await client.post("/v1/deliveries/validate", json=single)).status_code == 200
    client = await world.sender()
    assert (await client.post("/v1/deliveries", json=single)).status_code == 202  # bulk does not hold people back
    world.psql(fill.format(0, backlog.WAITING_MAX))
    client = await world.sender()
    problem(await client.post("/v1/deliveries", json=single | {"client_ref": "another"}), 429, "backlog_full")


# ------------------------------------------------------------------ contents in lines
async def test_contents_in_lines_never_reach_the_database(world: World) -> None:
    """They become uploads of one pack; the stored line names them, and a letter of it is drawn like any other."""
    client = await world.sender()
    batch = await opened(client)
    canary = "CANARY-in-a-line"
    contents = [f"{canary} {number}".encode() for number in (1, 2)]
    lines = [line(number, documents=[inline(content)]) for number, content in enumerate(contents, start=1)]
    lines.append(line(3, documents=[{**inline(b"x"), "inline_base64": "%%% " + canary}]))
    lines.append(line(4, documents=[{**inline(b"y"), "sha256": "ab" * 32}]))
    await submitted(client, batch, ndjson(*lines))
    bodies = world.psql("SELECT string_agg(convert_from(body, 'UTF8'), E'\\n') FROM qerds.batch_line")
    assert canary not in bodies
    assert b64encode(contents[0]).decode() not in bodies
    assert (world.count("qerds.pack"), world.count("qerds.upload")) == (1, 4)  # three inline, one of the defaults
    await drawn(world)
    rows = await results(client, batch)
    assert [row["status"] for row in rows] == ["accepted", "accepted", "rejected", "rejected"]
    assert rows[2]["problem"]["errors"][0]["pointer"] == "/documents/0/inline_base64"
    assert rows[3]["problem"]["code"] == "digest_mismatch"


def inline(content: bytes) -> dict[str, str]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"inline_base64": b64encode(content).decode(), "file_name": "lettre.txt", "sha256": sha256}
