"""Who counts as the addressee."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from hsm_bridge.identity.matching import Compared, compare
from hsm_bridge.identity.tokens import read_birth_date
from pipeline.formats.context import AddresseeRecord
from pipeline.formats.names import plain
from pipeline.formats.person import IdentifiedPerson, MatchKind

BORN = date(1980, 5, 17)
MOMENT = datetime(2026, 3, 2, tzinfo=UTC)
PAGE = (Path(__file__).parents[2] / "docs" / "matching.md").read_text()
PERSON = re.compile(
    r"(?P<given>.+?) \*\*(?P<birth>.+?)\*\*(?:, usage name (?P<usage>.+?))?(?:, born (?P<born>[\d?-]+))?"
)
PAIRS_MIN = 60


class Pair(NamedTuple):
    """A line of the page: two people as they are written there, and the answer."""

    number: int
    declared: str
    identified: str
    answer: str

    @property
    def expected(self) -> Compared:
        match, _, kind = self.answer.partition(": ")
        return Compared(match, kind.strip("`") or None)  # type: ignore[arg-type]


def pairs() -> list[Pair]:
    cells = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    return [Pair(int(number), *rest[:3]) for number, *rest in cells]


def written(text: str) -> tuple[str, str, str | None, str | None]:
    """Given names, birth name, usage name, birth date."""
    person = PERSON.fullmatch(text)
    assert person is not None, text
    given, birth, usage, born = person.groups()
    return given, birth, usage, born


def addressee(text: str) -> AddresseeRecord:
    given, birth, usage, born = written(text)
    return AddresseeRecord("consumer", given, birth, usage, None if born is None else date.fromisoformat(born))


def identified(text: str) -> IdentifiedPerson:
    given, birth, usage, born = written(text)
    whole, part = read_birth_date({} if born is None else {"birthdate": born.replace("?", "0")}, "birthdate")
    person = (given, birth, usage, whole, "subject-1", "substantial", "demo", MOMENT, bytes(32))
    return IdentifiedPerson(*person, birth_date_part=part)


@pytest.mark.parametrize("pair", pairs(), ids=lambda pair: f"{pair.number}-{pair.answer}")
def test_every_pair_of_the_page_is_judged_as_it_says(pair: Pair) -> None:
    """docs/matching.md is true, line by line."""
    assert compare(addressee(pair.declared), identified(pair.identified)) == pair.expected


def test_the_page_has_enough_pairs_and_every_kind_of_match() -> None:
    """No line is lost on the way into the test, and each kind that exists is explained and shown."""
    assert len(pairs()) >= PAIRS_MIN
    assert [pair.number for pair in pairs()] == list(range(1, len(pairs()) + 1))
    assert {pair.expected.kind for pair in pairs()} == {*get_args(MatchKind), None}
    assert all(f"| `{kind}` |" in PAGE for kind in get_args(MatchKind))


@pytest.mark.parametrize(
    ("birth_date", "whole", "part"),
    [
        ("1980-05-17", BORN, None),
        (" 1980-05-17 ", BORN, None),
        ("1980-05", None, "1980-05-00"),
        ("1980", None, "1980-00-00"),
        (1980, None, "1980-00-00"),
        (0, None, None),
        ("1980-05-00", None, "1980-05-00"),
        ("1980-00-00", None, "1980-00-00"),
        ("1980-00", None, "1980-00-00"),
        ("1980-00-17", None, "1980-00-17"),
        ("0000-05-17", None, "0000-05-17"),
        ("0000-02-29", None, "0000-02-29"),
        ("1980-02-30", None, "1980-02-00"),
        ("1980-13-17", None, "1980-00-17"),
        ("1980-99-99", None, "1980-00-00"),
        ("0000-00-00", None, None),
        ("0000", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_an_incomplete_birth_date_is_taken_as_far_as_it_is_known(
    birth_date: str | int | None, whole: date | None, part: str | None
) -> None:
    """A register that does not know the day, or whose day cannot be, keeps nobody from identifying."""
    assert read_birth_date({"birthdate": birth_date}, "birthdate") == (whole, part)


def test_names_without_a_letter_agree_with_nothing() -> None:
    """Two empty names are not the same name."""
    for given, birth in (("-", "Lefèvre"), ("Zoé", "'"), ("...", "Lefèvre")):
        person = IdentifiedPerson(given, birth, None, None, "s", "substantial", "demo", MOMENT, bytes(32))
        assert compare(AddresseeRecord("consumer", given, birth, None, None), person) == Compared("near")


def test_a_missing_usage_name_agrees_with_no_missing_one() -> None:
    """That both have none makes nobody the same."""
    declared = AddresseeRecord("consumer", "Zoé", "Martin", None, BORN)
    person = IdentifiedPerson("Zoé", "Lefèvre", None, BORN, "s", "substantial", "demo", MOMENT, bytes(32))
    assert compare(declared, person) == Compared("near")


def test_composed_and_decomposed_letters_are_one() -> None:
    """The same name in both Unicode forms, and with typographic joiners, is the same name."""
    assert plain("É") == plain("E\u0301") == "e"
    assert plain("d’Arc") == plain("d'Arc") == plain("D ARC")


def test_a_long_list_of_names_costs_little() -> None:
    """Four hundred characters of one letter are judged at once: the ways to join them are not tried one by one."""
    declared = AddresseeRecord("consumer", " ".join("a" * 200), "Martin", None, None)
    person = IdentifiedPerson(" ".join("a" * 200), "Martin", None, None, "s", "low", "demo", MOMENT, bytes(32))
    assert compare(declared, person).match == "match"
