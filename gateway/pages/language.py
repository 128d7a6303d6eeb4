"""French and English: which one a request wants, and the texts.

Owns     the catalogues (locales/*.po, read at start, no compile step), the choice by address or Accept-Language
Rules    the source texts in the templates are English; French is a complete catalogue, or the start fails
Elsewhere: dates and sizes (rendering.py)
"""

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal, get_args

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

Language = Literal["fr", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
DEFAULT: Language = "fr"
LOCALES = Path(__file__).parent.parent / "locales"
ACCEPTED_MAX = 20  # entries of an Accept-Language header that are looked at


def language_in_address(text: str) -> Language | None:
    """The language that an address begins with."""
    return next((language for language in LANGUAGES if language == text), None)


def negotiated(header: str) -> Language:
    """RFC 9110 section 12.5.4: the best of ours that the browser asks for."""
    preferences: list[tuple[float, int, str]] = []
    for place, entry in enumerate(header.split(",")[:ACCEPTED_MAX]):
        tag, _, quality = entry.strip().partition(";")
        preferences.append((-_quality(quality), place, tag.strip().lower().split("-")[0]))
    for negative, _, tag in sorted(preferences):
        if negative < 0 and (language := language_in_address(tag)) is not None:
            return language
    return DEFAULT


@cache
def translations(language: Language) -> NullTranslations:
    """The texts of `language`; raises ValueError when the catalogue is not complete."""
    if language == "en":
        return NullTranslations()
    with (LOCALES / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    incomplete = [m.id for m in catalogue if m.id and (m.fuzzy or not m.string or not all(m.string))]
    if incomplete:
        raise ValueError(f"{language}.po does not translate {incomplete[0]!r}")
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def _quality(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
