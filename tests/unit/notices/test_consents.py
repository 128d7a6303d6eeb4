"""Asking a consumer: the text, the mail, how often, and where a request stands."""

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from uuid import UUID

import pytest

from pipeline.notices.consent_mail import compose
from pipeline.notices.consent_ports import ConsentQuestion
from pipeline.notices.consent_wording import Asking, paragraphs, whole, wording_digest
from pipeline.notices.notice import Letterhead
from pipeline.stores.consents import (
    ASKED_DAYS,
    ASKED_MAX,
    ConsentStanding,
    Earlier,
    RequestSeen,
    StillOpen,
    TooOften,
    objection,
)
from tests.words import reserved_words_in

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
HEAD = Letterhead("Étude & Co", "non_qualified", "notice@example.org", "https://example.org")
ASKING = Asking("Demo", "Mairie {de} Lyon\n\nx", "mairie@example.org", "Jeanne", "Martin", "jeanne@example.net")
QUESTION = ConsentQuestion(
    UUID(int=1), "Mairie", "jeanne@example.net", "fr", NOW + timedelta(days=30), NOW, None, False
)
SEEN = RequestSeen(
    id=UUID(int=1),
    sender=UUID(int=2),
    ref="c-1",
    email="jeanne@example.net",
    given_names="Jeanne",
    birth_name="Martin",
    language="fr",
    asked_at=NOW,
    expires_at=NOW + timedelta(days=30),
    is_over=False,
    sender_name="Mairie",
    sender_email="mairie@example.org",
    mail_outcome=None,
    mailed_at=None,
    answer=None,
    answered_at=None,
    answer_language=None,
    text=None,
    text_sha256=None,
    withdrawn_at=None,
    withdrawn_by=None,
)


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_text_names_everybody_and_claims_nothing(language: str) -> None:
    """Who asks, who consents, for which address; whatever stands in a name, the text keeps its paragraphs."""
    text = whole(ASKING, language)
    for said in ("Mairie {de} Lyon", "mairie@example.org", "Jeanne Martin", "jeanne@example.net", "Demo"):
        assert said in text
    assert len(paragraphs(ASKING, language)) == 4
    assert wording_digest(ASKING, language) == hashlib.sha256(text.encode()).hexdigest()
    assert reserved_words_in(text) == []


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_mail_leads_to_the_page(language: str) -> None:
    """It names the sender and the last day; its link is known to the database by digest only."""
    made = compose(HEAD, replace(QUESTION, language=language), os.urandom)
    mail = message_from_bytes(made.mail, policy=default)
    text = mail.get_content()
    [link] = [line for line in text.splitlines() if line.startswith("https://")]
    assert hashlib.sha256(link.removeprefix("https://example.org/consent/").encode()).digest() == made.link_sha256
    assert mail["From"] == '"Étude & Co" <notice@example.org>' or mail["From"].addresses[0].display_name == "Étude & Co"
    assert (mail["To"], mail["Content-Language"], mail["Message-ID"]) == (QUESTION.email, language, made.message_id)
    assert "Mairie" in text
    assert {"fr": "3 avril 2026", "en": "3 April 2026"}[language] in text
    assert reserved_words_in(text + mail["Subject"]) == []


def test_an_address_is_asked_once_at_a_time_and_a_few_times_a_month() -> None:
    """Whoever has not answered is not asked again; nobody is asked a fourth time before the first is long ago."""
    closed = [Earlier(f"c-{n}", False, 86400.0 * n) for n in range(ASKED_MAX)]
    assert objection([]) is None
    assert objection(closed[1:]) is None
    assert objection([replace(closed[0], is_open=True)]) == StillOpen("c-0")
    assert objection(closed) == TooOften((ASKED_DAYS - ASKED_MAX + 1) * 86400)


@pytest.mark.parametrize(
    ("change", "expected", "may_answer"),
    [
        ({}, ConsentStanding.ASKED, True),
        ({"mail_outcome": "relayed"}, ConsentStanding.ASKED, True),
        ({"mail_outcome": "refused"}, ConsentStanding.UNDELIVERABLE, True),
        ({"is_over": True}, ConsentStanding.EXPIRED, False),
        ({"answer": "given"}, ConsentStanding.GIVEN, False),
        ({"answer": "given", "is_over": True}, ConsentStanding.GIVEN, False),
        ({"answer": "refused"}, ConsentStanding.REFUSED, False),
        ({"answer": "given", "withdrawn_at": NOW}, ConsentStanding.WITHDRAWN, False),
    ],
)
def test_standing(change: dict[str, object], expected: ConsentStanding, may_answer: bool) -> None:
    """One answer for every answer, time and word of the relay."""
    seen = replace(SEEN, **change)  # type: ignore[arg-type]
    assert (seen.standing, seen.may_answer) == (expected, may_answer)
