"""Is the person who identified the person whom the letter is for?

Owns     the comparison of names and birth date: match, near or no, and of what kind a match is
Rules    pure. Like is compared with like: birth name with birth name, usage name with usage name. Names are compared
         without accents, case, hyphens, apostrophes and spaces
         every given name that the sender declared is one of the person's, and the person's first one is declared: a son
         who bears his father's name as his second is not his father. A birth date that agrees as a whole stands for the
         first name: some are called by their second
         a birth date that was declared agrees, as far as the provider knows it; one of which it knows nothing does not
         a birth name that differs is somebody else's; only where usage name and whole birth date agree may the sender
         have known it wrongly
         `near` is never taken for a match: it only tells people where to look
Elsewhere: whether the identification itself is genuine (tokens.py); the pairs of people by which this is judged, for
           lawyers to read (docs/matching.md)
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pipeline.formats.context import AddresseeRecord
from pipeline.formats.person import IdentifiedPerson, MatchKind

Match = Literal["match", "near", "no"]
BirthDate = Literal["undeclared", "differs", "part", "whole"]

# Letters that NFKD does not take apart (Unicode has no decomposition for them), and the one Cyrillic letter that is
# written with and without its dots.
_SPELLED_OUT = str.maketrans(
    {"œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ё": "е"}
)
# Alphabets in which a mark is an accent or a vowel point that registers leave out. Elsewhere it makes another letter:
# Cyrillic й, Japanese が, the vowel signs of India.
_MARKS_LEFT_OUT = ("LATIN ", "GREEK ", "ARABIC ", "HEBREW ", "SYRIAC ")
_ZERO_WIDTH_JOINER = "\u200d"  # joins two letters that are neighbours anyway
_NO_LETTERS = frozenset(
    "ʹʻʼʽˈـ"
)  # apostrophes, and the stroke that makes an Arabic word longer: Unicode calls them letters
_GIVEN_NAMES_MAX = 40  # people have fewer; a longer list is compared as far as here
_WORDS_OF_ONE_NAME_MAX = 4  # Jean-Pierre, Abd el Rahman: written as one, with hyphens or with spaces


@dataclass(frozen=True, slots=True)
class Compared:
    """kind: of a match, and of nothing else."""

    match: Match
    kind: MatchKind | None = None


def compare(addressee: AddresseeRecord, person: IdentifiedPerson) -> Compared:
    """match: family name, given names and a declared birth date agree; near: all but one of these."""
    born = _birth_date(addressee.birth_date, person)
    by_birth = _agree(addressee.birth_name, person.birth_name)
    by_usage = born == "whole" and _agree(addressee.usage_name, person.usage_name)
    given = _given_names_agree(addressee.given_names, person.given_names, born == "whole")
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


def plain(name: str) -> str:
    """The name without accents and case; what is no letter, mark or digit becomes a space."""
    text = unicodedata.normalize("NFKC", name).casefold().replace(_ZERO_WIDTH_JOINER, "").translate(_SPELLED_OUT)
    kept: list[str] = []
    marks_count = False
    for character in unicodedata.normalize("NFKD", text).translate(_SPELLED_OUT):
        category = unicodedata.category(character)[0]
        if character in _NO_LETTERS:
            category = "P"
        if category in "LN":
            marks_count = not unicodedata.name(character, "").startswith(_MARKS_LEFT_OUT)
            kept.append(character)
        elif category != "M":
            kept.append(" ")
        elif marks_count:
            kept.append(character)
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def _agree(declared: str | None, identified: str | None) -> bool:
    """Whether both are there and are the same name."""
    compact = _compact(declared or "")
    return bool(compact) and compact == _compact(identified or "")


def _compact(name: str) -> str:
    return plain(name).replace(" ", "")


def _birth_date(declared: date | None, person: IdentifiedPerson) -> BirthDate:
    if declared is None:
        return "undeclared"
    if person.birth_date is not None:
        return "whole" if person.birth_date == declared else "differs"
    if person.birth_date_part is None:
        return "differs"
    parts = zip(person.birth_date_part.split("-"), declared.isoformat().split("-"), strict=True)
    return "part" if all(int(part) in (0, int(whole)) for part, whole in parts) else "differs"


def _given_names_agree(declared: str, identified: str, first_may_be_missing: bool) -> bool:
    """Whether the declared names, in any order, are names of the person, among them the first.

    Neighbours may be written as one name, on either side: Jean Pierre is Jean-Pierre, but Jean is not.
    """
    theirs = list(_runs(_names(identified)))
    firsts = {run for start, _, run in theirs if start == 0}
    names = _names(declared)
    # by the number of names that are covered: whether that can be done without and with the person's first name
    covered: list[set[bool]] = [set() for _ in range(len(names) + 1)]
    covered[0].add(first_may_be_missing)
    runs = {run for _, _, run in theirs}
    for start, end, run in _runs(names):
        if run in runs:
            covered[end] |= {with_first or run in firsts for with_first in covered[start]}
    return bool(names) and True in covered[-1]


def _names(text: str) -> list[str]:
    """The given names, in order; a hyphen joins two to one."""
    return [compact for word in text.replace(",", " ").split() if (compact := _compact(word))][:_GIVEN_NAMES_MAX]


def _runs(names: list[str]) -> Iterator[tuple[int, int, str]]:
    """Each name, and neighbours as one: where it begins and ends, in the order of the beginning."""
    for start in range(len(names)):
        for end in range(start + 1, min(start + _WORDS_OF_ONE_NAME_MAX, len(names)) + 1):
            yield start, end, "".join(names[start:end])
