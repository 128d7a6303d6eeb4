"""The languages in which a proof is told to people.

Owns     their names, and a text in all of them
Elsewhere: the languages of the pages and mails (gateway, pipeline/notices), which may be others
"""

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = ("en", "fr")


class Words(NamedTuple):
    """One text in every language."""

    en: str
    fr: str

    def said(self, language: str) -> str:
        """In `language`; ValueError for one that is not among LANGUAGES."""
        return self[LANGUAGES.index(language)]
