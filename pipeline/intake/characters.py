"""Texts that look otherwise than they are: which characters no name, subject, address or file name may hold.

Owns     the rule, for whatever a sender sends and whatever an operator types
Rules    refused, with its position and its name: what is not seen (default-ignorable, among it every zero-width
         character, soft hyphens, fillers, variation selectors, tags), what steers (controls, writing direction), what
         is no character (surrogates, noncharacters), what everybody may draw as he likes (private use, unassigned),
         spaces of another width, and a mark that has no letter to stand on
         a zero-width joiner or non-joiner stands where a script needs it and shows it: between two letters that would
         join, or after a virama (RFC 5892 appendix A.1 and A.2). Elsewhere it is refused
         the letters of a word are of one script, or of those that are written together: Han with kana, bopomofo or
         Hangul (Unicode Technical Standard 39 section 5.1). Digits are of one kind (section 5.3). Words are parted by
         spaces and by punctuation; in a name an apostrophe, a hyphen and a dot belong to the word
Elsewhere: lengths, NFC (reading.py). A word that is in another script as a whole is what it is
Source   characters.txt, from the Unicode Character Database of Debian's unicode-data
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["text", "name"]

# What almost every text here consists of, so that only others cost a look at each character: ASCII without controls,
# and Latin letters with accents, which are one script.
PLAIN = re.compile(r"[ -~\u00a1-\u00ac\u00ae-\u00b4\u00b6-\u024f\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u20ac]*")
SPACES = frozenset(" \u00a0\u202f\u3000")  # ASCII, without a break, the same narrow (French), ideographic
SPACES_IN_NAMES = frozenset(" \u00a0\u3000")
# No property of Unicode says that they are drawn as nothing.
BLANKS = frozenset("\u2800\ufffc\U00016fe4\U0001d159")
JOINERS = "\u200c\u200d"
VIRAMA = 9  # canonical combining class
IN_NAMES = frozenset("'’ʼ‘-‐‑.·・")  # parts of a word in a name
WRITTEN_TOGETHER = (frozenset({"Hani", "Hira", "Kana"}), frozenset({"Hani", "Bopo"}), frozenset({"Hani", "Hang"}))
ANY_SCRIPT = frozenset({"Zyyy", "Zinh"})
LABELS = {"control": "control", "surrogate": "surrogate", "private": "private-use", "noncharacter": "noncharacter"}

NOT_SEEN = "which cannot be seen"
REASONS = {
    "control": "a control character",
    "format": "a control of the text's form",
    "separator": "an end of a line",
    "surrogate": "half of a character",
    "private": "which everybody may draw in a way of his own",
    "noncharacter": "which is no character",
    "unassigned": "which Unicode {version} does not know",
    "bidi": "which changes the direction of writing",
    "tag": NOT_SEEN,
    "ignorable": NOT_SEEN,
}


class CharacterFacts(NamedTuple):
    """What the table says: why it is refused, or its scripts; joins: its joining type where it joins."""

    refused: str | None
    scripts: frozenset[str]
    joins: str


class CharacterTable(NamedTuple):
    """The file: where each range begins, and what it says of it."""

    version: str
    starts: tuple[int, ...]
    characters: tuple[CharacterFacts, ...]

    def of(self, character: str) -> CharacterFacts:
        """One character."""
        return self.characters[bisect_right(self.starts, ord(character)) - 1]


@cache
def table() -> CharacterTable:
    """Read once."""
    version, starts, characters = "", [], []
    for line in (Path(__file__).parent / "characters.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            version = line.rpartition(" ")[2]
            continue
        start, *words = line.split(" ")
        starts.append(int(start, 16))
        joins = words.pop()[-1] if words[-1].startswith("joining-") else ""
        refused = words[0] if words[0] in REASONS else None
        characters.append(CharacterFacts(refused, frozenset() if refused else frozenset(words), joins))
    return CharacterTable(version, tuple(starts), tuple(characters))


def character_mistake(text: str, kind: Kind = "text") -> str | None:
    """What is wrong with the first character that may not be there, if one is: words to follow the name of a field."""
    if PLAIN.fullmatch(text):
        return None
    for place, character in enumerate(text):
        if wrong := _refused(text, place, kind):
            return f"must not have {described(character)} at character {place + 1}, {wrong}"
    for place in _mixed(text, kind):
        wrong = "which is of another script than its word before it"
        return f"must not have {described(text[place])} at character {place + 1}, {wrong}"
    return None


def described(character: str) -> str:
    """U+200B ZERO WIDTH SPACE; for what has no name, a label as the Unicode Standard makes them (section 4.8)."""
    code = f"{ord(character):04X}"
    refused = table().of(character).refused
    name = unicodedata.name(character, "") or f"<{LABELS.get(refused or '', 'reserved')}-{code}>"
    return f"U+{code} {name}"


def without_refused(text: str) -> str:
    """The text as it may be stored and shown to whoever sent it: what is refused anywhere is replaced by U+FFFD."""
    if PLAIN.fullmatch(text):
        return text
    return "".join("\ufffd" if table().of(character).refused else character for character in text)


def _refused(text: str, place: int, kind: Kind) -> str | None:
    """Why the character at this place may not be there."""
    character = text[place]
    if character in JOINERS:
        return None if _joins(text, place) else NOT_SEEN
    refused = table().of(character).refused
    if refused is not None:
        return REASONS[refused].format(version=table().version)
    if character in BLANKS:
        return NOT_SEEN
    category = unicodedata.category(character)
    if category == "Zs" and character not in (SPACES_IN_NAMES if kind == "name" else SPACES):
        return "a space of another width"
    if category[0] == "M" and (place == 0 or _bears_no_mark(text[place - 1])):
        return "a mark that has no letter to stand on"
    return None


def _bears_no_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "ZPC" and character not in JOINERS


def _joins(text: str, place: int) -> bool:
    """RFC 5892 appendix A: after a virama and before another letter of its script, or a non-joiner between two letters
    that join."""
    if place == 0 or place + 1 == len(text):
        return False
    before, after = text[place - 1], text[place + 1]
    if unicodedata.combining(before) == VIRAMA:
        is_letter = unicodedata.category(after)[0] == "L"
        return is_letter and bool(table().of(before).scripts & table().of(after).scripts)
    if text[place] != JOINERS[0]:
        return False
    return _joining(reversed(text[:place])) in ("L", "D") and _joining(iter(text[place + 1 :])) in ("R", "D")


def _joining(characters: Iterator[str]) -> str:
    """How the nearest letter joins; marks are passed over."""
    for character in characters:
        if unicodedata.category(character) not in ("Mn", "Me"):
            return table().of(character).joins
    return ""


def _mixed(text: str, kind: Kind) -> Iterator[int]:
    """The places of characters that are of another script, or another kind of digits, than their word before them."""
    scripts: frozenset[str] | None = None
    zero: int | None = None
    for place, character in enumerate(text):
        if not _is_of_word(character, kind):
            scripts = zero = None
            continue
        if unicodedata.category(character) == "Nd":
            of_digit = ord(character) - unicodedata.decimal(character)
            if zero not in (None, of_digit):
                yield place
            zero = of_digit
        own = _scripts(character)
        if own is None:
            continue
        scripts = own if scripts is None else scripts & own
        if not scripts:
            yield place
            scripts = None


def _is_of_word(character: str, kind: Kind) -> bool:
    """Letters, marks and digits are, and joiners; of punctuation an apostrophe, and in a name what joins its parts."""
    if character in JOINERS or character in "'’" or unicodedata.category(character)[0] in "LMN":
        return True
    return kind == "name" and character in IN_NAMES


def _scripts(character: str) -> frozenset[str] | None:
    """Those in which it is written, with what they are written together with; None for what is written in any."""
    scripts = table().of(character).scripts
    if not scripts or scripts & ANY_SCRIPT:
        return None
    return scripts | {f"{i}" for i, together in enumerate(WRITTEN_TOGETHER) if scripts & together}
