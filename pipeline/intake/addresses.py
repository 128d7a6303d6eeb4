"""E-mail addresses that a notice can be sent to.

Owns     the form: an ASCII dot-atom before the @, a domain name after it; an international domain becomes its A-labels
Rules    no character that looks otherwise than it is, no label in two scripts (characters.py), also behind an A-label;
         no quoted local part, no address literal, no control character: nothing that a mail header or an SMTP command
         could read as more than an address. Whether anybody reads mail there, only the notice will tell
Source   RFC 5321 4.1.2 and 4.5.3.1, RFC 5890 (IDNA 2008), RFC 1123 2.1
"""

import re

import idna

from pipeline.intake.characters import character_mistake

ADDRESS_CHARACTERS_MAX = 254  # RFC 5321 4.5.3.1.3, less the angle brackets
LOCAL_CHARACTERS_MAX = 64  # RFC 5321 4.5.3.1.1
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LOCAL = re.compile(rf"{ATOM}(\.{ATOM})*", re.ASCII)
BETWEEN_PARTS = str.maketrans("@.。．｡", "     ")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class AddressInvalid(ValueError):
    """Not an address; the text says which part of it."""


def parse_address(text: str) -> str:
    """The address with its domain in lower case and A-labels; raises AddressInvalid."""
    _check_characters(text)
    local, at, domain = text.rpartition("@")
    if not at:
        raise AddressInvalid("has no @")
    if not LOCAL.fullmatch(local) or len(local) > LOCAL_CHARACTERS_MAX:
        raise AddressInvalid("has a part before the @ that is not plain ASCII without spaces, at most 64 characters")
    if "=?" in local:  # RFC 2047: a mail header would read it as an encoded word, and the envelope as it stands
        raise AddressInvalid("has a part before the @ that a mail header would read as something else")
    address = f"{local}@{parse_domain(domain)}"
    if len(address) > ADDRESS_CHARACTERS_MAX:
        raise AddressInvalid(f"is longer than {ADDRESS_CHARACTERS_MAX} characters")
    return address


def parse_domain(domain: str) -> str:
    """The domain name in A-labels; raises AddressInvalid."""
    _check_characters(domain)
    try:
        ascii_domain = domain.lower() if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise AddressInvalid("has a domain that is not a name") from error
    labels = ascii_domain.split(".")
    if len(labels) < 2 or not all(LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise AddressInvalid("has a domain that is not a name")
    if any(label.startswith("xn--") for label in labels):
        _check_shown(ascii_domain)
    return ascii_domain


def _check_shown(ascii_domain: str) -> None:
    """A-labels are what a mail program may show in the script that they stand for."""
    try:
        shown = idna.decode(ascii_domain)
    except idna.IDNAError as error:
        raise AddressInvalid("has a domain that is not a name") from error
    _check_characters(shown)


def _check_characters(text: str) -> None:
    """Each part between dots is one word."""
    if wrong := character_mistake(text.translate(BETWEEN_PARTS), "name"):
        raise AddressInvalid(wrong)
