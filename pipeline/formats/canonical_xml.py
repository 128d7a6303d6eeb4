"""The small part of XML that we emit, in its exclusive canonical form, and nothing else.

Owns the escapes of Canonical XML, a parser that accepts one spelling of each document, and a cursor that reads
elements in a fixed order. No DTD, comment, processing instruction, CDATA, default namespace or mixed content:
what is not in this subset is refused, so two readers cannot see two documents in the same bytes.
Does not know any vocabulary; evidence and signatures are built on top.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

XML_BYTES_MAX = 262_144  # an evidence with 20 documents and its seal is under 60,000
ELEMENTS_MAX = 4_000
DEPTH_MAX = 20
KNOWN_CHARACTERS_MAX = 256  # of attributes that are remembered

Attributes = tuple[tuple[str, str], ...]


class XmlRefused(ValueError):
    """The bytes are not in the canonical subset, or not in the expected order."""


class Element(NamedTuple):
    """One element with either children or text, never both. A tuple: an evidence has a hundred, read at every seal."""

    name: str
    attributes: Attributes
    children: tuple[Element, ...]
    text: str


# Canonical XML 1.0 section 2.3: these characters, in these forms, and no others.
_TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_ATTRIBUTE_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}
)
_UNESCAPED = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x9;": "\t", "&#xA;": "\n", "&#xD;": "\r"}
_TO_ESCAPE = re.compile('[&<>"\t\n\r]')  # nearly no value has one, and looking is ten times cheaper than translating
_ENTITY = re.compile(r"&[^;&]{0,8};|&")
# XML 1.0 section 2.2 Char, without the C0 controls but tab, line feed and carriage return.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_NAME = r"[A-Za-z][A-Za-z0-9]*(?::[A-Za-z][A-Za-z0-9]*)?"
_ATTRIBUTE = re.compile(rf' ({_NAME})="([^"<]*)"')
_TOKEN = re.compile(rf'<({_NAME})((?: {_NAME}="[^"<]*")*)>|</({_NAME})>|([^<]+)')


def escape_text(value: str) -> str:
    return value.translate(_TEXT_ESCAPES) if _TO_ESCAPE.search(value) else value


def escape_attribute(value: str) -> str:
    return value.translate(_ATTRIBUTE_ESCAPES) if _TO_ESCAPE.search(value) else value


def parse(document: bytes) -> Element:
    """Parse one element and refuse every byte that Canonical XML would have written differently."""
    if len(document) > XML_BYTES_MAX:
        raise XmlRefused(f"document of {len(document)} bytes, at most {XML_BYTES_MAX}")
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise XmlRefused("document is not UTF-8") from error
    if _NOT_XML.search(text):
        raise XmlRefused("character not allowed in XML")
    return _build(text)


def _build(text: str) -> Element:
    """The tree of the tokens, each in its one spelling; together they are as long as the text, so none was skipped."""
    names, texts = [""], [""]  # these four have one entry per element that is open
    attributes_of: list[Attributes] = [()]
    children_of: list[list[Element]] = [[]]
    elements = characters = 0
    for start, source, end, run in _TOKEN.findall(text):
        if start:
            elements += 1
            if elements > ELEMENTS_MAX or len(names) > DEPTH_MAX:
                raise XmlRefused("too many or too deeply nested elements")
            characters += len(start) + len(source) + 2
            names.append(start)
            attributes_of.append(_attributes(source) if source else ())
            texts.append("")
            children_of.append([])
        elif end:
            if len(names) < 2 or names[-1] != end:
                raise XmlRefused(f"end tag without start: {end}")
            characters += len(end) + 3
            name, children, inner = names.pop(), children_of.pop(), texts.pop()
            if children and inner:
                raise XmlRefused(f"mixed content in {name}")
            children_of[-1].append(Element(name, attributes_of.pop(), tuple(children), inner))
        else:
            characters += len(run)
            texts[-1] += _text(run)
    if characters != len(text):
        raise XmlRefused("markup not allowed")
    if len(names) != 1 or len(children_of[0]) != 1 or texts[0]:
        raise XmlRefused("not exactly one complete element")
    return children_of[0][0]


def _text(run: str) -> str:
    if not _TO_ESCAPE.search(run):
        return run
    plain = _unescaped(run)
    if escape_text(plain) != run:
        raise XmlRefused("text is not in canonical form")
    return plain


def _attributes(source: str) -> Attributes:
    """From a few spellings again and again, so that reading most of them is looking them up."""
    return _known_attributes(source) if len(source) <= KNOWN_CHARACTERS_MAX else _read_attributes(source)


def _read_attributes(source: str) -> Attributes:
    attributes = tuple((name, _unescaped(value)) for name, value in _ATTRIBUTE.findall(source))
    if len({name for name, _ in attributes}) != len(attributes):
        raise XmlRefused("attribute given twice")
    if "".join(f' {name}="{escape_attribute(value)}"' for name, value in attributes) != source:
        raise XmlRefused("attributes are not in canonical form")
    return attributes


_known_attributes = lru_cache(maxsize=256)(_read_attributes)


def _unescaped(value: str) -> str:
    if "&" not in value:
        return value
    return _ENTITY.sub(_one_unescaped, value)


def _one_unescaped(match: re.Match[str]) -> str:
    plain = _UNESCAPED.get(match.group())
    if plain is None:
        raise XmlRefused("character reference not in canonical form")
    return plain


class Cursor:
    """Reads the children of one element in order; each must have exactly the expected attributes."""

    __slots__ = ("_children", "_name", "_position")

    def __init__(self, element: Element) -> None:
        if element.text:
            raise XmlRefused(f"text in {element.name}")
        self._name = element.name
        self._children: Sequence[Element] = element.children
        self._position = 0

    def next_is(self, name: str) -> bool:
        return self._position < len(self._children) and self._children[self._position].name == name

    def element(self, name: str, attributes: Attributes = ()) -> Element:
        element = self.any_attributes(name)
        if element.attributes != attributes:
            raise XmlRefused(f"attributes of {name} in {self._name}")
        return element

    def any_attributes(self, name: str) -> Element:
        if not self.next_is(name):
            raise XmlRefused(f"expected {name} in {self._name}")
        self._position += 1
        return self._children[self._position - 1]

    def inside(self, name: str, attributes: Attributes = ()) -> Cursor:
        return Cursor(self.element(name, attributes))

    def text(self, name: str, attributes: Attributes = ()) -> str:
        element = self.element(name, attributes)
        if element.children:
            raise XmlRefused(f"elements in {name}")
        return element.text

    def end(self) -> None:
        if self._position != len(self._children):
            raise XmlRefused(f"unexpected {self._children[self._position].name} in {self._name}")
