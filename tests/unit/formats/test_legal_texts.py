"""The words of a decision: one table, and what was shown once stays as it was."""

import hashlib
from typing import get_args

import pytest

from gateway.pages.language import LANGUAGES
from pipeline.formats.legal_texts import DECISION_TEXTS, Act, Capacity, decision_words

SHOWN = {  # SHA-256 over all sentences of a version; a new version is a new row
    1: "8fc403ee7518c46f9df1af69e4001c55cf0eb806f103787214a6693e478ae965",
}


def test_a_version_that_was_shown_is_never_changed() -> None:
    """Receipts hold digests of these words: whoever changes one makes them unreadable."""
    for version, languages in enumerate(DECISION_TEXTS, start=1):
        sentences = [
            (language, field, getattr(text, field))
            for language, text in sorted(languages.items())
            for field in text.__dataclass_fields__
        ]
        assert hashlib.sha256(repr(sentences).encode()).hexdigest() == SHOWN[version]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("act", get_args(Act))
@pytest.mark.parametrize("capacity", get_args(Capacity))
def test_words_say_act_and_capacity(language: str, act: Act, capacity: Capacity) -> None:
    """Pages differ by act, language, capacity and organisation; the organisation stands as it was written."""
    words = decision_words(act, language, capacity, None)
    assert words.version == f"{len(DECISION_TEXTS)}/{language}"
    assert words.sha256 == hashlib.sha256(words.text.encode()).digest()
    everything = {
        decision_words(a, one_language, c, organisation).text
        for a in get_args(Act)
        for one_language in LANGUAGES
        for c in get_args(Capacity)
        for organisation in (None, "Mairie {de} Lyon")
    }
    assert len(everything) == 2 * 2 * 3  # a consumer has no organisation
    if capacity == "professional":
        assert "Mairie {de} Lyon" in decision_words(act, language, capacity, "Mairie {de} Lyon").text
