"""Languages, numbers and dates, and where a letter stands."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

from gateway.pages.language import LANGUAGES, LOCALES, negotiated, translations
from gateway.pages.rendering import TEMPLATES, masked
from gateway.pages.standing import LetterStanding, standing
from gateway.portal.acts import uuid8
from gateway.portal.download import attachment
from pipeline.stores.letters import Letter

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
LETTER = Letter(
    delivery=UUID(int=1),
    number="12345678901234",
    language="fr",
    recipient_email="angela@example.net",
    recipient_kind="consumer",
    organisation_name=None,
    state="notified",
    drafted=frozenset({"A.1", "C.1"}),
    stamped=frozenset({"A.1", "C.1"}),
    notice_date=date(2026, 3, 3),
    last_day=date(2026, 3, 18),
    expires_at=NOW + timedelta(days=15),
    decided_at=None,
    intent_alive=False,
    legal_time=NOW,
)


def source_texts() -> set[str]:
    """Every text that a template asks to have translated."""
    found: set[str] = set()
    for path in Path(TEMPLATES).glob("*.html"):
        with path.open("rb") as file:
            found |= {text for _, _, text, _ in babel_extract(file, ("_", "gettext"), [], {}) if isinstance(text, str)}
    return found


def test_french_is_complete() -> None:
    """Each text of the templates has its French, none is left over, none is doubtful."""
    with (LOCALES / "fr.po").open("rb") as file:
        catalogue = {m.id: m for m in read_po(file, locale="fr") if m.id}
    assert set(catalogue) == source_texts()
    assert not [m.id for m in catalogue.values() if not m.string or m.fuzzy]
    assert translations("fr").gettext("Sender") == "Expéditeur"
    assert translations("en").gettext("Sender") == "Sender"
    assert LANGUAGES == ("fr", "en")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "fr"),
        ("en-GB,en;q=0.9", "en"),
        ("fr-CA, en;q=0.8", "fr"),
        ("de, en;q=0.3, fr;q=0.2", "en"),
        ("en;q=0, fr", "fr"),
        ("de", "fr"),
        ("en;q=x", "fr"),
        ("*", "fr"),
        ("," * 5000 + "en", "fr"),
    ],
)
def test_language_negotiation(header: str, expected: str) -> None:
    """RFC 9110 section 12.5.4, and French where nothing fits."""
    assert negotiated(header) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, LetterStanding.OPEN),
        ({"state": "deposited"}, LetterStanding.NOT_OPEN),
        ({"intent_alive": True}, LetterStanding.DECIDING),
        ({"expires_at": NOW}, LetterStanding.CLOSED),
        ({"expires_at": None}, LetterStanding.CLOSED),
        ({"drafted": frozenset({"A.1", "C.1", "C.3", "D.1"})}, LetterStanding.ACCEPTING),
        ({"drafted": frozenset({"A.1", "C.1", "C.4"}), "expires_at": NOW}, LetterStanding.REFUSING),
        ({"drafted": frozenset({"A.1", "C.1", "C.5"})}, LetterStanding.CLOSED),
        ({"drafted": frozenset({"A.1", "C.1", "C.2"})}, LetterStanding.CLOSED),
        ({"state": "accepted"}, LetterStanding.ACCEPTED),
        ({"state": "received"}, LetterStanding.ACCEPTED),
        ({"state": "refused"}, LetterStanding.REFUSED),
        ({"state": "unclaimed"}, LetterStanding.CLOSED),
        ({"state": "notice_failed"}, LetterStanding.CLOSED),
        ({"state": "rejected"}, LetterStanding.CLOSED),
        ({"state": "uncollected"}, LetterStanding.CLOSED),
    ],
)
def test_standing(change: dict[str, object], expected: LetterStanding) -> None:
    """One answer for every state, draft and time."""
    assert standing(replace(LETTER, **change)) is expected  # type: ignore[arg-type]


def test_masked_address() -> None:
    """The owner recognises it, a stranger does not learn it."""
    assert masked("angela@example.net") == "a•••@example.net"
    assert masked("@") == "•••@"


def test_file_names_with_accents() -> None:
    """RFC 8187: the true name arrives, nothing in it can end the header or the quoted name."""
    said = attachment('Résumé "évolué"\r\n.pdf')
    assert said == (
        'attachment; filename="R_sum_ __volu____.pdf"; '
        "filename*=UTF-8''R%C3%A9sum%C3%A9%20%22%C3%A9volu%C3%A9%22%0D%0A.pdf"
    )


def test_uuid8() -> None:
    """RFC 9562: version and variant are where readers look for them."""
    made = uuid8(bytes([0xFF] * 32))
    assert (made.version, made.variant) == (8, "specified in RFC 4122")
