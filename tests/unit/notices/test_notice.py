"""The mail that announces a delivery: its words, and what it must not say."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

import pytest

from pipeline.delivery.deadlines import paris_date
from pipeline.delivery.facts import Notice
from pipeline.notices.notice import (
    BODY,
    MONTHS,
    STANDING,
    SUBJECT,
    TEXT_VERSION,
    Addressing,
    Letterhead,
    compose,
    day_in_words,
    rendered,
)
from pipeline.notices.notice_form import SAMPLES, Blanks, Form

HEAD = Letterhead(
    provider="Demo Registered Delivery",
    mode="non_qualified",
    from_address="notice@registered.example",
    public_url="https://registered.example",
)
TO = Addressing(
    delivery=UUID(int=7), ordinal=1, number="40128823401927", recipient_email="zoe@example.net", language="fr"
)
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CLAIM = base64.urlsafe_b64encode(b"\x07" * 16).rstrip(b"=").decode()
LANGUAGES = sorted(BODY)
TEXTS = {"notice-1": "d1cfa4b8cb96e03381412c9c47b8a698c8140613cf18c260b4b24e6e7b3dc575"}  # a line stays: C.1 names it


def notice(language: str = "fr", head: Letterhead = HEAD, now: datetime = NOW) -> Notice:
    return compose(head, replace(TO, language=language), now, lambda count: b"\x07" * count)


def parsed(mail: bytes) -> EmailMessage:
    message = message_from_bytes(mail, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def words(mail: bytes) -> str:
    return str(parsed(mail).get_content())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_notice_says_what_the_law_asks(language: str) -> None:
    """Number, both dates in words, the link, the provider's standing; the header names it as automatic."""
    made = notice(language)
    body, mail = words(made.mail), parsed(made.mail)
    for day in (made.notice_date, made.last_day):
        assert day_in_words(day, language) in body
    assert "4012 8823 4019 27" in body
    assert f"https://registered.example/c/{CLAIM}" in body.splitlines()  # alone: nothing for a reader to glue to it
    assert STANDING[language, "non_qualified"].strip() in body
    assert (mail["Message-ID"], mail["To"], mail["Content-Language"]) == (made.message_id, TO.recipient_email, language)
    assert mail["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_digests_are_those_of_text_and_link(language: str) -> None:
    """Evidence names the text (with LF) and the gateway the link by digests that the mail's owner can compute."""
    made = notice(language)
    assert made.text_sha256 == hashlib.sha256("\n".join(words(made.mail).split("\r\n")).encode()).digest()
    assert made.claim_sha256 == hashlib.sha256(CLAIM.encode()).digest()


def test_the_dates_are_those_of_paris() -> None:
    """A notice made late in the UTC evening prints the next day, and fifteen days after it."""
    made = notice(now=datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    assert (made.notice_date, made.last_day) == (date(2026, 3, 2), date(2026, 3, 17))
    assert notice(now=datetime(2026, 3, 1, 22, 30, tzinfo=UTC)).notice_date == date(2026, 3, 1)


def test_a_notice_depends_on_nothing_but_what_is_given() -> None:
    """The same input, the same bytes: no clock and no chance hide in it."""
    assert notice() == notice()


def test_two_notices_share_neither_link_nor_identifier() -> None:
    """An old link is not guessed from a new one, and mail programs do not merge two notices."""
    other = compose(HEAD, replace(TO, ordinal=2), NOW, lambda count: b"\x08" * count)
    assert other.claim_sha256 != notice().claim_sha256
    assert other.message_id != notice().message_id


def test_every_language_has_all_its_words() -> None:
    """No notice fails for want of a translation."""
    assert set(SUBJECT) == set(BODY) == {language for language, _ in STANDING}


@pytest.mark.parametrize(
    ("day", "language", "said"),
    [
        (date(2026, 12, 1), "fr", "1er décembre 2026"),
        (date(2026, 8, 15), "fr", "15 août 2026"),
        (date(2026, 12, 1), "en", "1 December 2026"),
    ],
)
def test_days_read_as_people_say_them(day: date, language: str, said: str) -> None:
    """In French the first of a month is an ordinal."""
    assert day_in_words(day, language) == said


def test_a_hostile_provider_name_adds_no_header() -> None:
    """A quote in the configured name cannot change who sends; a line break is refused."""
    made = notice(head=replace(HEAD, provider='Evil" <x@example.org>, "'))
    assert [a.addr_spec for a in parsed(made.mail)["From"].addresses] == [HEAD.from_address]
    with pytest.raises(ValueError, match="linefeed"):
        notice(head=replace(HEAD, provider="Evil\r\nBcc: x@example.org"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_lines_are_those_of_smtp(language: str) -> None:
    """CRLF ends, at most 998 bytes a line (RFC 5322 section 2.1.1), plain ASCII: no relay needs to change a byte."""
    mail = notice(language).mail
    assert mail.isascii()
    assert mail.count(b"\n") == mail.count(b"\r\n")
    assert max(map(len, mail.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("provider", ["Demo Registered Delivery", "Démo Envoi", "Service d'envoi \u2013 " + "é" * 60])
@pytest.mark.parametrize(
    "address",
    [
        *("zoe@example.net", "a.b-c+d@mail.example.org", "o'neil@example.net", '"quoted"@example.net'),
        f"{'x' * 60}@{'y' * 40}.example",
    ],
)
def test_a_filled_form_is_the_rendered_mail(language: str, provider: str, address: str) -> None:
    """Substitution is only faster: byte for byte the same mail, whatever a header would fold, quote or encode."""
    head = replace(HEAD, provider=provider)
    random = iter([bytes(range(16)), bytes(range(16, 32))])
    made = compose(head, replace(TO, language=language, recipient_email=address), NOW, lambda _count: next(random))
    blanks = Blanks(
        sent="Mon, 02 Mar 2026 09:00:00 +0000",
        number="4012 8823 4019 27",
        claim=base64.urlsafe_b64encode(bytes(range(16))).rstrip(b"=").decode(),
        message_id=made.message_id.partition("@")[0] + "@",
        address=address,
    )
    assert made.mail == rendered(head, language, paris_date(NOW), blanks)


def test_the_usual_notice_is_filled_not_rendered() -> None:
    """Else a batch of a hundred would cost a hundred renderings."""
    calls: list[Blanks] = []

    def render(blanks: Blanks) -> bytes:
        calls.append(blanks)
        return rendered(HEAD, "fr", paris_date(NOW), blanks)

    form = Form(render)
    del calls[:]
    form.fill(replace(SAMPLES[0], address="jeanne@example.org"))
    assert calls == []


def test_another_text_is_another_version() -> None:
    """Who reads in C.1 that version notice-1 was sent can know every word of it."""
    standing = {" ".join(key): text for key, text in STANDING.items()}
    text = json.dumps([SUBJECT, BODY, standing, MONTHS], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == TEXTS[TEXT_VERSION]
