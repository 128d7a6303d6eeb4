"""/v1/uploads/{id}: a file in parts; what is kept, what is missing, what is refused."""

import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any
from uuid import UUID

import anyio
import anyio.lowlevel
import httpx
import pytest

from pipeline.content.envelope import SUITE, Decryptor, associated_data
from pipeline.content.parts import PART_BYTES_MIN, PARTS_MAX, part_bytes_of, part_length, parts_of
from pipeline.formats.context import intake_info
from tests.gateway.sender.conftest import PDF, World, content_digest, letter, problem

pytestmark = pytest.mark.anyio

LONG = PDF + bytes(range(256)) * 70_000  # some 18 MB: two parts


def announcement(content: bytes = LONG, **changes: Any) -> dict[str, Any]:
    said = {
        "sha256": sha256(content).hexdigest(),
        "bytes": len(content),
        "file_name": "Résiliation.pdf",
        "content_type": "application/pdf",
    }
    return said | changes


async def announced(client: httpx.AsyncClient, content: bytes = LONG) -> dict[str, Any]:
    answer = await client.post("/v1/uploads", json=announcement(content))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/uploads/{body['id']}"
    return body


async def put_part(client: httpx.AsyncClient, upload: str, number: object, part: bytes) -> httpx.Response:
    headers = {"Content-Digest": content_digest(part)}
    return await client.put(f"/v1/uploads/{upload}/parts/{number}", content=part, headers=headers)


def pieces(content: bytes, part_bytes: int) -> list[bytes]:
    return [content[at : at + part_bytes] for at in range(0, len(content), part_bytes)]


async def uploaded(client: httpx.AsyncClient, content: bytes = LONG) -> dict[str, Any]:
    body = await announced(client, content)
    for number, part in enumerate(pieces(content, body["part_bytes"]), start=1):
        answer = await put_part(client, body["id"], number, part)
        assert answer.status_code == 201, answer.text
    return body


async def test_a_file_in_parts_is_stored_part_by_part(world: World) -> None:
    """Announced, sent in any order, completed; every part opens with the intake key, and together they are the file."""
    client = await world.sender()
    body = await announced(client)
    assert set(body) == {"id", "part_bytes", "expires_at"}
    parts = pieces(LONG, body["part_bytes"])
    assert len(parts) == 2
    for number in (2, 1):
        shown = (await client.get(f"/v1/uploads/{body['id']}")).json()
        assert shown["missing_parts"] == ([1, 2] if number == 2 else [1])
        problem(await client.post(f"/v1/uploads/{body['id']}/complete"), 409, "upload_incomplete")
        answer = await put_part(client, body["id"], number, parts[number - 1])
        assert (answer.status_code, answer.json()["sha256"]) == (201, sha256(parts[number - 1]).hexdigest())
    answer = await client.post(f"/v1/uploads/{body['id']}/complete")
    assert answer.status_code == 200, answer.text
    assert answer.json()["missing_parts"] == [] and "sha3_256" not in answer.json()
    assert await opened(world, body["id"]) == LONG


async def opened(world: World, upload: str) -> bytes:
    """As `encrypt` would, with the key that only the bridge has."""
    rows = world.psql(
        "SELECT u.sender, g.segment, g.object, g.content_format, g.bytes, encode(g.sealed_key, 'hex') "
        f"FROM qerds.upload u JOIN qerds.upload_segment g ON g.upload = u.id WHERE u.id = '{upload}' ORDER BY g.segment"
    )
    content = b""
    for row in rows.strip().splitlines():
        sender, segment, name, content_format, plain_bytes, sealed = row.split("|")
        info = intake_info(UUID(sender), UUID(upload), int(segment), name, content_format, int(plain_bytes))
        decryptor = Decryptor(
            SUITE.decrypt(bytes.fromhex(sealed), world.parts.keys.intake, info=info), associated_data(name)
        )
        content += decryptor.update((world.objects_dir / name[:2] / name).read_bytes()) + decryptor.finish()
    return content


async def test_a_complete_upload_makes_a_letter_and_an_incomplete_one_none(world: World) -> None:
    """A letter cannot name what has not arrived."""
    client = await world.sender()
    body = await announced(client)
    parts = pieces(LONG, body["part_bytes"])
    await put_part(client, body["id"], 1, parts[0])
    answer = await client.post("/v1/deliveries", json=letter(body["id"], LONG))
    problem(answer, 422, "upload_unknown", "/documents/0/upload_id")
    await put_part(client, body["id"], 2, parts[1])
    answer = await client.post("/v1/deliveries", json=letter(body["id"], LONG))
    assert answer.status_code == 202, answer.text


async def test_a_part_sent_again(world: World) -> None:
    """The same bytes are fine and stored once; others are a conflict; a broken repetition is no repetition."""
    client = await world.sender()
    body = await announced(client)
    part = pieces(LONG, body["part_bytes"])[1]
    assert (await put_part(client, body["id"], 2, part)).status_code == 201
    assert (await put_part(client, body["id"], 2, part)).status_code == 200
    other = part[:-1] + b"\x00"
    problem(await put_part(client, body["id"], 2, other), 409, "part_conflict")
    headers = {"Content-Digest": content_digest(part)}
    answer = await client.put(f"/v1/uploads/{body['id']}/parts/2", content=other, headers=headers)
    problem(answer, 422, "digest_mismatch")
    assert world.count("qerds.upload_segment") == 1


async def test_of_two_gateways_that_take_one_part_one_wins(world: World) -> None:
    """Both senders are told the truth: the part is there."""
    client = await world.sender()
    body = await announced(client)
    part = pieces(LONG, body["part_bytes"])[1]
    codes: list[int] = []

    async def send() -> None:
        codes.append((await put_part(client, body["id"], 2, part)).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        tasks.start_soon(send)
    assert sorted(codes) == [200, 201]
    assert world.count("qerds.upload_segment") == 1


@pytest.mark.parametrize("number", ["0", "3", "x", "-1", "1" * 30])
async def test_parts_that_there_are_not(world: World, number: str) -> None:
    """A part beyond the file, or no number at all, is no address."""
    client = await world.sender()
    body = await announced(client)
    problem(await put_part(client, body["id"], number, b"x"), 404, "not_found")


async def test_a_part_has_its_length(world: World) -> None:
    """Shorter or longer than its place in the file: nothing is kept."""
    client = await world.sender()
    body = await announced(client)
    part = pieces(LONG, body["part_bytes"])[1]
    problem(await put_part(client, body["id"], 2, part[:-1]), 422, "field_invalid")
    problem(await put_part(client, body["id"], 2, part + b"x"), 413, "body_too_large")
    problem(await put_part(client, body["id"], 2, b""), 422, "field_invalid")
    assert world.count("qerds.upload_segment") == 0
    assert not [path for path in world.objects_dir.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"bytes": 0}, "field_invalid", "/bytes"),
        ({"bytes": 100 * 1024 * 1024 + 1}, "field_invalid", "/bytes"),
        ({"bytes": True}, "field_invalid", "/bytes"),
        ({"bytes": None}, "field_invalid", "/bytes"),
        ({"sha256": "ab"}, "field_invalid", "/sha256"),
        ({"sha256": "ab" * 30 + "    "}, "field_invalid", "/sha256"),
        ({"file_name": "../passwd"}, "field_invalid", "/file_name"),
        ({"file_name": "a.lnk"}, "field_invalid", "/file_name"),
        ({"file_name": "a.txt"}, "field_invalid", "/file_name"),
        ({"file_name": "a\u200b.pdf"}, "field_invalid", "/file_name"),
        ({"content_type": "text/html"}, "field_invalid", "/content_type"),
        ({"parts": 3}, "field_unknown", "/parts"),
    ],
)
async def test_announcements_that_are_wrong(world: World, changes: dict[str, Any], code: str, pointer: str) -> None:
    """Every field is checked before a byte is sent."""
    client = await world.sender()
    problem(await client.post("/v1/uploads", json=announcement(**changes)), 422, code, pointer)
    assert world.count("qerds.upload") == 0


async def test_a_file_of_one_part_is_compared_with_its_announcement(world: World) -> None:
    """Where the part is the file, the gateway knows its digest and says so at the end."""
    client = await world.sender()
    answer = await client.post("/v1/uploads", json=announcement(PDF, sha256="ab" * 32))
    upload = answer.json()["id"]
    assert (await put_part(client, upload, 1, PDF)).status_code == 201
    problem(await client.post(f"/v1/uploads/{upload}/complete"), 422, "digest_mismatch", "/sha256")


async def test_an_unused_upload_is_given_up(world: World) -> None:
    """It cannot be used, shown or continued any more; asking twice is fine."""
    client = await world.sender()
    body = await announced(client)
    for _ in range(2):
        assert (await client.delete(f"/v1/uploads/{body['id']}")).status_code == 204
    problem(await client.get(f"/v1/uploads/{body['id']}"), 410, "upload_expired")
    problem(await put_part(client, body["id"], 1, b"x"), 410, "upload_expired")
    problem(await client.post(f"/v1/uploads/{body['id']}/complete"), 410, "upload_expired")


async def test_an_upload_that_a_letter_uses_stays(world: World) -> None:
    """What was submitted is not withdrawn by its sender."""
    client = await world.sender()
    body = await uploaded(client)
    assert (await client.post("/v1/deliveries", json=letter(body["id"], LONG))).status_code == 202
    problem(await client.delete(f"/v1/uploads/{body['id']}"), 409, "not_withdrawable")
    assert (await client.get(f"/v1/uploads/{body['id']}")).status_code == 200


async def test_another_sender_s_upload_is_not_there(world: World) -> None:
    """Not shown, not continued, not completed, not given up."""
    body = await announced(await world.sender())
    other = await world.sender("other")
    address = f"/v1/uploads/{body['id']}"
    for answer in (
        await other.get(address),
        await other.delete(address),
        await other.post(f"{address}/complete"),
        await put_part(other, body["id"], 1, b"x"),
        await other.get("/v1/uploads/nothing"),
    ):
        problem(answer, 404, "not_found")


async def test_a_part_that_breaks_off_leaves_nothing(world: World) -> None:
    """The part is missing as before, and can be sent again."""
    client = await world.sender()
    body = await announced(client)
    part = pieces(LONG, body["part_bytes"])[1]

    async def half() -> AsyncIterator[bytes]:
        yield part[: len(part) // 2]

    headers = {"Content-Digest": content_digest(part)}
    answer = await client.put(f"/v1/uploads/{body['id']}/parts/2", content=half(), headers=headers)
    problem(answer, 422, "field_invalid")
    assert (await put_part(client, body["id"], 2, part)).status_code == 201


async def test_memory_does_not_grow_with_a_part(world: World) -> None:
    """A part passes through in a few segments of memory, new or repeated."""
    client = await world.sender()
    piece, count = bytes(64 * 1024), PART_BYTES_MIN // (64 * 1024)
    whole = sha256(piece * count)
    body = (await client.post("/v1/uploads", json=announcement(b"", bytes=2 * PART_BYTES_MIN))).json()
    headers = {"Content-Digest": f"sha-256=:{b64encode(whole.digest()).decode()}:"}

    async def sent() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield piece
            await anyio.lowlevel.checkpoint()

    for status in (201, 200):
        tracemalloc.start()
        try:
            answer = await client.put(f"/v1/uploads/{body['id']}/parts/1", content=sent(), headers=headers)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert answer.status_code == status, answer.text
        assert peak_bytes < 8 * 1024 * 1024


@pytest.mark.parametrize(
    "content_bytes", [1, PART_BYTES_MIN, PART_BYTES_MIN + 1, 100 * 1024 * 1024, 1024**3 - 1, 1024**3]
)
def test_a_file_is_cut_into_few_parts(content_bytes: int) -> None:
    """At most ten, so that a letter of twenty documents has its 200 keys; their lengths make the file."""
    size = part_bytes_of(content_bytes)
    count = parts_of(content_bytes, size)
    lengths = [part_length(content_bytes, size, number) for number in range(1, count + 1)]
    assert 1 <= count <= PARTS_MAX and sum(lengths) == content_bytes
    assert set(lengths[:-1]) <= {size} and 1 <= lengths[-1] <= size
