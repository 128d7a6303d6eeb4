"""The adapters of the outside: what a bridge, a relay, a provider, an endpoint or a store says to us stays there."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast
from uuid import uuid4

import anyio
import httpx
import msgspec
import pytest
from anyio.abc import SocketAttribute, SocketStream

from deploy.local.identity_provider import keys
from hsm_bridge import wire
from hsm_bridge.client import BridgeClient
from pipeline.actors.contract import Outcome, Retry
from pipeline.adapters.bridge import SocketBridge
from pipeline.adapters.identity_http import HttpBackChannel
from pipeline.adapters.objects import LocalObjects
from pipeline.adapters.objects_s3 import S3Objects
from pipeline.adapters.webhook_http import HttpCourier
from pipeline.evidence.binding import EvidenceRow
from pipeline.feed.attempts import Job, Webhook
from pipeline.feed.payload import FeedEvent
from pipeline.feed.ports import Flight, Post
from pipeline.formats.configuration import S3, parse
from pipeline.formats.identity_providers import EMBEDDED
from pipeline.notices import relaying
from pipeline.ports.mailbox import Message
from pipeline.ports.outside import MailRefused
from pipeline.ports.rows import StoredDraft
from pipeline.process.recorder import Recorder
from pipeline.stages import seal
from tests.personal_data import NAME, PERSON, found_in, told_by
from tests.portal_world import config_table
from tests.relay import relay
from tests.stages.line import Line

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OBJECT = "0123456789abcdef0123456789abcdef"


# ------------------------------------------------------------------ bridge
class Odd(BridgeClient):
    """A bridge that answers with this, whatever it is asked."""

    def __init__(self, response: wire.Response) -> None:
        super().__init__(Path("/nonexistent"))
        self._response = response

    async def exchange(self, _op: str, _items: list[bytes]) -> wire.Response:
        return self._response


def result(ok: object) -> wire.Response:
    return wire.Response(id=1, results=[wire.ItemResult(ok=msgspec.Raw(msgspec.msgpack.encode(ok)))])


def denied(code: str, detail: str) -> wire.Response:
    return wire.Response(id=1, results=[wire.ItemResult(err=code, detail=detail)])


@pytest.mark.parametrize(
    "response",
    [
        wire.Response(id=1, err=PERSON),
        wire.Response(id=1, err=wire.BUSY),
        wire.Response(id=1, err=wire.DENIED),
        wire.Response(id=1, results=[]),
        denied(PERSON, PERSON),
        denied("item_invalid", PERSON),
        denied("evidence_invalid", f"unexpected element {PERSON}"),
        result({PERSON: PERSON}),
        result({"key_id": PERSON, "signature": PERSON}),
        result(PERSON),
    ],
)
async def test_the_bridges_answers(response: wire.Response) -> None:
    """A code is a word, its detail is for nobody's log, and an answer of another form is that and no more."""
    bridge = SocketBridge(Odd(response))

    async def sealed(message: Message) -> Outcome[None]:
        [answer] = await bridge.ask([wire.SealEvidence(evidence=b"evidence", receipt=None)])
        draft = StoredDraft(
            EvidenceRow(uuid4(), uuid4(), "A.1", 1, NOW, None, b"certificate", b"evidence"), None, "seal-1"
        )
        return cast("Outcome[None]", seal.judge(message, draft, answer))

    async def stamped(message: Message) -> Outcome[None]:
        [answer] = await bridge.ask([wire.TimeStamp(imprint=bytes(32), event_time=NOW)])
        return Retry(message, f"not stamped: {answer.code}" if isinstance(answer, wire.Denied) else "stamped")

    for work in (sealed, stamped):
        told = await told_by(work)
        assert found_in(told.everything) == []
        assert told.lines + told.dead


# ------------------------------------------------------------------ relay
@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", ".", "DATA"])
@pytest.mark.parametrize("answer", ["450 4.2.1 {}", "550 5.1.1 <{}>: unknown", "{}", "999 {}"])
async def test_the_relays_answers(verb: str, answer: str) -> None:
    """SMTP answers repeat the address, and may say more: a retry and a log have the class and the code."""
    lines: list[str] = []

    async def work(message: Message) -> Outcome[None] | None:
        recorder = Recorder("notify", lines.append)
        async with relay({verb: answer.format(PERSON).encode()}) as mailer:
            posts = [relaying.StoredMail(message, "jeanne@canary.example", b"Subject: x\r\n\r\nx\r\n")]
            outcome = (await relaying.GuardedRelay(mailer, recorder).send(posts))[message.id]
        return outcome if isinstance(outcome, Retry) else None

    told = await told_by(work)
    assert found_in("\n".join([told.everything, *lines])) == []
    assert not told.dead or told.dead[0].startswith("spent 500 attempts: relay: ")


async def test_a_refusal_for_good_stands_in_its_evidence_alone() -> None:
    """What the relay said is proof of what it said; the line of a log is not."""
    line = Line()
    delivery = await line.submit()
    line.relay.answers = [MailRefused(550, PERSON)]
    await line.run("ingest", "encrypt", "notify", "seal", "timestamp")
    assert "C.2" in line.events(delivery)
    assert found_in(line.last(delivery).canonical.decode())
    assert found_in("".join([*line.errors, *line.dead()])) == []


# ------------------------------------------------------------------ identity provider
def failing(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: httpx.Response(200, text=PERSON),
        lambda _: httpx.Response(200, json={PERSON: PERSON}),
        lambda _: httpx.Response(400, json={"error": PERSON}),
        lambda _: httpx.Response(400, text=PERSON),
        lambda _: httpx.Response(500, text=PERSON),
        lambda r: httpx.Response(200, json={"access_token": f"é{PERSON}", "id_token": "x"}),
        lambda r: httpx.Response(200, content=f"é{PERSON}".encode("latin-1")),
        lambda _: httpx.Response(200, content=PERSON.encode(), headers={"content-encoding": "gzip"}),
        failing(httpx.ConnectError(PERSON)),
        failing(httpx.LocalProtocolError(f"Illegal header value {PERSON!r}")),
        failing(ValueError(PERSON)),
        failing(KeyError(PERSON)),
    ],
)
async def test_the_identity_providers_answers(
    state_dir: Path, answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    """Tokens and claims are for the bridge; of an answer that is none the status or the type is told."""
    config = parse(config_table(state_dir))
    keys.prepare(config)
    provider = HttpBackChannel(config.identity.providers[EMBEDDED], httpx.MockTransport(answer))

    async def work(_message: Message) -> Outcome[None] | None:
        await provider.exchange("code", "https://portal.example/identity/callback/embedded", None)
        return None

    assert found_in((await told_by(work)).everything) == []


# ------------------------------------------------------------------ endpoints of senders
class FixedClock:
    def now(self) -> datetime:
        return NOW


@pytest.mark.parametrize(
    "error", [OSError(PERSON), socket.gaierror(-2, PERSON), UnicodeError(PERSON), ValueError(PERSON), KeyError(PERSON)]
)
async def test_an_endpoint_that_cannot_be_reached(error: Exception) -> None:
    """Its URL may hold anything, and a resolver quotes it: the attempt has a word, a crash a type and a place."""

    def addresses(_host: str, _port: int) -> list[str]:
        raise error

    events = (FeedEvent(1, uuid4(), "delivery.deposited", NOW),)
    url = "https://hook.canary.example/Jeanne"
    webhook = Webhook(uuid4(), url, "v1", b"", True, 1, 0, 0, False, None, None, 0, events, 1, False)
    words: list[str] = []

    async def work(_message: Message) -> Outcome[None] | None:
        async with anyio.create_task_group() as tasks:
            courier = HttpCourier(tasks, FixedClock(), True, None, addresses)
            flight = Flight("push", webhook, Job(events))
            courier.start(flight, [Post({}, b"{}")])
            await courier.settle([webhook.id], 5)
            words.extend(answer.outcome for answer in flight.answers)
        return None

    told = await told_by(work)
    assert found_in("".join([told.everything, *words])) == []
    assert words or told.lines


# ------------------------------------------------------------------ stores
async def chunks(error: Exception | None = None) -> AsyncIterator[bytes]:
    yield b"content"
    if error is not None:
        raise error


@pytest.mark.parametrize("name", [OBJECT, PERSON, f"../{PERSON}"])
@pytest.mark.parametrize("error", [None, ValueError(PERSON), OSError(PERSON)])
async def test_a_folder_of_objects(tmp_path: Path, name: str, error: Exception | None) -> None:
    """A path, a name and what an upload's sender did are quoted by every OSError: the system's word is told."""
    (tmp_path / NAME).write_text("no folder")
    objects = LocalObjects(tmp_path / NAME)

    async def put(_message: Message) -> Outcome[None] | None:
        await objects.put(name, chunks(error))
        return None

    async def read(_message: Message) -> Outcome[None] | None:
        async for _ in objects.read(name):
            pass
        return None

    for work in (put, read):
        told = await told_by(work)
        assert found_in(told.everything) == []
        assert told.dead


@asynccontextmanager
async def store(status: int) -> AsyncIterator[str]:
    """An S3 store whose every answer is this one, with the person in its words."""
    said = f"<Error><Code>{PERSON}</Code><Message>{PERSON}</Message><Key>{PERSON}</Key></Error>".encode()
    head = f"HTTP/1.1 {status} {PERSON}\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n".encode()

    async def serve(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(head + said)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("status", [200, 400, 403, 404, 409, 412, 501])
async def test_a_bucket_of_objects(tmp_path: Path, status: int) -> None:
    """S3 answers name bucket, key and whatever a proxy adds; the type of the driver's error is told."""
    key = tmp_path / "tests"
    key.write_text("key\nsecret\n")
    key.chmod(0o600)

    async def work(_message: Message, endpoint: str, reads: bool) -> Outcome[None] | None:
        objects = S3Objects(S3(endpoint, "letters", "us-east-1", tmp_path), "tests", call_seconds=1)
        if reads:
            async for _ in objects.read(OBJECT):
                pass
        else:
            await objects.put(OBJECT, chunks())
        return None

    async with store(status) as endpoint:
        for reads in (True, False):
            told = await told_by(partial(work, endpoint=endpoint, reads=reads))
            assert found_in(told.everything) == []
