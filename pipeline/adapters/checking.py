"""Checks of strangers' proofs in processes of their own, with limits of memory and processor time.

Owns     the workers: started when they are needed, killed when they take too long, replaced when they died
Rules    one check at a time in each worker; a worker that died is never used again. What kills one is a fact about the
         proof, told as CheckTooCostly, and never the gateway's own end. Whoever finds none free waits a little, then
         it is Transient. A worker gets nothing of our environment: no configuration, no address of a database
Elsewhere: the worker (checking_worker.py), how many may wait (gateway/places.py)
"""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
from anyio.abc import Process

from pipeline.adapters.checking_worker import LENGTH_BYTES, CheckQuestion, ReportParts, framed
from pipeline.errors import Transient
from pipeline.evidence.verification import ContentDigests, Report
from pipeline.ports.outside import CheckTooCostly

WORKERS = 2
CHECKS_EACH = 200  # by one worker: what its memory has kept goes with it
CHECK_SECONDS_MAX = 30.0  # by the wall: processor time is bounded in the worker, and others may have the processors
WAIT_SECONDS_MAX = 15.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-P", "-m", "pipeline.adapters.checking_worker")
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


class _Died(Exception):
    """The worker is no more."""


class _Worker:
    """One process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._left = CHECKS_EACH
        self._held = b""

    @property
    def is_fit(self) -> bool:
        """For another check."""
        return self._left > 0 and self._process.returncode is None

    async def ask(self, question_bytes: bytes, proof: bytes) -> ReportParts:
        """Raises _Died."""
        source, sink = self._process.stdout, self._process.stdin
        if source is None or sink is None:
            raise _Died
        self._left -= 1
        try:
            for piece in (framed(question_bytes), framed(proof)):
                await sink.send(piece)
            length = int.from_bytes(await self._read(LENGTH_BYTES), "big")
            if length > ANSWER_BYTES_MAX:
                raise _Died
            return msgspec.msgpack.decode(await self._read(length), type=ReportParts)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise _Died from error
        except msgspec.MsgspecError as error:
            raise _Died from error

    async def _read(self, count: int) -> bytes:
        source = self._process.stdout
        while source is not None and len(self._held) < count:
            self._held += await source.receive()
        data, self._held = self._held[:count], self._held[count:]
        return data

    async def end(self) -> None:
        """Kills it; it has nothing to lose."""
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                self._process.kill()
            await self._process.aclose()


class CheckingProcesses:
    """The port Checker."""

    def __init__(self, workers: int = WORKERS, command: Sequence[str] = COMMAND) -> None:
        self._room = anyio.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._command = command

    async def check(
        self,
        proof: bytes,
        anchors: Sequence[bytes],
        contents: Sequence[ContentDigests],
        revocation_lists: Sequence[bytes],
    ) -> Report | CheckTooCostly:
        """The verifier's report. Raises Transient when no worker is free for long."""
        question_bytes = msgspec.msgpack.encode(CheckQuestion(tuple(anchors), tuple(revocation_lists), tuple(contents)))
        try:
            with anyio.fail_after(WAIT_SECONDS_MAX):
                await self._room.acquire()
        except TimeoutError as error:
            raise Transient("all workers are busy with checks") from error
        try:
            async with self._worker() as worker:
                with anyio.fail_after(CHECK_SECONDS_MAX):
                    return (await worker.ask(question_bytes, proof)).report()
        except (_Died, TimeoutError):
            return CheckTooCostly()
        finally:
            self._room.release()

    async def aclose(self) -> None:
        """Ends all workers."""
        while self._idle:
            await self._idle.pop().end()

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[_Worker]:
        """For one check; whoever did not finish it is ended, also when nobody waits for it any more."""
        while self._idle and not self._idle[-1].is_fit:  # somebody else ended it
            await self._idle.pop().end()
        worker = self._idle.pop() if self._idle else await self._started()
        is_done = False
        try:
            yield worker
            is_done = worker.is_fit
        finally:
            if is_done:
                self._idle.append(worker)
            else:
                await worker.end()

    async def _started(self) -> _Worker:
        try:
            process = await anyio.open_process(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=os.sep,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            raise Transient(f"no worker could be started: {type(error).__name__}") from error
        return _Worker(process)
