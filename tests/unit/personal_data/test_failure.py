"""What is written of an exception, whoever raised it and whatever it holds."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from pipeline.errors import Invariant, QerdsError, Transient
from pipeline.formats.canonical_xml import XmlRefused
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.intake.mistakes import Unreadable
from pipeline.process.failure import BEHIND_MAX, behind, places_of, reason_of, text_of
from pipeline.process.recorder import Recorder
from tests.personal_data import PERSON, found_in


def caught(work: Callable[[], object]) -> BaseException:
    """What it raises, as somebody catches it."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - looked at, not handled
        return error
    raise AssertionError("it raised nothing")


def raising(error: BaseException, cause: BaseException | None = None) -> Callable[[], object]:
    def work() -> object:
        raise error from cause

    return work


def written(error: BaseException) -> str:
    lines: list[str] = []
    Recorder("test", lines.append).error("here", error)
    return "".join(lines) + reason_of(error)


@pytest.mark.parametrize(
    "work",
    [
        lambda: dict[str, str]()[PERSON],
        lambda: date.fromisoformat(PERSON),
        lambda: int(PERSON),
        lambda: getattr(object(), PERSON),
        lambda: print(**{PERSON: 1}),  # type: ignore[call-overload]
        Path("/nonexistent", PERSON).read_bytes,
        lambda: json.loads(json.dumps(PERSON))[PERSON],
        lambda: PERSON.encode().decode("utf-16-le", "strict").encode("ascii"),
        raising(UnicodeDecodeError("utf-8", PERSON.encode(), 0, 1, PERSON)),
        raising(Unreadable("malformed_json", PERSON)),
        raising(XmlRefused(PERSON)),
        raising(RuntimeError(PERSON)),
        raising(KeyboardInterrupt(PERSON)),
        raising(Transient("relay: 450"), ValueError(PERSON)),
        raising(ExceptionGroup(PERSON, [KeyError(PERSON), ExceptionGroup(PERSON, [ValueError(PERSON)])])),
    ],
)
def test_a_builtin_a_librarys_or_a_parsers_text_is_not_written(work: Callable[[], object]) -> None:
    """Nor that of anything behind it: types and places are."""
    error = caught(work)
    told = written(error)
    assert found_in(told) == []
    assert type(error).__name__ in told and "test_failure.py:" in told


@pytest.mark.parametrize("kind", [Transient, Invariant, ConfigInvalid])
def test_the_text_of_ours_is_written(kind: type[QerdsError]) -> None:
    """It says what to do, and holds nothing else."""
    error = caught(raising(kind("key 7 is not published")))
    assert text_of(error) == reason_of(error) == "key 7 is not published"
    assert "key 7 is not published" in written(error)


def test_places_say_where() -> None:
    """File, line and function of the way it took, the innermost last; a reason begins with the innermost."""
    error = caught(raising(KeyError("x")))
    assert [place.rpartition(" in ")[2] for place in places_of(error)] == ["caught", "work"]
    first, second = reason_of(error).removeprefix("KeyError at ").split(" < ")
    assert (first.endswith("in work"), second.endswith("in caught")) == (True, True)


def test_what_is_behind_is_named_and_bounded() -> None:
    """The library's type behind our words; a long chain or a large group does not fill the log."""
    error = caught(raising(Transient("PostgreSQL: DeadlockDetectedError"), ValueError(PERSON)))
    assert behind(error) == ["ValueError"]
    many = caught(raising(ExceptionGroup("many", [Transient(f"away {n}") for n in range(50)])))
    assert behind(many) == [f"Transient: away {n}" for n in range(BEHIND_MAX)]
    hidden = caught(raising(KeyError(1)))
    hidden.__context__, hidden.__suppress_context__ = ValueError(PERSON), True
    assert behind(hidden) == []
