"""The canonical XML subset: one spelling per document, agreed with another implementation of C14N."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from pipeline.evidence.form.xml import ValueRefused, one_line, text_value
from pipeline.formats.canonical_xml import (
    DEPTH_MAX,
    XML_BYTES_MAX,
    Element,
    XmlRefused,
    escape_attribute,
    escape_text,
    parse,
)

XML_TEXT = st.text(
    st.characters(codec="utf-8").filter(lambda c: (c >= " " or c in "\t\n\r") and c not in "\ufffe\uffff")
)


def spelled(element: Element) -> str:
    """The one spelling of an element, written without the parser's help."""
    attributes = "".join(f' {name}="{escape_attribute(value)}"' for name, value in element.attributes)
    inner = escape_text(element.text) + "".join(map(spelled, element.children))
    return f"<{element.name}{attributes}>{inner}</{element.name}>"


def c14n(document: bytes) -> bytes:
    return etree.tostring(etree.fromstring(document), method="c14n", exclusive=True)


@given(XML_TEXT, XML_TEXT)
def test_escapes_are_those_of_canonical_xml(text: str, value: str) -> None:
    """Whatever the value, our spelling is byte for byte what lxml's exclusive C14N gives, and reads back the same."""
    document = f'<a b="{escape_attribute(value)}">{escape_text(text)}</a>'.encode()
    assert c14n(document) == document
    element = parse(document)
    assert (element.text, element.attributes) == (text, (("b", value),))
    assert spelled(element).encode() == document


PIECES = st.sampled_from(
    [
        "<a>",
        "</a>",
        "<b ",
        'x="1"',
        ' y="&lt;"',
        " y='2'",
        ">",
        "</b>",
        "&amp;",
        "&#x9;",
        "&gt;",
        "t",
        "\r",
        '"',
        " ",
        "<!-- -->",
    ]
)


@given(st.lists(PIECES, max_size=12), st.lists(PIECES, max_size=6))
def test_what_is_accepted_is_spelled_in_one_way(inside: list[str], after: list[str]) -> None:
    """Whatever stands between the tokens, or in another spelling, is refused: what was read is all there is."""
    document = "<a>" + "".join(inside) + "</a>" + "".join(after)
    try:
        element = parse(document.encode())
    except XmlRefused:
        return
    assert spelled(element) == document


@given(st.text())
def test_a_value_is_written_whole_or_refused(value: str) -> None:
    """No value is silently changed on its way into an evidence: it reads back equal or it is refused."""
    try:
        escaped = text_value(value, "value")
    except ValueRefused:
        return
    assert parse(f"<a>{escaped}</a>".encode()).text == value


@given(st.text(max_size=3000))
def test_one_line_makes_any_outside_text_fit(outside: str) -> None:
    """A relay's answer, whatever it holds, can be put into an evidence after `one_line`."""
    text_value("answer: " + one_line(outside, 500), "relay answer")


@pytest.mark.parametrize("value", ["", "a\x00b", "line\nbreak", "tab\t", "\x7f", "\x85", "x" * 2001, "\ud800"])
def test_control_characters_and_long_values_are_refused(value: str) -> None:
    """C0 and C1 controls, surrogates, empty and over-long values never enter an evidence."""
    with pytest.raises(ValueRefused):
        text_value(value, "value")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"text",
        b"<a/>",
        b"<a></a >",
        b"<a ></a>",
        b"<a></b>",
        b"<a><b></a></b>",
        b"<a></a><b></b>",
        b"<a></a> ",
        b" <a></a>",
        b"<a>x<b></b></a>",
        b"<a><!-- hidden --></a>",
        b"<a><?pi?></a>",
        b"<a><![CDATA[x]]></a>",
        b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
        b"<?xml version='1.0'?><a></a>",
        b"<a b='1'></a>",
        b'<a b="1"  c="2"></a>',
        b'<a b="1" b="2"></a>',
        b'<a b="\n"></a>',
        b"<a>&#65;</a>",
        b"<a>&apos;</a>",
        b"<a>&quot;</a>",
        b"<a>></a>",
        b"<a>& b</a>",
        b"<a>\r</a>",
        b"<a>\x00</a>",
        b"<a>\xff</a>",
        b"\xef\xbb\xbf<a></a>",
        "<a>\ufffe</a>".encode(),
        b"<a>" + b"x" * XML_BYTES_MAX + b"</a>",
        b"<a>" * (DEPTH_MAX + 1) + b"</a>" * (DEPTH_MAX + 1),
        b"<a>" + b"<b></b>" * 5000 + b"</a>",
    ],
)
def test_every_other_spelling_is_refused(document: bytes) -> None:
    """What another XML reader might understand differently, or that costs too much, is not read at all."""
    with pytest.raises(XmlRefused):
        parse(document)
