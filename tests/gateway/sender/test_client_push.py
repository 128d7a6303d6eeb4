"""Pushing a table as a batch, against a real gateway: once each, and going on after any death."""

import json
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from pipeline.client.answers import Refused
from pipeline.client.api import QerdsClient
from pipeline.client.batches import Batch, sha256_of_parts
from pipeline.client.lines import ColumnMap
from pipeline.client.push import Push, look_through
from pipeline.client.push_state import PushState, Source
from tests.gateway.sender.conftest import PDF, PUBLIC_URL, SECRET, World
from tests.worlds.unsteady import Unsteady

pytestmark = pytest.mark.anyio
LETTERS = 7
ROWS_IN_A_PART = 3
PARTS = 3


class Killed(Exception):
    """The process is gone: nothing of it runs any more."""


class Mortal(httpx.AsyncBaseTransport):
    """A program that dies at its n-th request: before the request leaves, or after its answer was given."""

    def __init__(self, inner: httpx.AsyncBaseTransport, at: int, *, answered: bool) -> None:
        self._inner = inner
        self._left = at
        self._answered = answered

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._left -= 1
        if self._left < 0 and not self._answered:
            raise Killed
        answer = await self._inner.handle_async_request(request)
        if self._left < 0:
            raise Killed
        return answer


class Counting(httpx.AsyncBaseTransport):
    """Counts requests."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.count = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        return await self._inner.handle_async_request(request)


def source(folder: Path) -> Source:
    """A table of letters with two different files, one of them under two names."""
    (folder / "a.pdf").write_bytes(PDF)
    (folder / "same.pdf").write_bytes(PDF)
    (folder / "b.pdf").write_bytes(PDF + b"2")
    files = ("a.pdf", "b.pdf", "same.pdf")
    rows = [
        {
            "client_ref": f"r-{n}",
            "recipient": {
                "kind": "professional",
                "email": f"jean-{n}@example.org",
                "given_names": "Jean",
                "birth_name": "Martin",
                "language": "fr",
            },
            "subject": "Bail",
            "documents": [{"file": files[n % 3]}],
        }
        for n in range(LETTERS)
    ]
    path = folder / "letters.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    count = look_through(path, ColumnMap(), folder)
    return Source(path, sha256(path.read_bytes()).hexdigest(), count, folder, None, ROWS_IN_A_PART)


async def push(client: QerdsClient, batch: str, state: PushState) -> Batch:
    known = state.source()
    assert known is not None
    return await Push(client, batch, known, ColumnMap(), state, lambda rows, uploads: None).run()


def clients(world: World, transport: httpx.AsyncBaseTransport | None = None) -> QerdsClient:
    return QerdsClient(PUBLIC_URL, "demo", SECRET, transport or world.application())


async def begun(world: World, folder: Path) -> tuple[str, PushState]:
    async with clients(world) as client:
        made = await client.create_batch("letters.ndjson")
    return made.id, PushState.create(folder, made.id, source(folder))


def is_whole(world: World, uploads: int = 2) -> None:
    """Every line is stored once, and the batch is submitted once."""
    assert world.psql("SELECT state, parts, lines FROM qerds.batch").split() == ["submitted|3|7"]
    assert world.count("qerds.batch_line") == LETTERS
    assert world.count("qerds.batch_part") == PARTS
    assert world.count("qerds.upload") >= uploads
    used = (
        "SELECT count(DISTINCT convert_from(body, 'UTF8')::jsonb #>> '{documents,0,upload_id}') FROM qerds.batch_line"
    )
    assert int(world.psql(used)) == 2
    assert world.psql("SELECT kind FROM outbox.ingest").split() == ["draw"]


async def test_each_file_is_uploaded_once_and_each_line_stored_once(world: World, tmp_path: Path) -> None:
    """The same bytes under two names are one upload; parts are cut and submitted with their digests."""
    batch, state = await begun(world, tmp_path)
    async with clients(world) as client:
        submitted = await push(client, batch, state)
    assert (submitted.state, submitted.count("received")) == ("submitted", LETTERS)
    assert world.count("qerds.upload") == 2
    is_whole(world)
    digests = [digest for _, digest in state.parts()]
    assert [rows for rows, _ in state.parts()] == [3, 3, 1]
    assert len(sha256_of_parts(digests)) == 64


async def survives(batch: str, folder: Path, network: Mortal) -> bool:
    """One life of the program: whether it came to the end of the push."""
    again = PushState.find(folder, batch)
    assert again is not None
    alive = True
    try:
        async with QerdsClient(PUBLIC_URL, "demo", SECRET, network) as client:
            await push(client, batch, again)
    except* Killed:
        alive = False
    again.close()
    return alive


@pytest.mark.timeout(60)
@pytest.mark.parametrize("answered", [False, True], ids=["before it left", "after its answer"])
async def test_a_push_goes_on_wherever_it_died(world: World, tmp_path: Path, *, answered: bool) -> None:
    """Killed at every single request, and taken up again each time: in the end every line is there exactly once."""
    batch, state = await begun(world, tmp_path)
    state.close()
    for at in range(1, 100):
        if await survives(batch, tmp_path, Mortal(world.application(), at % 4 + 1, answered=answered)):
            break
    else:
        pytest.fail("it never came to its end")
    is_whole(world)


async def test_lost_answers_double_nothing_in_bulk(world: World, tmp_path: Path) -> None:
    """When the first answer of every kind of request is lost, everything is still there once."""
    batch, state = await begun(world, tmp_path)
    async with clients(world, Unsteady(world.application())) as client:
        await push(client, batch, state)
    is_whole(world)


async def test_a_push_that_was_submitted_sends_nothing_more(world: World, tmp_path: Path) -> None:
    """Its state is told, with one question."""
    batch, state = await begun(world, tmp_path)
    async with clients(world) as client:
        await push(client, batch, state)
    counting = Counting(world.application())
    async with clients(world, counting) as client:
        again = await push(client, batch, state)
    assert (again.state, counting.count) == ("submitted", 2)  # a token, and the question


async def test_a_file_that_is_refused_stops_the_push_with_its_reason(world: World, tmp_path: Path) -> None:
    """What was uploaded before it is not uploaded again later."""
    known = source(tmp_path)
    (tmp_path / "b.pdf").rename(tmp_path / "b.exe")
    table = known.path.read_text().replace("b.pdf", "b.exe")
    known.path.write_text(table)
    async with clients(world) as client:
        made = await client.create_batch("x")
        state = PushState.create(tmp_path, made.id, known)
        with pytest.raises(Refused, match="type_not_allowed"):
            await push(client, made.id, state)
    assert state.parts() == []


async def test_validate_tells_what_would_be_rejected(world: World, tmp_path: Path) -> None:
    """The stream of the service, whole and by status."""
    batch, state = await begun(world, tmp_path)
    known = state.source()
    assert known is not None
    async with clients(world) as client:
        await client.put_items(batch, 1, b'{"subject": "x"}\n')
        told = b"".join([piece async for piece in client.validate_batch(batch, "rejected")])
        assert json.loads(told)["problem"]["errors"]
        assert (await client.cancel_batch(batch)).state == "cancelled"
        results = b"".join([piece async for piece in client.batch_results(batch, "unprocessed")])
        assert json.loads(results)["status"] == "unprocessed"


def test_two_pushes_of_one_batch_do_not_share_a_state(tmp_path: Path) -> None:
    """A batch is pushed from one place."""
    known = source(tmp_path)
    PushState.create(tmp_path, "b-1", known).close()
    with pytest.raises(FileExistsError):
        PushState.create(tmp_path, "b-1", known)
    assert PushState.find(tmp_path, "b-2") is None
