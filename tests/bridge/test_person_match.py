"""Who counts as the addressee."""

from datetime import UTC, date, datetime

import pytest

from hsm_bridge.identity.matching import Match, compare, plain
from pipeline.formats.context import AddresseeRecord
from pipeline.formats.person import IdentifiedPerson

BORN = date(1980, 5, 17)
MOMENT = datetime(2026, 3, 2, tzinfo=UTC)
Case = tuple[str, str, str | None, date | None, str, str, str | None, date | None, Match]

# as the sender wrote it | as the provider says it | outcome
CASES: list[Case] = [
    ("Zoé", "Lefèvre", None, None, "ZOE ANNE", "LEFEVRE", None, BORN, "match"),
    ("Anne", "Lefèvre", None, None, "ZOE ANNE", "LEFEVRE", None, BORN, "match"),
    ("zoé", "LEFÈVRE", None, BORN, "Zoé", "Lefèvre", None, BORN, "match"),
    ("Zoé", "Lefèvre", None, BORN, "Zoé", "Lefèvre", None, date(1980, 5, 18), "near"),
    ("Zoé", "Lefèvre", None, BORN, "Zoé", "Lefèvre", None, None, "near"),
    ("Zoé", "Martin", None, None, "Zoé", "Lefèvre", "Martin", None, "match"),
    ("Zoé", "Lefèvre", "Martin", None, "Zoé", "Martin", None, None, "match"),
    ("Jean-Pierre", "D'Arc", None, None, "JEAN PIERRE", "DARC", None, None, "match"),
    ("Jean Pierre", "Le Goff", None, None, "Jean-Pierre", "LE-GOFF", None, None, "match"),
    ("Jean-Pierre", "Dupont", None, None, "Jean", "Dupont", None, None, "near"),
    ("Jean", "Dupont", None, None, "Jean-Pierre", "Dupont", None, None, "near"),
    ("Œdipe", "Łukasz", None, None, "OEDIPE", "LUKASZ", None, None, "match"),
    ("Paul", "Lefèvre", None, None, "Zoé", "Lefèvre", None, None, "near"),
    ("Zoé", "Durand", None, None, "Zoé", "Lefèvre", None, None, "near"),
    ("Paul", "Durand", None, None, "Zoé", "Lefèvre", None, None, "no"),
    ("Paul", "Durand", None, BORN, "Zoé", "Lefèvre", None, BORN, "no"),
    ("-", "Lefèvre", None, None, "-", "Lefèvre", None, None, "near"),
    ("Zoé", "'", None, None, "Zoé", "-", None, None, "near"),
]


@pytest.mark.parametrize("case", CASES)
def test_names_are_compared_as_people_write_them(case: Case) -> None:
    """Accents, case and joiners do not matter; which name, which person and which birth date do."""
    given, birth, usage, born, said_given, said_birth, said_usage, said_born, outcome = case
    addressee = AddresseeRecord("consumer", given, birth, usage, born)
    person = IdentifiedPerson(
        said_given, said_birth, said_usage, said_born, "subject-1", "substantial", "demo", MOMENT, bytes(32)
    )
    assert compare(addressee, person) == outcome


def test_composed_and_decomposed_letters_are_one() -> None:
    """The same name in both Unicode forms, and with typographic joiners, is the same name."""
    assert plain("É") == plain("E\u0301") == "e"
    assert plain("d’Arc") == plain("d'Arc") == plain("D ARC")
