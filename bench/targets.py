"""The targets, as data, and the verdict on what was measured.

Owns     which figures we promise on the 2-core machine. Ratios of one run count; absolute rates are orientation
Rules    pure; a target that was not measured is told as such, never as met
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["met", "floor met", "MISSED", "not measured"]


@dataclass(frozen=True, slots=True)
class Target:
    """`at_least` or `at_most`; `floor` is the weaker promise that still counts, told apart in the verdict."""

    key: str
    scenario: str
    what: str
    at_least: float | None = None
    at_most: float | None = None
    floor: float | None = None
    unit: str = "x"

    @property
    def goal(self) -> str:
        """As people read it."""
        sign, bound = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        floor = f" (at least {self.floor:g})" if self.floor is not None else ""
        return f"{sign} {bound:g} {self.unit}{floor}"


@dataclass(frozen=True, slots=True)
class JudgedTarget:
    """A target beside what was measured."""

    target: Target
    measured: float | None
    verdict: Verdict


TARGETS: tuple[Target, ...] = (
    Target("hop.fused.100", "hop", "hop on one connection, batch 100 / fused move", at_least=0.45, floor=0.40),
    Target("hop.fused.10", "hop", "hop on one connection, batch 10 / fused move", at_least=0.55),
    Target("hop.fused.1", "hop", "hop on one connection, batch 1 / fused move", at_least=0.55),
    Target("hop.pgqueuer", "hop", "hop, batch 100 / pgqueuer no-op", at_least=2.5),
    Target("hop.oban", "hop", "hop, batch 100 / oban no-op", at_least=10),
    Target("hop.graphile", "hop", "hop, batch 100 / graphile-worker no-op", at_least=1.2, floor=1.0),
    Target("hop.pinned", "hop", "take p50 under a pinned snapshot / before", at_most=2),
    Target("hop.doorbells", "hop", "16 writers with doorbells / without", at_least=0.95),
    Target("hop.five.p50", "hop", "five hops in five processes, idle, p50", at_most=20, unit="ms"),
    Target("hop.five.p99", "hop", "five hops in five processes, idle, p99", at_most=60, unit="ms"),
    Target("hop.wal", "hop", "WAL of one hop, batch 100", at_most=2000, unit="B"),
    Target("letters.one.rate", "letters", "one content to many, end to end to stamped C.1", at_least=300, unit="/s"),
    Target("letters.one.cpu", "letters", "one content to many, CPU of a letter / bare loop", at_most=2.0),
    Target("letters.100k.rate", "letters", "distinct 100 KiB, end to end to stamped C.1", at_least=150, unit="/s"),
    Target("latency.idle.p50", "latency", "submission to stamped A.1, idle, p50", at_most=40, unit="ms"),
    Target("latency.idle.p99", "latency", "submission to stamped A.1, idle, p99", at_most=150, unit="ms"),
    Target("latency.flood.ratio", "latency", "interactive p99 in a bulk flood / idle p99", at_most=5),
    Target("latency.flood.p99", "latency", "interactive p99 in a bulk flood", at_most=300, unit="ms"),
    Target("backlog.rate", "backlog", "hop rate with 1 M rows waiting / with 1,000", at_least=0.8),
    Target("soak.rate", "soak", "rate of the last minute / the second", at_least=0.95),
    Target("soak.dead", "soak", "dead tuples of the hot tables, last three / second to fourth minute", at_most=1.5),
    Target("soak.memory", "soak", "memory of all processes, end / second minute", at_most=1.1),
    Target("size.upload", "size", "upload throughput / raw write and fsync", at_least=0.5),
    Target("size.memory", "size", "gateway memory growth during uploads", at_most=64, unit="MiB"),
    Target("intake.lines", "intake", "lines accepted and durable, shared content", at_least=10_000, unit="/s"),
)


def judge(target: Target, measured: float | None) -> JudgedTarget:
    """The verdict on one target."""
    if measured is None:
        return JudgedTarget(target, None, "not measured")
    if target.at_least is not None:
        if measured >= target.at_least:
            return JudgedTarget(target, measured, "met")
        if target.floor is not None and measured >= target.floor:
            return JudgedTarget(target, measured, "floor met")
        return JudgedTarget(target, measured, "MISSED")
    if target.at_most is None:
        raise ValueError(f"target {target.key} has no bound")
    return JudgedTarget(target, measured, "met" if measured <= target.at_most else "MISSED")


def judge_all(measures: Mapping[str, float], scenarios: Sequence[str]) -> list[JudgedTarget]:
    """The targets of the scenarios that ran, in order."""
    return [judge(target, measures.get(target.key)) for target in TARGETS if target.scenario in scenarios]
