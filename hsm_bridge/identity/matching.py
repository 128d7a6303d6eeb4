"""Is the person who identified the person whom the letter is for?

Owns     the comparison of names and birth date: match, near or no, and of what kind a match is
Rules    pure. Like is compared with like: birth name with birth name, usage name with usage name
         every given name that the sender declared is one of the person's, and the person's first one is declared: a son
         who bears his father's name as his second is not his father. A birth date that agrees as a whole stands for the
         first name: some are called by their second
         a birth date that was declared agrees, as far as the provider knows it; one of which it knows nothing does not
         a birth name that differs is somebody else's; only where usage name and whole birth date agree may the sender
         have known it wrongly. Two usage names are two people's, unless the whole birth date agrees: one is an old one
         `near` is never taken for a match: it only tells people where to look
Elsewhere: whether the identification itself is genuine (tokens.py), when two names are one (formats/names.py), the
           pairs of people by which this is judged, for lawyers to read (docs/matching.md)
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from pipeline.formats.context import AddresseeRecord
from pipeline.formats.names import given_names_agree, names_agree, usage_names_differ
from pipeline.formats.person import IdentifiedPerson, MatchKind

Match = Literal["match", "near", "no"]
BirthDate = Literal["undeclared", "differs", "part", "whole"]


@dataclass(frozen=True, slots=True)
class Compared:
    """kind: of a match, and of nothing else."""

    match: Match
    kind: MatchKind | None = None


def compare(addressee: AddresseeRecord, person: IdentifiedPerson) -> Compared:
    """match: family name, given names and a declared birth date agree; near: all but one of these."""
    born = _birth_date(addressee.birth_date, person)
    is_sure = born == "whole"
    by_birth = names_agree(addressee.birth_name, person.birth_name) and (
        is_sure or not usage_names_differ(addressee.usage_name, person.usage_name, person.birth_name)
    )
    by_usage = is_sure and names_agree(addressee.usage_name, person.usage_name)
    given = given_names_agree(addressee.given_names, person.given_names, first_may_be_missing=is_sure)
    missed = [by_birth or by_usage, given, born != "differs"].count(False)
    if missed == 0:
        return Compared("match", _kind(by_birth, born))
    return Compared("near" if missed == 1 else "no")


def _kind(by_birth: bool, born: BirthDate) -> MatchKind:
    if not by_birth:
        return "usage_name_and_birth_date"
    if born == "whole":
        return "birth_name_and_birth_date"
    return "birth_name_and_part_of_birth_date" if born == "part" else "birth_name"


def _birth_date(declared: date | None, person: IdentifiedPerson) -> BirthDate:
    if declared is None:
        return "undeclared"
    if person.birth_date is not None:
        return "whole" if person.birth_date == declared else "differs"
    if person.birth_date_part is None:
        return "differs"
    parts = zip(person.birth_date_part.split("-"), declared.isoformat().split("-"), strict=True)
    return "part" if all(int(part) in (0, int(whole)) for part, whole in parts) else "differs"
