"""POST /v1/uploads: what is kept, what is refused, what is left behind."""

import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha3_256, sha256
from pathlib import Path
from uuid import UUID

import anyio
import anyio.lowlevel
import pytest

from gateway.sender.content_headers import disposition_name
from pipeline.content.envelope import SUITE, Decryptor, associated_data
from pipeline.formats.context import intake_info
from tests.gateway.sender.conftest import PDF, World, content_digest, problem, upload

pytestmark = pytest.mark.anyio


def stored_files(world: World) -> list[Path]:
    return [path for path in world.objects_dir.rglob("*") if path.is_file()]


async def test_an_upload_opens_only_with_the_intake_key(world: World) -> None:
    """What is stored is ciphertext; key and bytes come back with the intake key and the exact description."""
    client = await world.sender()
    answer = await upload(client)
    assert answer.status_code == 201
    body = answer.json()
    assert body["file_name"] == "Résiliation.pdf"
    assert body["bytes"] == len(PDF)
    assert body["sha256"] == sha256(PDF).hexdigest()
    assert body["sha3_256"] == sha3_256(PDF).hexdigest()
    row = world.psql(
        "SELECT u.sender, g.object, g.content_format, g.bytes, encode(g.sealed_key, 'hex') "
        "FROM qerds.upload u JOIN qerds.upload_segment g ON g.upload = u.id"
    )
    sender, name, content_format, plain_bytes, sealed = row.strip().split("|")
    info = intake_info(UUID(sender), UUID(body["id"]), 1, name, content_format, int(plain_bytes))
    key = SUITE.decrypt(bytes.fromhex(sealed), world.parts.keys.intake, info=info)
    (path,) = stored_files(world)
    assert path.name == name
    decryptor = Decryptor(key, associated_data(name))
    assert decryptor.update(path.read_bytes()) + decryptor.finish() == PDF


async def test_no_plain_content_on_the_disk(world: World) -> None:
    """A canary in the content is in no file of the store and in no row of the database."""
    canary = b"CANARY-7c1f9a-content"
    client = await world.sender()
    assert (await upload(client, b"%PDF-1.7\n" + canary * 3)).status_code == 201
    assert all(canary not in path.read_bytes() for path in stored_files(world))
    assert canary.decode() not in world.psql("SELECT u::text FROM qerds.upload u")


async def test_a_wrong_digest_leaves_nothing(world: World) -> None:
    """A body with another digest than announced: digest_mismatch, no object, no row."""
    client = await world.sender()
    answer = await upload(client, headers={"Content-Digest": content_digest(b"something else")})
    problem(answer, 422, "digest_mismatch", "Content-Digest")
    assert stored_files(world) == []
    assert world.count("qerds.upload") == 0


async def test_an_oversized_body_leaves_nothing(world: World) -> None:
    """More than 100 MiB, announced or not: body_too_large, nothing kept."""
    client = await world.sender()
    answer = await upload(client, headers={"Content-Length": str(100 * 1024 * 1024 + 1)})
    problem(answer, 413, "body_too_large")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(101):
            yield bytes(1024 * 1024)

    headers = {
        "Content-Type": "text/plain",
        "Content-Digest": content_digest(b""),
        "Content-Disposition": "a; filename=a",
    }
    answer = await client.post("/v1/uploads", content=endless(), headers=headers)
    problem(answer, 413, "body_too_large")
    assert stored_files(world) == []


@pytest.mark.parametrize(
    ("headers", "status", "code", "pointer"),
    [
        ({"Content-Digest": "md5=:AAAA:"}, 422, "field_invalid", "Content-Digest"),
        ({"Content-Digest": "sha-256=:AAAA:"}, 422, "field_invalid", "Content-Digest"),
        ({"Content-Disposition": "attachment"}, 422, "field_invalid", "Content-Disposition"),
        (
            {"Content-Disposition": "attachment; filename*=UTF-8''..%2Fpasswd"},
            422,
            "field_invalid",
            "Content-Disposition",
        ),
        ({"Content-Disposition": "attachment; filename*=UTF-8''a%0Ab"}, 422, "field_invalid", "Content-Disposition"),
        ({"Content-Disposition": "attachment; filename=a.pdf.exe"}, 422, "field_invalid", "Content-Disposition"),
        ({"Content-Disposition": "attachment; filename=a.txt"}, 422, "field_invalid", "Content-Disposition"),
        (
            {"Content-Disposition": "attachment; filename*=UTF-8''a%E2%80%AEfdp.pdf"},
            422,
            "field_invalid",
            "Content-Disposition",
        ),
        ({"Content-Disposition": "attachment; filename*=UTF-8''%FF"}, 422, "field_invalid", "Content-Disposition"),
        ({"Content-Type": "application/x-msdownload"}, 415, "type_not_allowed", None),
        ({"Content-Type": "text/plain; charset=latin-1"}, 415, "type_not_allowed", None),
    ],
)
async def test_headers_that_are_wrong(
    world: World, headers: dict[str, str], status: int, code: str, pointer: str | None
) -> None:
    """A missing or malformed description is refused before the body is read, naming the header."""
    client = await world.sender()
    answer = await upload(client, headers=headers)
    problem(answer, status, code, *([] if pointer is None else [pointer]))
    assert stored_files(world) == []


async def test_an_empty_body_is_refused(world: World) -> None:
    """A document without bytes is no document."""
    client = await world.sender()
    problem(await upload(client, b""), 422, "field_invalid")
    assert stored_files(world) == []


async def test_the_same_file_twice_is_two_objects(world: World) -> None:
    """Uploading a file again neither shares nor replaces the first one's object."""
    client = await world.sender()
    first, second = await upload(client), await upload(client)
    assert first.json()["id"] != second.json()["id"]
    assert len(stored_files(world)) == 2
    assert len({path.read_bytes() for path in stored_files(world)}) == 2


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("attachment; filename*=UTF-8''R%C3%A9siliation%20du%20bail.pdf", "Résiliation du bail.pdf"),
        ("attachment; filename=plain.pdf", "plain.pdf"),
        ('attachment; filename="a \\"b\\".pdf"', 'a "b".pdf'),
        ("attachment; filename=old.pdf; filename*=utf-8'fr'%C3%A9.pdf", "é.pdf"),
        ("attachment; filename=" + "é.pdf".encode().decode("latin-1"), "é.pdf"),
        ("attachment", None),
        ("attachment; filename*=UTF-8''%FF", None),
    ],
)
def test_file_names_with_accents(header: str, name: str | None) -> None:
    """RFC 6266 and RFC 8187 names, accents kept; the extended form wins."""
    assert disposition_name(header) == name


async def test_a_file_name_as_parameter(world: World) -> None:
    """The query parameter stands in for the header, and is checked the same."""
    client = await world.sender()
    headers = {"Content-Type": "application/pdf", "Content-Digest": content_digest(PDF)}
    answer = await client.post("/v1/uploads", params={"file_name": "É.pdf"}, content=PDF, headers=headers)
    assert answer.json()["file_name"] == "É.pdf"
    answer = await client.post("/v1/uploads", params={"file_name": "a/b"}, content=PDF, headers=headers)
    problem(answer, 422, "field_invalid", "file_name")


async def test_memory_does_not_grow_with_the_body(world: World) -> None:
    """32 MiB pass through in a few segments of memory."""
    client = await world.sender()
    piece = b"%PDF-1.7" + bytes(64 * 1024 - 8)
    digest = sha256()
    for _ in range(512):
        digest.update(piece)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(512):
            yield piece
            await anyio.lowlevel.checkpoint()

    headers = {
        "Content-Type": "application/pdf",
        "Content-Digest": f"sha-256=:{b64encode(digest.digest()).decode()}:",
        "Content-Disposition": "attachment; filename=big.pdf",
    }
    tracemalloc.start()
    try:
        answer = await client.post("/v1/uploads", content=pieces(), headers=headers)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 201, answer.text
    assert answer.json()["bytes"] == 32 * 1024 * 1024
    assert peak_bytes < 12 * 1024 * 1024
