"""Names of people compared: as they are spoken of, not as they are spelt.

Owns     what of a spelling does not count, and when two names, or two lists of given names, are the same person's
Rules    pure. Accents, case, hyphens, apostrophes and spaces do not count; scripts are not transliterated
Elsewhere: who is the recipient of a letter (hsm_bridge/identity/matching.py)
"""

import unicodedata
from collections.abc import Iterator

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
_WORDS_OF_ONE_NAME_MAX = 4  # Jean-Pierre, Abd el Rahman: written as one, with hyphens or with spaces


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


def names_agree(declared: str | None, identified: str | None) -> bool:
    """Whether both are there and are the same name."""
    compact = _compact(declared or "")
    return bool(compact) and compact == _compact(identified or "")


def usage_names_differ(declared: str | None, identified: str | None, birth_name: str) -> bool:
    """Whether both are there and are two names. One that only repeats the birth name, which both have, is none, and a
    double name of both is the other half of it."""
    names = {_beside(_compact(name or ""), _compact(birth_name)) for name in (declared, identified)}
    return len(names) == 2 and "" not in names


def _beside(usage: str, birth: str) -> str:
    return usage.removeprefix(birth) if usage.startswith(birth) else usage.removesuffix(birth)


def _compact(name: str) -> str:
    return plain(name).replace(" ", "")


def given_names_agree(declared: str, identified: str, first_may_be_missing: bool) -> bool:
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
    return [compact for word in text.replace(",", " ").split() if (compact := _compact(word))]


def _runs(names: list[str]) -> Iterator[tuple[int, int, str]]:
    """Each name, and neighbours as one: where it begins and ends, in the order of the beginning."""
    for start in range(len(names)):
        for end in range(start + 1, min(start + _WORDS_OF_ONE_NAME_MAX, len(names)) + 1):
            yield start, end, "".join(names[start:end])
