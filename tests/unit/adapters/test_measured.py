"""Ports with measures: what is counted as what, and whose time it is."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from pipeline.adapters.measured import MeasuredAuthority, MeasuredMailer, MeasuredObjects
from pipeline.errors import ObjectExists, ObjectMissing, Transient
from pipeline.ports.bridge import wire
from pipeline.ports.outside import MailAnswer, MailRefused, NotTaken, Relayed
from pipeline.process.measures import MAILS, OBJECT_ERRORS, OBJECT_SECONDS, TSA_REQUESTS, TSA_SECONDS
from pipeline.process.recorder import Recorder
from tests.fakes.objects import MemoryObjects

pytestmark = pytest.mark.anyio
NAME = "0" * 32
SLOW_SECONDS = 60.0


@pytest.fixture
def recorder() -> Recorder:
    return Recorder("test", write=lambda _: None)


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    async def slowly(self, *chunks: bytes) -> AsyncIterator[bytes]:
        """As a sender over a thin line gives them."""
        for chunk in chunks:
            self.seconds += SLOW_SECONDS
            yield chunk


class SlowObjects(MemoryObjects):
    """A store that takes its time with every object, once at each end of it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        self._clock.seconds += 1
        return await super().put(name, chunks)

    async def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        async with aclosing(super().read(name, offset, length)) as pieces:
            async for piece in pieces:
                self._clock.seconds += 1
                yield piece
        self._clock.seconds += 1


def seconds(recorder: Recorder, operation: str, result: str) -> float:
    return recorder.histograms[OBJECT_SECONDS.of(operation, result)].sum


async def test_a_slow_sender_or_reader_is_no_slow_store(recorder: Recorder) -> None:
    """Only what the store took is its time."""
    clock = Clock()
    objects = MeasuredObjects(SlowObjects(clock), recorder, clock)
    assert await objects.put(NAME, clock.slowly(b"a", b"b")) == 2
    async with aclosing(objects.read(NAME)) as pieces:
        async for piece in pieces:
            clock.seconds += SLOW_SECONDS
            assert piece == b"ab"
    assert seconds(recorder, "put", "ok") == 1
    assert seconds(recorder, "read", "ok") == 2


async def test_only_a_store_that_is_away_is_a_failure(recorder: Recorder) -> None:
    """A missing object or a taken name is an answer."""
    store = MemoryObjects()
    objects = MeasuredObjects(store, recorder)
    await objects.put(NAME, Clock().slowly(b"a"))
    with pytest.raises(ObjectExists):
        await objects.put(NAME, Clock().slowly(b"b"))
    with pytest.raises(ObjectMissing):
        async with aclosing(objects.read("1" * 32)) as pieces:
            await anext(pieces)
    assert not any(counter is OBJECT_ERRORS for counter, _ in recorder.counts)
    store.down = True
    with pytest.raises(Transient):
        await objects.size(NAME)
    assert recorder.counts[OBJECT_ERRORS.of("size")] == 1
    assert seconds(recorder, "size", "away") >= 0
    assert {labels for _, labels in recorder.histograms} == {
        *(("put", "ok"), ("put", "exists")),
        *(("read", "missing"), ("size", "away")),
    }


async def test_a_sender_that_breaks_off_is_nobodys_failure(recorder: Recorder) -> None:
    """Its exception passes, and nothing is said of the store."""

    async def breaks() -> AsyncIterator[bytes]:
        yield b"a"
        raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        await MeasuredObjects(MemoryObjects(), recorder).put(NAME, breaks())
    assert recorder.histograms == {}


class Relay:
    """Answers what it is told to."""

    at_once = 3

    def __init__(self, answer: MailAnswer | None) -> None:
        self.answer = answer

    async def send(self, recipient: str, mail: bytes) -> MailAnswer:
        if self.answer is None:
            raise Transient("relay: TimeoutError")
        return self.answer


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Relayed(250, "taken", "TLSv1.3"), "taken"),
        (MailRefused(550, "5.1.1 no such mailbox"), "mailbox"),
        (NotTaken("later", "rcpt", 451, "4.7.1"), "later"),
        (NotTaken("ours", "auth", 535, "5.7.8"), "ours"),
        (NotTaken("message", "data", 552, "5.3.4"), "message"),
        (NotTaken("ours", "tls", 0, "bare"), "tls"),
        (NotTaken("later", "tls", 454, "4.7.0"), "tls"),
        (None, "away"),
    ],
)
async def test_mails_are_counted_by_what_the_answer_is_about(
    recorder: Recorder, answer: MailAnswer | None, kind: str
) -> None:
    """And the stage gets what it got before."""
    mailer = MeasuredMailer(Relay(answer), "relay.example", recorder)
    assert mailer.at_once == Relay.at_once
    if answer is None:
        with pytest.raises(Transient):
            await mailer.send("r@example.org", b"")
    else:
        assert await mailer.send("r@example.org", b"") is answer
    assert recorder.counts == {MAILS.of("relay.example", kind): 1}


class Stamps:
    """An authority."""

    def __init__(self, answers: Sequence[wire.Stamped | wire.Denied] | None) -> None:
        self.answers = answers

    async def ask(self, items: Sequence[wire.TimeStamp]) -> Sequence[wire.Stamped | wire.Denied]:
        if self.answers is None:
            raise Transient("away")
        return self.answers


async def test_time_stamps_are_counted_by_digest(recorder: Recorder) -> None:
    """A call of a hundred is a hundred requests and one time."""
    items = [wire.TimeStamp(bytes(32), datetime(2026, 3, 1, tzinfo=UTC))] * 3
    await MeasuredAuthority(
        Stamps([wire.Stamped(b"t"), wire.Stamped(b"t"), wire.Denied("clock")]), "own", recorder
    ).ask(items)
    with pytest.raises(Transient):
        await MeasuredAuthority(Stamps(None), "own", recorder).ask(items)
    assert recorder.counts == {
        TSA_REQUESTS.of("own", "ok"): 2,
        TSA_REQUESTS.of("own", "denied"): 1,
        TSA_REQUESTS.of("own", "away"): 3,
    }
    assert sum(recorder.histograms[TSA_SECONDS.of("own")].counts) == 2
