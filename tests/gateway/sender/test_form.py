"""A letter as a form: its documents stream into the store, and nothing of them is kept anywhere else."""

import json
import tracemalloc
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import anyio.lowlevel
import httpx
import pytest
from msgspec.structs import replace

from gateway.problems import Problem
from gateway.sender.form import FormPart, LetterForm
from tests.gateway.sender.conftest import PDF, World, letter, plain_contents, problem, upload, uploaded_letter
from tests.gateway.sender.inline_letters import inline, objects
from tests.gateway.sender.stored import nothing_stored

pytestmark = pytest.mark.anyio

BOUNDARY = "a-boundary"
TEXT = b"A text that comes as a part.\r\n--a-boundar not quite"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, content: bytes, kind: str | None = "application/pdf") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="ignored"\r\n'
    return (head + (f"Content-Type: {kind}\r\n" if kind else "") + "\r\n").encode() + content + b"\r\n"


def form(metadata: dict[str, Any] | bytes, *parts: bytes) -> bytes:
    body = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    return part("metadata", body, "application/json") + b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def document(name: str, content: bytes = PDF, file_name: str = "Résiliation.pdf") -> dict[str, str]:
    return {"part": name, "file_name": file_name, "sha256": sha256(content).hexdigest()}


def form_letter(*documents: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return letter("", **{"documents": list(documents or (document("a"),)), **changes})


async def send(client: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    return await client.post("/v1/deliveries", content=body, headers={**FORM, **headers})


async def test_a_letter_with_its_documents_in_one_request(world: World) -> None:
    """202; the parts are uploads, encrypted, of the type that they say; the order of the parts is free."""
    client = await world.sender()
    body = form_letter(document("first", PDF), document("second", TEXT, "lettre.txt"))
    answer = await send(client, form(body, part("second", TEXT, None), part("first", PDF)))
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/deliveries/{answer.json()['id']}"
    assert plain_contents(world) == sorted([PDF, TEXT])
    rows = world.psql("SELECT file_name, content_type, bytes FROM qerds.upload").strip().split("\n")
    assert sorted(rows) == [f"Résiliation.pdf|application/pdf|{len(PDF)}", f"lettre.txt|text/plain|{len(TEXT)}"]
    for path in world.objects_dir.rglob("*"):
        assert not path.is_file() or not any(content in path.read_bytes() for content in (PDF, TEXT))


async def test_all_three_ways_in_one_letter(world: World) -> None:
    """A part, an upload and a content in the metadata stand beside each other."""
    client = await world.sender()
    body = await uploaded_letter(client)
    body["documents"] += [document("a", TEXT, "lettre.txt"), inline()]
    answer = await send(client, form(body, part("a", TEXT, "text/plain; charset=utf-8")))
    assert answer.status_code == 202, answer.text
    assert world.count("qerds.delivery_document") == 3


async def test_the_same_form_again(world: World) -> None:
    """By client_ref and by key, with another boundary, and as the other ways: the same letter; one upload."""
    client = await world.sender()
    body = form_letter(client_ref="r-1")
    first = await send(client, form(body, part("a", PDF)), **{"Idempotency-Key": "k-1"})
    assert first.status_code == 202, first.text
    other = form(body, part("a", PDF)).replace(BOUNDARY.encode(), b"other-boundary")
    headers = {"Content-Type": 'multipart/form-data; boundary="other-boundary"', "Idempotency-Key": "k-1"}
    again = await client.post("/v1/deliveries", content=other, headers=headers)
    assert (again.status_code, again.content) == (202, first.content)
    again = await send(client, form(body, part("a", PDF)))
    assert (again.status_code, again.json()) == (200, {**first.json(), "replayed": True})
    assert (world.count("qerds.upload"), objects(world)) == (1, 1)
    named = letter((await upload(client)).json()["id"], client_ref="r-1")
    assert (await client.post("/v1/deliveries", json=named)).status_code == 200


@pytest.mark.parametrize(
    ("metadata", "parts", "status", "code", "pointer"),
    [
        (form_letter(document("a", TEXT)), [part("a", PDF)], 422, "digest_mismatch", "/documents/0/sha256"),
        (form_letter(), [], 422, "field_invalid", "/documents/0/part"),
        (form_letter(), [part("b", PDF)], 422, "field_invalid", "b"),
        (form_letter(), [part("a", PDF), part("a", PDF)], 422, "field_invalid", "a"),
        (form_letter(), [part("a", b"")], 422, "field_invalid", ""),
        (form_letter(), [part("a", PDF, "text/plain")], 422, "field_invalid", "/documents/0/file_name"),
        (
            form_letter(document("a", file_name="a.txt")),
            [part("a", PDF)],
            422,
            "field_invalid",
            "/documents/0/file_name",
        ),
        (
            form_letter(document("a", file_name="a.pdf.hta")),
            [part("a", PDF)],
            422,
            "field_invalid",
            "/documents/0/file_name",
        ),
        (form_letter(), [part("a", PDF, "application/zip")], 415, "type_not_allowed", None),
        (form_letter(document("a"), document("a")), [part("a", PDF)], 422, "field_invalid", "/documents/1/part"),
        (form_letter(document("metadata")), [], 422, "field_invalid", "/documents/0/part"),
        (form_letter(document("é")), [], 422, "field_invalid", "/documents/0/part"),
        (form_letter({**document("a"), "part": 5}), [], 422, "field_invalid", "/documents/0/part"),
        (form_letter({**document("a"), "upload_id": "x"}), [], 422, "field_invalid", "/documents/0/part"),
        (form_letter({**inline(), "part": "a"}), [], 422, "field_invalid", "/documents/0/inline_base64"),
        (form_letter(subject=""), [part("a", PDF)], 422, "field_invalid", "/subject"),
        (form_letter(consent_ref="unknown"), [part("a", PDF)], 422, "consent_unknown", "/consent_ref"),
        (form_letter(documents=5), [], 422, "field_invalid", "/documents"),
        (b"{", [part("a", PDF)], 400, "malformed_json", None),
        (b"x" * 300_000, [], 413, "body_too_large", None),
    ],
)
async def test_forms_that_are_no_letter(
    world: World, metadata: dict[str, Any] | bytes, parts: list[bytes], status: int, code: str, pointer: str | None
) -> None:
    """Each is refused with the place that is wrong, and no row is left."""
    client = await world.sender()
    answer = await send(client, form(metadata, *parts))
    problem(answer, status, code, *([] if pointer is None else [pointer]))
    assert nothing_stored(world)
    assert world.count("qerds.upload") == 0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "breaks off"),
        (b"no form at all", "boundary"),
        (form(form_letter(), part("a", PDF))[:-20], "breaks off"),
        (part("metadata", b"{}", "application/json"), "breaks off"),
        (f"--{BOUNDARY}\r\n".encode() + b"X: " + b"y" * 5000 + b"\r\n\r\n", "header"),
        (f"--{BOUNDARY}\r\n".encode() + b"X: y\r\n" * 9 + b"\r\n", "header"),
        (f"--{BOUNDARY}--\r\n".encode(), "as the first part"),
        (part("a", PDF) + form(form_letter()), "as the first part"),
    ],
)
async def test_bodies_that_are_no_form(world: World, body: bytes, why: str) -> None:
    """Cut, without boundaries, with endless heads, or with the metadata in another place: said so."""
    client = await world.sender()
    answer = problem(await send(client, body), 422, "field_invalid")
    assert why.lower() in (answer["detail"] + json.dumps(answer["errors"])).lower()
    assert nothing_stored(world)


async def test_what_a_form_says_of_itself(world: World) -> None:
    """Without a boundary, or with metadata of another type, it is refused; validate takes JSON only."""
    client = await world.sender()
    answer = await client.post("/v1/deliveries", content=b"x", headers={"Content-Type": "multipart/form-data"})
    problem(answer, 422, "field_invalid")
    problem(await send(client, part("metadata", b"{}", "text/plain")), 415, "type_not_allowed")
    answer = await client.post("/v1/deliveries/validate", content=form(form_letter()), headers=FORM)
    problem(answer, 415, "type_not_allowed")
    named = form_letter()
    problem(await client.post("/v1/deliveries", json=named), 422, "field_invalid", "/documents/0/upload_id")


async def test_a_part_that_is_too_long(world: World) -> None:
    """Each document has the limit of an upload; what was written of it is gone."""
    config = world.parts.config
    world.parts.config = replace(config, gateway=replace(config.gateway, document_bytes_max=len(PDF)))
    client = await world.sender()
    assert (await send(client, form(form_letter(), part("a", PDF)))).status_code == 202
    longer = form(form_letter(document("a", PDF + b"x")), part("a", PDF + b"x"))
    problem(await send(client, longer), 413, "body_too_large")
    assert (world.count("qerds.delivery"), world.count("qerds.upload"), objects(world)) == (1, 1, 1)


async def test_memory_does_not_grow_with_the_form(world: World) -> None:
    """Two documents of 16 MiB pass through in a few segments of memory."""
    client = await world.sender()
    piece = b"%PDF-1.7" + bytes(64 * 1024 - 8)
    digest = sha256()
    for _ in range(256):
        digest.update(piece)
    documents = [{**document(name), "sha256": digest.hexdigest()} for name in ("a", "b")]
    head = form(form_letter(*documents))[: -len(f"--{BOUNDARY}--\r\n")]

    async def body() -> AsyncIterator[bytes]:
        yield head
        for name in ("a", "b"):
            yield part(name, b"")[:-2]
            for _ in range(256):
                yield piece
                await anyio.lowlevel.checkpoint()
            yield b"\r\n"
        yield f"--{BOUNDARY}--\r\n".encode()

    tracemalloc.start()
    try:
        answer = await client.post("/v1/deliveries", content=body(), headers=FORM)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 202, answer.text
    assert world.psql("SELECT sum(bytes) FROM qerds.upload").strip() == str(32 * 1024 * 1024)
    assert peak_bytes < 12 * 1024 * 1024


# ------------------------------------------------------------------ the reader alone
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
async def test_pieces_of_any_size(size: int) -> None:
    """The parts come out the same, wherever the body is cut."""
    whole = b"\r\n" + form(b"{}", part("a", TEXT), part("b", b"", "text/plain")) + b"an epilogue"

    async def body() -> AsyncIterator[bytes]:
        for begin in range(0, len(whole), size):
            yield whole[begin : begin + size]

    reader = LetterForm(BOUNDARY.encode(), body())
    found = []
    while (head := await reader.next_part()) is not None:
        found.append((head, b"".join([piece async for piece in reader.pieces()])))
    assert found == [
        (FormPart("metadata", "application/json"), b"{}"),
        (FormPart("a", "application/pdf"), TEXT),
        (FormPart("b", "text/plain"), b""),
    ]
    await reader.pass_over()


async def test_a_part_is_passed_over() -> None:
    """What is not read of a part does not become the next one; a body that ends early is malformed."""
    whole = form(b"{}", part("a", TEXT))

    async def body() -> AsyncIterator[bytes]:
        yield whole[:-4]

    reader = LetterForm(BOUNDARY.encode(), body())
    assert [(await reader.next_part()) for _ in range(2)][1] == FormPart("a", "application/pdf")
    with pytest.raises(Problem, match="field_invalid"):
        await reader.next_part()
