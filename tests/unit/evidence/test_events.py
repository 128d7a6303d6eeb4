"""The table of events, and who has to know each of them."""

from __future__ import annotations

from pipeline.delivery.states import TRANSITIONS
from pipeline.evidence.events import WORDS
from pipeline.evidence.languages import LANGUAGES
from pipeline.evidence.verification.chain import FOLLOWS
from pipeline.formats.events import CODE_OF_URI, EVENTS


def test_every_event_has_its_words() -> None:
    """No event is shown to people without a name, in any language."""
    assert set(WORDS) == set(EVENTS)
    for words in WORDS.values():
        assert all(text.said(language) for text in (words.heading, words.sentence) for language in LANGUAGES)


def test_an_event_has_one_uri() -> None:
    """What an evidence names is one event and no other."""
    assert {code: event.uri for code, event in EVENTS.items()} == {code: uri for uri, code in CODE_OF_URI.items()}


def test_the_verifier_judges_every_event() -> None:
    """Its order is its own, but no event of ours is unknown to it: each may begin or follow, and has what follows."""
    assert set(FOLLOWS) - {None} == set(EVENTS)
    assert {event for following in FOLLOWS.values() for event in following} == set(EVENTS)


def test_a_state_follows_from_events_that_there_are() -> None:
    """The table of transitions names nothing else."""
    assert {event for _, needed in TRANSITIONS for event in needed} <= set(EVENTS)
