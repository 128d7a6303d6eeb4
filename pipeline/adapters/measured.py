"""Ports that tell how long their outside took and what came of it: the same calls, with a recorder.

Owns     what is counted of the object store, the relay and the authority, and what counts as a failure
Rules    adds no decision: what is given and raised inside is given and raised outside. What a caller takes for its own
         side of a stream (a slow sender, a slow reader) is no time of the store
Elsewhere: the names (pipeline/process/measures.py); the bridge counts its own requests (hsm_bridge/service.py)
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Protocol

import anyio

from pipeline.errors import ObjectExists, ObjectMissing, Transient
from pipeline.ports.bridge import TimeStampAuthority, wire
from pipeline.ports.outside import ListedObject, MailAnswer, Mailer, MailRefused, Objects, Relayed
from pipeline.process.measures import MAILS, OBJECT_ERRORS, OBJECT_SECONDS, TSA_REQUESTS, TSA_SECONDS
from pipeline.process.recorder import Recorder


class Store(Objects, Protocol):
    """What every object store can do."""

    async def check(self) -> None:
        """Raises Transient when it cannot be written to now."""

    async def remove_unfinished(self, older_seconds: float) -> int:
        """Deletes what writers that died have left; how many. Raises Transient."""


class _Watch:
    """Time that is the store's, and what came of it."""

    def __init__(self, recorder: Recorder, now: Callable[[], float], operation: str) -> None:
        self._recorder = recorder
        self._now = now
        self._operation = operation
        self._seconds = 0.0
        self._began: float | None = None
        self._result = "ok"

    def go(self) -> None:
        self._began = self._now()

    def rest(self) -> None:
        if self._began is not None:
            self._seconds += self._now() - self._began
            self._began = None

    def __enter__(self) -> "_Watch":
        self.go()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.rest()
        result = _result(error)
        if result is None:
            return
        self._recorder.observe(OBJECT_SECONDS, self._seconds, self._operation, result)
        if result == "away":
            self._recorder.count(OBJECT_ERRORS, self._operation)


class MeasuredObjects:
    """pipeline.ports.outside.Objects over a store. now: a clock that only goes forward."""

    def __init__(self, store: Store, recorder: Recorder, now: Callable[[], float] = anyio.current_time) -> None:
        self._store = store
        self._watch = partial(_Watch, recorder, now)

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        with self._watch("put") as watch:
            return await self._store.put(name, _given(chunks, watch))

    async def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        with self._watch("read") as watch:
            async with aclosing(self._store.read(name, offset, length)) as pieces:
                async for piece in pieces:
                    watch.rest()
                    yield piece
                    watch.go()

    async def size(self, name: str) -> int | None:
        with self._watch("size"):
            return await self._store.size(name)

    async def delete(self, name: str) -> None:
        with self._watch("delete"):
            await self._store.delete(name)

    async def list(self, older_seconds: float) -> AsyncGenerator[ListedObject, None]:
        """Not measured: a walk over the whole store takes as long as the store is large."""
        async with aclosing(self._store.list(older_seconds)) as objects:
            async for entry in objects:
                yield entry

    async def check(self) -> None:
        with self._watch("check"):
            await self._store.check()

    async def remove_unfinished(self, older_seconds: float) -> int:
        return await self._store.remove_unfinished(older_seconds)


class MeasuredMailer:
    """pipeline.ports.outside.Mailer over a relay. class: taken; mailbox: refused for it; else why it was not taken, tls
    apart (no channel that we may use); away: no answer."""

    def __init__(self, mailer: Mailer, relay: str, recorder: Recorder) -> None:
        self.at_once = mailer.at_once
        self._mailer = mailer
        self._relay = relay
        self._recorder = recorder

    async def send(self, recipient: str, mail: bytes) -> MailAnswer:
        try:
            answer = await self._mailer.send(recipient, mail)
        except Transient:
            self._recorder.count(MAILS, self._relay, "away")
            raise
        self._recorder.count(MAILS, self._relay, _mail_class(answer))
        return answer


class MeasuredAuthority:
    """pipeline.ports.bridge.TimeStampAuthority over another. A request is a digest; seconds are of the whole call."""

    def __init__(self, authority: TimeStampAuthority, name: str, recorder: Recorder) -> None:
        self._authority = authority
        self._name = name
        self._recorder = recorder

    async def ask(self, items: Sequence[wire.TimeStamp]) -> Sequence[wire.Stamped | wire.Denied]:
        if not items:
            return []
        began = anyio.current_time()
        try:
            answers = await self._authority.ask(items)
        except Transient:
            self._count("away", len(items))
            raise
        finally:
            self._recorder.observe(TSA_SECONDS, anyio.current_time() - began, self._name)
        denied = sum(isinstance(answer, wire.Denied) for answer in answers)
        self._count("ok", len(answers) - denied)
        self._count("denied", denied)
        return answers

    def _count(self, result: str, by: int) -> None:
        self._recorder.count(TSA_REQUESTS, self._name, result, by=by)


async def _given(chunks: AsyncIterator[bytes], watch: _Watch) -> AsyncIterator[bytes]:
    """The chunks; what their maker takes is not the store's time."""
    watch.rest()
    async for chunk in chunks:
        watch.go()
        yield chunk
        watch.rest()
    watch.go()


def _result(error: BaseException | None) -> str | None:
    """None: it was the caller who gave up, or what it gave was wrong."""
    if error is None or isinstance(error, GeneratorExit):
        return "ok"
    if isinstance(error, ObjectMissing):
        return "missing"
    if isinstance(error, ObjectExists):
        return "exists"
    return "away" if isinstance(error, Transient) else None


def _mail_class(answer: MailAnswer) -> str:
    if isinstance(answer, Relayed):
        return "taken"
    if isinstance(answer, MailRefused):
        return "mailbox"
    return "tls" if answer.phase == "tls" else answer.cause
