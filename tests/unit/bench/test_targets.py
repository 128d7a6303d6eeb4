"""Verdicts: a target is met, missed or not measured, and nothing else."""

import pytest

from bench.targets import TARGETS, Target, judge, judge_all

AT_LEAST = Target("a", "hop", "a rate", at_least=0.45, floor=0.40)
AT_MOST = Target("b", "hop", "a time", at_most=20, unit="ms")


@pytest.mark.parametrize(
    ("measured", "verdict"), [(0.45, "met"), (0.44, "floor met"), (0.40, "floor met"), (0.39, "MISSED")]
)
def test_at_least(measured: float, verdict: str) -> None:
    """The weaker promise is told apart from the goal."""
    assert judge(AT_LEAST, measured).verdict == verdict


@pytest.mark.parametrize(("measured", "verdict"), [(20.0, "met"), (20.1, "MISSED")])
def test_at_most(measured: float, verdict: str) -> None:
    """The bound itself is within."""
    assert judge(AT_MOST, measured).verdict == verdict


def test_what_was_not_measured_is_not_met() -> None:
    """An absent peer or a broken scenario never counts for us."""
    assert judge(AT_LEAST, None).verdict == "not measured"


def test_only_scenarios_that_ran_are_judged() -> None:
    """A report of one scenario does not list the others as unmeasured."""
    assert {j.target.scenario for j in judge_all({}, ["backlog"])} == {"backlog"}


def test_every_target_has_one_bound_and_its_own_key() -> None:
    """The table itself: no target that nothing can meet, none that hides another."""
    assert len({t.key for t in TARGETS}) == len(TARGETS)
    assert all((t.at_least is None) != (t.at_most is None) for t in TARGETS)
    assert all(t.floor is None or (t.at_least is not None and t.floor < t.at_least) for t in TARGETS)


def test_a_goal_reads_as_people_say_it() -> None:
    """Sign, bound, unit, floor."""
    assert AT_LEAST.goal == ">= 0.45 x (at least 0.4)"
    assert AT_MOST.goal == "<= 20 ms"
