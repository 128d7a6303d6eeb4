"""Contents in the letter's own request: never plain anywhere, stored with the letter or not at all."""

from base64 import b64encode
from typing import Any

import pytest

from pipeline.client.answers import Refused
from pipeline.client.api import QerdsClient
from pipeline.client.uploads import inline_document
from pipeline.intake.attachments import INLINE_BYTES_MAX
from tests.gateway.sender.conftest import (
    PDF,
    PUBLIC_URL,
    SECRET,
    World,
    letter,
    plain_contents,
    problem,
    upload,
    uploaded_letter,
)
from tests.gateway.sender.inline_letters import CANARY, inline, objects
from tests.gateway.sender.stored import in_parallel, nothing_stored

pytestmark = pytest.mark.anyio


def inline_letter(*contents: bytes, **changes: Any) -> dict[str, Any]:
    return letter("", **{"documents": [inline(c) for c in contents or (CANARY,)], **changes})


async def test_a_content_in_the_letter_becomes_an_upload(world: World) -> None:
    """202 in one request; encrypted for the bridge alone, with its type by what it begins like, and never plain."""
    client = await world.sender()
    answer = await client.post("/v1/deliveries", json=letter("", documents=[inline(), inline(PDF, "bail.pdf")]))
    assert answer.status_code == 202, answer.text
    rows = world.psql("SELECT content_type, bytes, part_bytes IS NULL FROM qerds.upload").split()
    assert sorted(rows) == [f"application/pdf|{len(PDF)}|t", f"text/plain|{len(CANARY)}|t"]
    assert world.count("qerds.upload_segment") == world.count("qerds.delivery_document") == 2
    assert plain_contents(world) == sorted([CANARY, PDF])
    for path in world.objects_dir.rglob("*"):
        assert not path.is_file() or CANARY not in path.read_bytes()
    assert b64encode(CANARY).decode() not in world.psql("SELECT d::text FROM qerds.delivery d")


async def test_our_client_sends_one(world: World) -> None:
    """With nothing but the letter; the type is what the bytes say, and the name has to fit it."""
    wrong, body = (letter("", documents=[inline_document(name, CANARY)]) for name in ("lettre.pdf", "lettre"))
    async with QerdsClient(PUBLIC_URL, "demo", SECRET, world.application()) as client:
        with pytest.raises(Refused, match=r"must end in \.txt"):
            await client.submit(wrong)
        sent = await client.submit(body)
    assert sent.state == "submitted"
    assert world.psql("SELECT file_name, content_type FROM qerds.upload").strip() == "lettre|text/plain"


async def test_a_content_beside_an_upload(world: World) -> None:
    """A letter may name one document and carry another."""
    client = await world.sender()
    body = await uploaded_letter(client)
    body["documents"].append(inline())
    assert (await client.post("/v1/deliveries", json=body)).status_code == 202
    assert world.count("qerds.upload") == 2


async def test_the_largest_letter(world: World) -> None:
    """Twenty contents of 64 KiB each are taken."""
    client = await world.sender()
    contents = [bytes([65 + n]) * INLINE_BYTES_MAX for n in range(20)]
    answer = await client.post("/v1/deliveries", json=inline_letter(*contents))
    assert answer.status_code == 202, answer.text
    assert world.count("qerds.upload") == 20


@pytest.mark.parametrize(
    "changes",
    [
        {"inline_base64": ""},
        {"inline_base64": "%%%"},
        {"inline_base64": 5},
        {"inline_base64": b64encode(b"x" * (INLINE_BYTES_MAX + 1)).decode()},
        {"upload_id": "01a0d9c5-0000-7000-8000-000000000000"},
    ],
)
async def test_contents_that_are_none(world: World, changes: dict[str, Any]) -> None:
    """Empty, no base64, no text, too long, beside an upload_id: named, and neither row nor object is left."""
    client = await world.sender()
    body = letter("", documents=[{**inline(), **changes}])
    problem(await client.post("/v1/deliveries", json=body), 422, "field_invalid", "/documents/0/inline_base64")
    assert nothing_stored(world)
    assert (world.count("qerds.upload"), objects(world)) == (0, 0)


async def test_another_digest(world: World) -> None:
    """The content is compared with its digest before anything is stored."""
    client = await world.sender()
    body = letter("", documents=[inline(), {**inline(), "sha256": "ab" * 32}])
    problem(await client.post("/v1/deliveries", json=body), 422, "digest_mismatch", "/documents/1/sha256")
    assert nothing_stored(world)
    assert (world.count("qerds.upload"), objects(world)) == (0, 0)


async def test_validate_stores_no_content(world: World) -> None:
    """It says what submit would, about the content too."""
    client = await world.sender()
    assert (await client.post("/v1/deliveries/validate", json=inline_letter())).json() == {"errors": []}
    wrong = letter("", documents=[{**inline(), "sha256": "ab" * 32}])
    [error] = (await client.post("/v1/deliveries/validate", json=wrong)).json()["errors"]
    assert (error["code"], error["pointer"]) == ("digest_mismatch", "/documents/0/sha256")
    assert nothing_stored(world)
    assert (world.count("qerds.upload"), objects(world)) == (0, 0)


async def test_the_same_letter_again_stores_nothing(world: World) -> None:
    """By client_ref, by Idempotency-Key, and with the content sent the other way: one upload, one object."""
    client = await world.sender()
    body = inline_letter(client_ref="r-1")
    headers = {"Idempotency-Key": "k-1"}
    first = await client.post("/v1/deliveries", json=body, headers=headers)
    assert (await client.post("/v1/deliveries", json=body, headers=headers)).content == first.content
    assert (await client.post("/v1/deliveries", json=body)).json() == {**first.json(), "replayed": True}
    assert (world.count("qerds.upload"), objects(world)) == (1, 1)
    sent = await upload(
        client, CANARY, {"Content-Type": "text/plain", "Content-Disposition": "attachment; filename=a.txt"}
    )
    named = letter(sent.json()["id"], CANARY, client_ref="r-1")
    named["documents"][0]["file_name"] = "lettre.txt"
    assert (await client.post("/v1/deliveries", json=named)).status_code == 200
    answer = await client.post("/v1/deliveries", json=inline_letter(b"other", client_ref="r-1"))
    problem(answer, 409, "client_ref_conflict")
    assert world.count("qerds.delivery") == 1


async def test_a_race_leaves_one_upload(world: World) -> None:
    """Eight at once under one reference: what the seven stored has no row, and `archive` removes it."""
    client = await world.sender()
    body = inline_letter(client_ref="race")
    answers = await in_parallel(8, lambda: client.post("/v1/deliveries", json=body))
    assert sorted(a.status_code for a in answers) == [200] * 7 + [202]
    assert world.count("qerds.upload") == world.count("qerds.delivery") == 1


async def test_a_consent_that_is_missing_stores_no_content(world: World) -> None:
    """What stored state says against the letter is said before its content goes into the store."""
    client = await world.sender()
    body = inline_letter(consent_ref="c-unknown")
    body["recipient"]["kind"] = "consumer"
    problem(await client.post("/v1/deliveries", json=body), 422, "consent_unknown", "/consent_ref")
    assert (world.count("qerds.upload"), objects(world)) == (0, 0)
