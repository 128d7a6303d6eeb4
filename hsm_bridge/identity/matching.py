"""Is the person who identified the person whom the letter is for?

Owns     the comparison of names and birth date: match, near or no
Rules    pure. Names are compared without accents, case, hyphens, apostrophes and spaces; the birth or the usage name
         counts; one given name in common is enough, because senders often know only the first; the birth date counts
         when the sender gave it. `near` is never taken for a match: it only tells people where to look
Elsewhere: whether the identification itself is genuine (tokens.py)
"""

import unicodedata
from itertools import pairwise
from typing import Literal

from pipeline.formats.context import AddresseeRecord
from pipeline.formats.person import IdentifiedPerson

Match = Literal["match", "near", "no"]

# Letters that NFKD does not take apart (Unicode has no decomposition for them).
_SPELLED_OUT = str.maketrans(
    {"œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
)
_JOINERS = frozenset("-‐‑‒–—'’ʼ`´.,")


def compare(addressee: AddresseeRecord, person: IdentifiedPerson) -> Match:
    """match: family name, a given name and, if known, the birth date agree; near: all but one of these."""
    family = bool(
        _families(addressee.birth_name, addressee.usage_name) & _families(person.birth_name, person.usage_name)
    )
    given = bool(_given_names(addressee.given_names) & _given_names(person.given_names))
    checks = [family, given]
    if addressee.birth_date is not None:
        checks.append(addressee.birth_date == person.birth_date)
    missed = checks.count(False)
    if missed == 0:
        return "match"
    return "near" if missed == 1 else "no"


def plain(name: str) -> str:
    """The name without accents and case; joiners become spaces."""
    text = "".join(" " if c in _JOINERS else c for c in name.casefold().translate(_SPELLED_OUT))
    letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join("".join(letters).split())


def _families(birth_name: str, usage_name: str | None) -> set[str]:
    names = (birth_name, usage_name or "")
    return {compact for name in names if (compact := plain(name).replace(" ", ""))}


def _given_names(names: str) -> set[str]:
    """Each given name, and each two that follow each other as one: Jean Pierre is Jean-Pierre, but Jean is not."""
    single = [compact for token in names.replace(",", " ").split() if (compact := plain(token).replace(" ", ""))]
    return set(single) | {first + second for first, second in pairwise(single)}
