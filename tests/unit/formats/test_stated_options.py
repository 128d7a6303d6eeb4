"""What the configuration states is fit for evidence and mails: a start refuses it, or every letter has its proof."""

import hashlib
import re
import tomllib
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.evidence.dossier import Dossier, Issuer, Part, RecipientParty, SenderParty
from pipeline.evidence.draft import Head, draft
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import STATED, Config, parse
from pipeline.notices.notice import Addressing, Letterhead, compose

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DELIVERY, NUMBER = UUID(int=7), "40128823401927"
FULL = Path(__file__).with_name("full.toml").read_text()
KEYS = [key for key, _, _ in STATED]
FITS = {
    "config_version": ["embedded-1", "2026-03/b", "a" * 200],
    "provider.name": ["Société d'Envoi & Fils <SA>", 'The "Post"', "Ταχυδρομείο", "x" * 200],
    "provider.country": ["FR"],
    "provider.policy_oid": ["2.25.1.1", "1.3.6.1.4.1.99999.0"],
    "provider.tsa_policy_oid": ["2.25.1.2"],
    "mail.from_address": ["notice@example.org", "no-reply+erds@mail.x-y.example"],
    "gateway.public_url": ["https://example.org:8443/erds", "http://127.0.0.1:8400", "https://[::1]:443"],
}
ODD = """
""|" "|"A\nB"|"A\r\nBcc: x@y.example"|"\tA"|"A "|" A"|"A\x00"|"A\x85B"|"A\u2028B"|"A\uffff"|"in person"|"-"|"é"
"2.25.01"|"3.1"|"2.25.1\n"|"FRA"|"fr"|"FR\n"|"F1"|"a@b"|"a b@c.example"|"<a@b.example>"|"A <a@b.example>"
"a@b.example\n"
"a@-b.example"|"a@b..example"|"é@b.example"|"a@é.example"|"@b.example"|"a@b.example, c@d.example"
"=?utf-8?q?a?=@b.example"|"=?utf-8?q?a?="
"http://"|"http://a b"|"https://a.example/?q"|"https://a.example/\n"|"https://a.example/b/"|"ftp://a.example"
"https://u@a.example"|"https://a.example#x"|"//a.example"|"https://a.example/é"
"""
VALUES = [
    value.encode().decode("unicode_escape") if "\\" in value else value for value in re.findall(r'"([^"]*)"', ODD)
]


def config_with(key: str, value: str) -> Config:
    """The full configuration with one value changed. Raises ConfigInvalid."""
    table: dict[str, Any] = tomllib.loads(FULL) | {"mode": "non_qualified"}
    section, _, name = key.rpartition(".")
    (table[section] if section else table)[name] = value
    return parse(table)


def live_a_letter(config: Config) -> None:
    """What is made of a letter by these texts: its evidence, and a notice that says who writes."""
    provider = config.provider
    dossier = Dossier(
        delivery=DELIVERY,
        number=NUMBER,
        client_ref=None,
        mode=config.mode,
        config_version=config.config_version,
        issuer=Issuer(provider.name, provider.country, provider.policy_oid, "seal-2026-1", bytes(32)),
        sender=SenderParty("Mairie", "mairie@example.org", "substantial", "contract", NOW),
        recipient=RecipientParty("consumer", "jeanne@example.net", "Jeanne", "Martin"),
        parts=(Part(1, "a.txt", "text/plain", 1, hashlib.sha256(b"x").digest(), hashlib.sha3_256(b"x").digest()),),
        submitted_at=NOW,
        consent_ref="consent-1",
    )
    draft(Head(DELIVERY, "submitted", 1, None, NOW, frozenset()), "A.1", dossier)
    head = Letterhead(provider.name, config.mode, config.mail.from_address, config.gateway.public_url)
    to = Addressing(DELIVERY, 1, NUMBER, "jeanne@example.net", "fr")
    mail = message_from_bytes(compose(head, to, NOW, lambda count: b"\x07" * count).mail, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    [sender] = mail["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (provider.name, config.mail.from_address)
    assert f"{config.gateway.public_url}/c/" in str(mail.get_content())
    assert "Bcc" not in mail


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in FITS.items() for value in values])
def test_what_fits_is_taken(key: str, value: str) -> None:
    """And lives a letter."""
    live_a_letter(config_with(key, value))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_does_not_fit_starts_nothing(key: str, value: str) -> None:
    """No 202 without its evidence: each odd value is refused by its key, or is fit for this one."""
    try:
        config = config_with(key, value)
    except ConfigInvalid as error:
        assert key in str(error)
        return
    live_a_letter(config)


@given(st.sampled_from(KEYS), st.text(min_size=1, max_size=40))
@example("provider.name", "\\")
@example("provider.name", 'The "Mail"\\')
@example("provider.name", '"')
@example("provider.name", '\\"é')
def test_no_text_whatever_starts_what_cannot_prove(key: str, value: str) -> None:
    """Nor one that nobody thought of."""
    try:
        config = config_with(key, value)
    except ConfigInvalid:
        return
    live_a_letter(config)


@given(st.data())
def test_whatever_has_the_form_can_prove(data: st.DataObject) -> None:
    """The forms are not wider than what evidence and mails take."""
    key, form, _ = data.draw(st.sampled_from([row for row in STATED if row[0] != "provider.name"]))
    value = data.draw(st.from_regex(re.compile(form), fullmatch=True))
    live_a_letter(config_with(key, value))
