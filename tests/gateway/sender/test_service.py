"""The edge and what the API says of itself: ids, deadlines, errors, health, description."""

import json
import re
import threading
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Scope

from gateway import limits
from gateway.addresses import Address
from gateway.app import behind_edge
from gateway.problem_codes import PROBLEMS
from gateway.problems import Problem
from pipeline.adapters.objects import LocalObjects
from pipeline.errors import Invariant, Transient
from pipeline.process.exposition import exposition
from tests.fakes.pki import authority
from tests.gateway.sender.conftest import PUBLIC_URL, World, problem, upload

pytestmark = pytest.mark.anyio


def client_of(world: World, *table: Address) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(behind_edge(list(table), world.parts))
    return httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL)


async def test_every_answer_has_an_id_and_the_mode(world: World) -> None:
    """Good and bad answers alike carry Request-Id and Mode, and are not cached by accident."""
    client = world.anonymous()
    seen = set()
    for path in ("/healthz", "/v1/status", "/v1/me", "/nowhere", "/v1/problems/not_found"):
        answer = await client.get(path)
        assert answer.headers["mode"] == "demonstration"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        seen.add(answer.headers["request-id"])
    assert len(seen) == 5


async def test_unknown_addresses_and_methods(world: World) -> None:
    """404 and 405 are problems too; a person's browser gets a page outside the API."""
    client = await world.sender()
    problem(await client.get("/v1/nothing"), 404, "not_found")
    problem(await client.get("/v1/deliveries/"), 404, "not_found")
    answer = await client.delete("/v1/uploads")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    page = await client.get("/nowhere", headers={"Accept": "text/html", "Accept-Language": "fr"})
    assert page.status_code == 404
    assert "Introuvable" in page.text


async def test_a_fault_of_ours_is_recorded_and_not_told(world: World) -> None:
    """An unexpected exception: 500 with an id, recorded once, and its text reaches nobody."""

    async def fails(request: Request) -> Response:
        raise KeyError("secret text")

    answer = await client_of(world, Address("GET", "/v1/x", fails, 30)).get("/v1/x")
    problem(answer, 500, "internal_error")
    assert "secret text" not in answer.text
    assert len(world.log) == 1
    assert json.loads(world.log[0])["type"] == "KeyError"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Transient("away"), 503, "unavailable"),
        (TimeoutError(), 503, "unavailable"),
        (Invariant("x"), 500, "internal_error"),
    ],
)
async def test_errors_in_our_own_words(world: World, error: Exception, status: int, code: str) -> None:
    """What is away is 503 with Retry-After; a broken promise is 500."""

    async def fails(request: Request) -> Response:
        raise error

    answer = await client_of(world, Address("GET", "/v1/x", fails, 30)).get("/v1/x")
    problem(answer, status, code)
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_an_error_after_the_first_byte_cuts_the_answer(world: World) -> None:
    """Half an answer never ends like a whole one: the connection is given up, and it is recorded."""

    async def half(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"half"
            raise Transient("away")

        return StreamingResponse(body())

    with pytest.raises(ConnectionAbortedError):
        await client_of(world, Address("GET", "/v1/x", half, 30)).get("/v1/x")
    assert len(world.log) == 1


async def test_a_request_ends_with_its_deadline(world: World) -> None:
    """Whatever its handler waits for; a form with documents has the time that its row gives to forms."""

    async def waits(request: Request) -> Response:
        await anyio.sleep_forever()
        raise AssertionError

    client = client_of(world, Address("POST", "/v1/x", waits, 60, form_seconds=0.01))
    form = {"Content-Type": "Multipart/Form-Data; boundary=x"}
    problem(await client.post("/v1/x", headers=form), 503, "unavailable")
    client = client_of(world, Address("POST", "/v1/x", waits, 0.01, form_seconds=60))
    problem(await client.post("/v1/x"), 503, "unavailable")


async def test_a_body_that_stalls() -> None:
    """A sender that stops in the middle of its body is let go after a while."""

    async def receive() -> Message:
        if not received:
            received.append(b"%PDF")
            return {"type": "http.request", "body": b"%PDF", "more_body": True}
        await anyio.sleep_forever()
        raise AssertionError

    received: list[bytes] = []
    request = Request({"type": "http", "method": "POST", "path": "/v1/uploads", "headers": []}, receive)
    with pytest.raises(Problem, match="unavailable"):
        await anext(aiter_after_first(limits.pieces(request, 100, piece_seconds=0.02)))


async def aiter_after_first(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    assert await anext(pieces) == b"%PDF"
    async for piece in pieces:
        yield piece


# ------------------------------------------------------------------ health
async def test_readiness_is_database_and_store(world: World) -> None:
    """Ready with both; not without the store; not while draining; alive in every case."""
    client = world.anonymous()
    assert (await client.get("/readyz")).status_code == 200
    assert (await client.get("/v1/status")).json()["status"] == "up"
    world.draining = True
    assert (await client.get("/readyz")).text == "draining\n" or (
        await world.anonymous().get("/readyz")
    ).status_code == 503
    world.draining = False
    world.parts.objects = LocalObjects(world.objects_dir / "absent")
    client = world.anonymous()
    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/v1/status")).json()["parts"] == {"database": "up", "objects": "down"}
    assert (await client.get("/healthz")).status_code == 200


async def test_no_database_no_readiness(world: World) -> None:
    """With the database gone the gateway is alive, not ready, and answers 503."""
    client = await world.sender()
    name = world.parts.config.database.name
    world.server.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    world.server.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert (await client.get("/readyz")).status_code == 503
    problem(await client.get("/v1/me"), 503, "unavailable")
    assert (await client.get("/healthz")).status_code == 200
    world.server.psql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert (await client.get("/readyz")).status_code == 200
    assert (await client.get("/v1/me")).status_code == 200


async def test_a_stalled_store_does_not_freeze_health(world: World) -> None:
    """While an upload hangs in fsync, health and other requests answer; the upload ends in 503 and leaves no row."""
    hangs, may_go_on = threading.Event(), threading.Event()

    def stall(file: int) -> None:
        hangs.set()
        may_go_on.wait(15)

    world.parts.objects = LocalObjects(world.objects_dir, call_seconds=0.3, sync=stall)
    client = await world.sender()
    answers: list[httpx.Response] = []

    async def uploads() -> None:
        answers.append(await upload(client))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uploads)
        await anyio.to_thread.run_sync(hangs.wait)
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/v1/me")).status_code == 200
        assert answers == []
    may_go_on.set()
    problem(answers[0], 503, "unavailable")
    assert world.count("qerds.upload") == 0


async def test_metrics_hold_no_identifier(world: World) -> None:
    """Requests are counted by route pattern; no id, number or reference is a label."""
    client = await world.sender()
    await client.get("/v1/deliveries/40128823401927")
    await client.get("/v1/consents/private-reference")
    text = exposition(world.parts.recorder).decode()
    of_route = 'route="/v1/deliveries/{name}",status="404"'
    assert f'qerds_http_requests_total{{method="GET",{of_route}}} 1.0' in text
    assert f'qerds_http_request_seconds_count{{face="api",{of_route}}} 1.0' in text
    assert 'qerds_http_rejected_total{reason="not_found"} 2.0' in text
    assert "40128823401927" not in text
    assert "private-reference" not in text


async def test_metrics_tell_what_was_uploaded(world: World) -> None:
    """Bytes of documents as their senders gave them."""
    client = await world.sender()
    answer = await upload(client)
    text = exposition(world.parts.recorder).decode()
    assert f"qerds_upload_bytes_total {answer.json()['bytes']}.0" in text.splitlines()
    assert "qerds_http_rejected_total" not in text


async def test_metrics_do_not_grow_with_what_clients_invent(world: World) -> None:
    """Any token is an HTTP method; a thousand of them are one counter, not a thousand."""
    client = await world.sender()
    for number in range(5):
        await client.request(f"INVENTED{number}", "/v1/uploads")
    text = exposition(world.parts.recorder).decode()
    assert "INVENTED" not in text
    assert 'method="other"' in text


# ------------------------------------------------------------------ the description
async def test_the_docs_need_nothing_from_elsewhere(world: World) -> None:
    """One page: no script, no address of another host, and a policy that would forbid them."""
    answer = await world.anonymous().get("/docs")
    assert answer.status_code == 200
    assert "POST /v1/deliveries" in answer.text
    assert "<script" not in answer.text
    assert not re.search(r'(src|href)="(https?:)?//', answer.text)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("code", list(PROBLEMS))
async def test_every_code_has_a_page_in_two_languages(world: World, code: str) -> None:
    """Cause and remedy in French and English."""
    client = world.anonymous()
    english = await client.get(f"/v1/problems/{code}")
    french = await client.get(f"/v1/problems/{code}", headers={"Accept-Language": "fr-FR,fr;q=0.9,en;q=0.5"})
    assert PROBLEMS[code].english.title in english.text.replace("&#x27;", "'")
    assert 'lang="fr"' in french.text
    assert english.text != french.text


async def test_problems_speak_french(world: World) -> None:
    """Title and remedy follow Accept-Language; the code does not change."""
    answer = await world.anonymous().get("/v1/me", headers={"Accept-Language": "fr"})
    assert problem(answer, 401, "token_invalid")["title"] == "Jeton invalide"


async def test_trust_files(world: World) -> None:
    """The pinned CA as PEM; the revocation list as published, 404 not_yet before."""
    root = authority()
    world.parts.keys.anchor = root.der
    client = world.anonymous()
    assert (await client.get("/v1/trust/ca.pem")).content == root.pem
    problem(await client.get("/v1/trust/crl.der"), 404, "not_yet")
    world.parts.keys.documents["crl"] = b"\x30\x00"
    assert (await client.get("/v1/trust/crl.der")).content == b"\x30\x00"


async def test_me(world: World) -> None:
    """Who the token speaks for, and the limits."""
    body = (await (await world.sender()).get("/v1/me")).json()
    assert body["sender"]["name"] == "Étude Dupont"
    assert body["identity"]["level"] == "high"
    assert body["limits"]["document_bytes"] == 100 * 1024 * 1024
    assert body["limits"]["inline_bytes"] == 64 * 1024
    assert body["sandbox"] is True


async def test_allow_names_every_method_of_an_address(world: World) -> None:
    """Also when several routes serve it, and none of another address that looks alike."""
    client = world.anonymous()
    answer = await client.request("OPTIONS", "/v1/deliveries")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"
    answer = await client.request("OPTIONS", "/v1/deliveries/validate")
    assert answer.headers["allow"] == "POST"


async def test_a_page_answers_no_address_of_the_api(world: World) -> None:
    """Although /{language}/verify looks like /v1/verify with another method: 405, as a problem, with Allow."""

    async def page(request: Request) -> Response:
        return Response("a page")

    client = client_of(
        world,
        Address("POST", "/v1/verify", page, 30),
        Address("GET", "/{language}/verify", page, 30),
        Address("POST", "/{language}/verify", page, 30),
    )
    answer = await client.get("/v1/verify")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert problem(await client.request("BREW", "/v1/verify"), 405, "method_not_allowed")["retryable"] is False
    problem(await client.get("/v1/nothing"), 404, "not_found")
    assert (await client.get("/fr/verify")).text == "a page"


async def test_strangers_write_nothing_and_see_no_measures(world: World) -> None:
    """What anybody may ask about the service leaves the store as it is; its measures are not on this address."""
    client = world.anonymous()
    before = world.objects_dir.stat().st_mtime_ns
    for path in ("/readyz", "/healthz", "/v1/status"):
        assert (await client.get(path)).status_code == 200
    assert world.objects_dir.stat().st_mtime_ns == before
    problem(await client.get("/metrics"), 404, "not_found")


async def test_a_client_that_leaves_is_no_error(world: World) -> None:
    """In the middle of its body, at an address that reads it as it comes: nothing is recorded, and it is counted."""

    async def reads(request: Request) -> Response:
        return Response(await request.body())

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError("nobody listens any more")

    edge = behind_edge([Address("POST", "/v1/x", reads, 30)], world.parts)
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/x",
        "headers": [],
        "query_string": b"",
        "client": None,
    }
    await edge(scope, receive, send)
    assert world.log == []
    assert 'method="POST",route="/v1/x",status="499"' in exposition(world.parts.recorder).decode()
