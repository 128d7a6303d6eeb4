"""The process in which strangers' proofs are checked: `python -m pipeline.adapters.checking_worker`, by checking.py.

Owns     its own limits, and the frames in both directions
Rules    it has no secret, no socket and no file but its two pipes. The memory has a hard end, the processor time of one
         check too: then the kernel kills it, and nothing else is concerned. It ends with whoever holds the other end
         It reads what its parent sends and never what a stranger sent but as the bytes to be judged
Elsewhere: who starts it and what its death means (checking.py); the check (pipeline/evidence/verification)
"""

import os
import resource
import sys
from typing import BinaryIO

import msgspec

from pipeline.evidence.verification import ContentDigests, Report, verify
from pipeline.evidence.verification.report import BatchFacts, LetterFacts, Step, Verdict

MEMORY_BYTES_MAX = 1024 * 1024 * 1024  # addresses; a proof of 32 MiB takes some 300 MB of them
PROCESSOR_SECONDS_MAX = 10  # of one check; a package of 200 evidences takes one
NICENESS = 5  # whoever has identified, or pays, goes first
LENGTH_BYTES = 8


class CheckQuestion(msgspec.Struct, frozen=True):
    """What is to be judged; the proof itself follows as it is."""

    anchors: tuple[bytes, ...]
    revocation_lists: tuple[bytes, ...]
    contents: tuple[ContentDigests, ...]


class ReportParts(msgspec.Struct, frozen=True):
    """A report in parts, as both kinds of facts have no tag of their own."""

    kind: str
    sha256: str
    verdict: Verdict
    steps: tuple[Step, ...]
    letter: LetterFacts | None
    batch: BatchFacts | None

    def report(self) -> Report:
        """Whole again."""
        return Report(self.kind, self.sha256, self.verdict, self.steps, self.letter or self.batch)


def parts_of(report: Report) -> ReportParts:
    """The report in parts."""
    letter = report.facts if isinstance(report.facts, LetterFacts) else None
    batch = report.facts if isinstance(report.facts, BatchFacts) else None
    return ReportParts(report.kind, report.sha256, report.verdict, report.steps, letter, batch)


def framed(data: bytes) -> bytes:
    """With its length before it."""
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def main() -> None:
    """Until the pipe ends."""
    os.nice(NICENESS)
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES_MAX),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (question_bytes := _frame(source)) is not None and (proof := _frame(source)) is not None:
        question = msgspec.msgpack.decode(question_bytes, type=CheckQuestion)
        _allow_processor_time()
        report = verify(proof, question.anchors, question.contents, revocation_lists=question.revocation_lists)
        del proof
        sink.write(framed(msgspec.msgpack.encode(parts_of(report))))
        sink.flush()


def _allow_processor_time() -> None:
    """So much more than was used so far; then SIGXCPU, which kills."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + PROCESSOR_SECONDS_MAX
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def _frame(source: BinaryIO) -> bytes | None:
    head = source.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    data = source.read(int.from_bytes(head, "big"))
    return data if len(data) == int.from_bytes(head, "big") else None


if __name__ == "__main__":
    main()
