"""Which characters a text may have, against whoever wants a text to look otherwise than it is."""

import re
import sys
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.intake.addresses import AddressInvalid, parse_address
from pipeline.intake.attachments import Carrier
from pipeline.intake.characters import JOINERS, Kind, character_mistake, described, table, without_refused
from pipeline.intake.reading import nfc, text_mistake
from pipeline.intake.submission import read_letter
from tests import unicode_table

MOMENT = datetime(2026, 3, 2, tzinfo=UTC)
REFUSED_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
UNSEEN = re.compile(  # names of the default-ignorable characters that are of another category
    "VARIATION SELECTOR|HANGUL (?:CHOSEONG |JUNGSEONG )?FILLER|GRAPHEME JOINER|KHMER VOWEL INHERENT"
)
NAMED_AFTER = {  # how the names of a script's letters begin
    "LATIN ": "Latn",
    "GREEK ": "Grek",
    "CYRILLIC ": "Cyrl",
    "ARMENIAN ": "Armn",
    "GEORGIAN ": "Geor",
    "HEBREW LETTER ": "Hebr",
    "ARABIC LETTER ": "Arab",
    "DEVANAGARI LETTER ": "Deva",
    "THAI CHARACTER ": "Thai",
    "HIRAGANA LETTER ": "Hira",
    "KATAKANA LETTER ": "Kana",
    "HANGUL SYLLABLE ": "Hang",
    "CJK UNIFIED IDEOGRAPH-": "Hani",
}

# one of each reason, and those that people try first
DECEPTIVE = [
    *("\0", "\t", "\n", "\x7f", "\x85", "\u2028", "\u2029"),
    *("\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u180b", "\u180e", "\u200b", "\u200e", "\u202e"),
    *("\u2060", "\u2063", "\u2066", "\u206a", "\u3164", "\ufe0f", "\ufeff", "\uffa0", "\ufff0", "\ufff9", "\ufffc"),
    *("\U0001bca0", "\U0001d173", "\U000e0001", "\U000e0041", "\U000e0100", "\U000e01f0", "\U000e0fff"),
    *("\ue000", "\uf8ff", "\U000f0000", "\U0010fffd", "\ud800", "\udfff", "\ufdd0", "\ufffe", "\uffff", "\U0001ffff"),
    *("\u0378", "\U000d0000", "\u2800", "\U0001d159", "\u0600", "\u06dd", "\U00013430"),
    *("\u1680", "\u2004", "\u2003", "\u2009", "\u200a", "\u205f", "\u200c", "\u200d"),
]
LEGITIMATE: list[tuple[str, Kind]] = [
    ("Zoé Lefèvre-d’Arc", "name"),
    ("N'Golo O'Brien J.-P.", "name"),
    ("Łukasz Þórður Ðorđević Åsa Nguyễn Thị Ánh", "name"),
    ("Ọ̀bọ̀nọ́", "name"),  # marks that no letter has taken up
    ("Gal·la Ŀull", "name"),
    ("ʻOkina Kaʻiulani", "name"),
    ("Ελένη Παπαδοπούλου", "name"),
    ("Алёна Соловьёва-Мартин", "name"),
    ("محمد بن عبد الله", "name"),
    ("مُحَمَّد", "name"),
    ("علی‌رضا", "name"),
    ("דָּוִד כֹּהֵן", "name"),
    ("太郎 山田", "name"),
    ("渡邉 さくら", "name"),
    ("佐々木 マリー・アンヌ", "name"),
    ("김철수 金哲洙", "name"),
    ("陳大文ㄔ", "name"),
    ("नरेन्द्र श्रीमती", "name"),
    ("क्‍ष", "name"),  # a virama, then the joiner that keeps the half form
    ("ශ්‍රී ලංකා", "name"),
    ("สมชาย ใจดี", "name"),
    ("ნინო Գոհար", "name"),
    ("Société Générale & Cie, S.A. (n° 12)", "name"),
    ("Votre contrat n° 12 : 1 200,50 € – « urgent » 🙂", "text"),
    ("Facture 10 µF / 5 °C ½ ² ①", "text"),
    ("contrat_Договор-2026.pdf", "text"),
    ("請求書_2026年.pdf", "text"),
    ("فاتورة ٢٠٢٦.pdf", "text"),
    ("β bloquant, Ω, Δ", "text"),
]
MIXED = [
    ("Jeаn", 3, "U+0430 CYRILLIC SMALL LETTER A"),
    ("Мartin", 2, "U+0061 LATIN SMALL LETTER A"),
    ("Dupοnt", 4, "U+03BF GREEK SMALL LETTER OMICRON"),
    ("Jean Рaul", 7, "U+0061 LATIN SMALL LETTER A"),
    ("О'Brien", 3, "U+0042 LATIN CAPITAL LETTER B"),
    ("Anne-Мarie", 6, "U+041C CYRILLIC CAPITAL LETTER EM"),
    ("Ꭺnne", 2, "U+006E LATIN SMALL LETTER N"),
    ("Marinꓰ", 6, "U+A4F0 LISU LETTER E"),
    ("Marтin", 4, "U+0442 CYRILLIC SMALL LETTER TE"),
    ("Jea\u0578", 4, "U+0578 ARMENIAN SMALL LETTER VO"),
    ("Raul҃", 5, "U+0483 COMBINING CYRILLIC TITLO"),
    ("太郎Хa", 3, "U+0425 CYRILLIC CAPITAL LETTER HA"),
    ("12৪", 3, "U+09EA BENGALI DIGIT FOUR"),
]


def letter(**recipient: str) -> dict[str, Any]:
    """What a sender may send; recipient: what differs there."""
    person = {"kind": "professional", "email": "a@example.com", "given_names": "Zoé", "birth_name": "Lefèvre"}
    document = {"upload_id": "018f5b5e-0000-7000-8000-000000000001", "file_name": "a.pdf", "sha256": "0" * 64}
    return {"recipient": {**person, **recipient}, "subject": "Contract", "documents": [document]}


def bent(text: str) -> Mapping[str, Mapping[str, Any]]:
    """A letter for each place where a text may stand, by its pointer."""
    of_recipient = {
        f"/recipient/{name}": letter(**{name: text}) for name in ("given_names", "birth_name", "usage_name")
    }
    letters = {**of_recipient, "/subject": letter(), "/consent_ref": letter(), "/metadata/key": letter()}
    letters |= {"/documents/0/file_name": letter(), "/recipient/organisation/name": letter()}
    letters["/subject"]["subject"] = letters["/consent_ref"]["consent_ref"] = text
    letters["/metadata/key"]["metadata"] = {"key": text}
    letters["/documents/0/file_name"]["documents"][0]["file_name"] = text
    letters["/recipient/organisation/name"]["recipient"]["organisation"] = {"name": text}
    return letters


@pytest.mark.parametrize("character", DECEPTIVE, ids=lambda c: f"{ord(c):04X}")
def test_what_is_not_what_it_looks_like_is_refused_wherever_a_sender_writes(character: str) -> None:
    """Every text of a letter, of the API and of a batch's line: with the position and the character's name."""
    for pointer, sent in bent(f"Jea{character}n").items():
        read, mistakes = read_letter(sent, Carrier.LINE)
        assert read is None, pointer
        [mistake] = mistakes
        assert (mistake.pointer, mistake.code) == (pointer, "field_invalid")
        assert f"{described(character)} at character 4" in mistake.detail
        assert mistake.detail.isascii()


@pytest.mark.parametrize("character", DECEPTIVE, ids=lambda c: f"{ord(c):04X}")
def test_no_address_has_one_either(character: str) -> None:
    """Before the @ and after it, also where IDNA would leave it out."""
    for place, address in ((4, f"jea{character}n@example.com"), (10, f"a@example{character}.com")):
        with pytest.raises(AddressInvalid) as refused:
            parse_address(address)
        assert f"U+{ord(character):04X}" in str(refused.value) and f"character {place}" in str(refused.value)


@pytest.mark.parametrize(("text", "place", "name"), MIXED, ids=lambda v: str(v) if isinstance(v, int) else ascii(v))
def test_a_word_in_two_scripts_is_refused(text: str, place: int, name: str) -> None:
    """The first character that is of another script than the word before it is named."""
    wrong = text_mistake(nfc(text, 200), 200, "name")
    assert wrong is not None and f"{name} at character {place}, " in wrong


@pytest.mark.parametrize("domain", ["exаmple.com", "а-b.example.com", "ab.cοm", "xn--exmple-4nf.com", "a。exаmple.com"])
def test_a_domain_has_one_script_a_label(domain: str) -> None:
    """Also where it comes as an A-label, which a mail program shows as what it stands for."""
    with pytest.raises(AddressInvalid, match="script"):
        parse_address(f"jean@{domain}")


def test_domains_of_every_script_become_a_labels() -> None:
    """A label in one script is a name like others, as it is written and as an A-label."""
    for domain, ascii_domain in (("société.fr", "xn--socit-esab.fr"), ("пример.рф", "xn--e1afmkfd.xn--p1ai")):
        assert parse_address(f"jean@{domain}") == parse_address(f"jean@{ascii_domain}") == f"jean@{ascii_domain}"


@pytest.mark.parametrize(("text", "kind"), LEGITIMATE, ids=[ascii(text)[:20] for text, _ in LEGITIMATE])
def test_names_of_people_pass_as_they_are_written(text: str, kind: Kind) -> None:
    """Accents, apostrophes, hyphens, each script, and joiners where a script needs them."""
    assert text_mistake(nfc(text, 200), 200, kind) is None


@pytest.mark.parametrize(
    "text",
    [
        "علی\u200c",
        "\u200cعلی",
        "ع\u200c\u200cل",
        "د\u200cر",
        "ع\u200dل",
        "a\u200cb",
        "क\u200dष",
        "क्\u200da",
        "نی\u200c ها",
    ],
    ids=ascii,
)
def test_a_joiner_stands_only_where_it_shows(text: str) -> None:
    """At an end, twice, after a letter that does not join, between Latin letters, across scripts: it is not seen."""
    wrong = text_mistake(text, 200, "name")
    assert wrong is not None and "ZERO WIDTH" in wrong


@pytest.mark.parametrize("text", ["\u0301a", "a \u0301b", "a-\u0301b", "\u0651ا"], ids=ascii)
def test_a_mark_stands_on_a_letter(text: str) -> None:
    """Else it is drawn on its neighbour, or on nothing."""
    assert "no letter to stand on" in (character_mistake(text, "name") or "")


def test_the_table_agrees_with_another_copy_of_unicode() -> None:
    """Python's own: what is refused there for its category or its name is refused here, and a letter is of the script
    that names it. What only one of the two copies knows, because it is newer, is refused or not looked at."""
    of = table().of
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        facts, category, name = of(character), unicodedata.category(character), unicodedata.name(character, "")
        if facts.refused == "unassigned":
            continue
        if category in REFUSED_CATEGORIES or UNSEEN.search(name):
            assert facts.refused or character in JOINERS, hex(code)
        elif category in ("Lu", "Ll", "Lt", "Lo"):
            script = next((script for begins, script in NAMED_AFTER.items() if name.startswith(begins)), None)
            assert script is None or script in facts.scripts, hex(code)
        if facts.refused and category != "Cn":
            assert category in REFUSED_CATEGORIES or UNSEEN.search(name), hex(code)


def test_the_table_is_what_debian_says() -> None:
    """characters.txt is made of the package unicode-data, where that is installed in the same version."""
    if not (unicode_table.FOLDER / "Scripts.txt").is_file():
        pytest.skip("Debian's unicode-data is not installed")
    if unicode_table.version(unicode_table.FOLDER) != table().version:
        pytest.skip("Debian's unicode-data has another version than the table")
    assert unicode_table.FILE.read_text("utf-8") == unicode_table.table(unicode_table.FOLDER)


def test_what_is_refused_can_still_be_told() -> None:
    """A name that a sender made up goes into answers and into the database without what neither can hold."""
    assert without_refused("a\ud800\u200b\0é") == "a\ufffd\ufffd\ufffdé"
    [unknown, *_] = read_letter({"\ud800": 1, **letter()}, Carrier.LINE)[1]
    assert unknown.pointer == "/\ufffd"
