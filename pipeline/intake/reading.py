"""Strict reading of JSON bodies: every mistake at once, each with its pointer.

Owns     bytes to one JSON object, and a reader of objects that knows its fields
Rules    a field that nobody reads is unknown and refused, so that a misspelt option is never silently ignored; text is
         NFC and of characters that are what they look like, so that what is sealed later can be written in an evidence
         as it is, and is read there as it was meant
Elsewhere: which fields there are, which characters (characters.py); what JSON is read at all
           (pipeline/formats/bounded_json.py)
"""

import json
import re
import unicodedata
from base64 import b64decode
from binascii import Error as Base64Invalid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

from pipeline.formats import bounded_json
from pipeline.intake.characters import Kind, character_mistake, without_refused
from pipeline.intake.file_names import ending_mistake, name_mistake
from pipeline.intake.mistakes import MISTAKES_MAX, Mistake, Unreadable

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
FILE_NAME_CHARACTERS_MAX = 255
NFC_CHARACTERS_MAX = 4  # that become one at most (Unicode: U+1F82 and its like)
MARKS_MAX = 30  # in a row; no language needs as many (Unicode Standard Annex 15, stream-safe text)

T = TypeVar("T")


def read_json(body: bytes) -> Mapping[str, object]:
    """The object; raises Unreadable."""
    try:
        value = bounded_json.read_json(body)
    except UnicodeDecodeError as error:
        raise Unreadable("invalid_encoding", f"byte {error.start} of the body is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise Unreadable("malformed_json", "a text has half of a surrogate pair") from error
    except ValueError as error:
        detail = f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise Unreadable("malformed_json", detail[:200]) from error
    if not isinstance(value, dict):
        raise Unreadable("malformed_json", "the body must be one JSON object")
    return value


class Fields:
    """One JSON object under a pointer. Mistakes go to the shared list; a method answers None where it found one."""

    def __init__(self, table: Mapping[str, object], mistakes: list[Mistake], at: str = "") -> None:
        self._table = table
        self.mistakes = mistakes
        self._at = at
        self._known: set[str] = set()

    @property
    def table(self) -> Mapping[str, object]:
        """The object as it is, for what depends on more than one field."""
        return self._table

    def note(self, *names: str) -> None:
        """Marks fields as known."""
        self._known |= set(names)

    def take(self, name: str) -> object:
        """A field that only some carriers of this object have: it leaves the object, which is not told of it."""
        value = self._table[name]
        self._table = {other: content for other, content in self._table.items() if other != name}
        return value

    def pointer(self, name: str) -> str:
        """RFC 6901; a name that the sender made up is told as far as it can be."""
        return f"{self._at}/{without_refused(name).replace('~', '~0').replace('/', '~1')}"

    def mistake(self, name: str, detail: str, code: str = "field_invalid") -> None:
        """Notes that this field is wrong."""
        self.mistakes.append(Mistake(code, self.pointer(name), detail))

    def value(self, name: str, kind: type[T], description: str, required: bool = True) -> T | None:
        """The field, if it is of this type; null counts as absent."""
        self._known.add(name)
        value = self._table.get(name)
        if value is None:
            if required:
                self.mistake(name, f"is required: {description}")
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.mistake(name, f"must be {description}")
            return None
        return value

    def text(self, name: str, characters_max: int, required: bool = True, kind: Kind = "text") -> str | None:
        """Text of 1 to characters_max characters, NFC, that can stand in an evidence."""
        value = self.value(name, str, "a text", required)
        if value is None:
            return None
        if wrong := text_mistake(value := nfc(value, characters_max), characters_max, kind):
            self.mistake(name, wrong)
            return None
        return value

    def matching(self, name: str, pattern: re.Pattern[str], description: str, required: bool = True) -> str | None:
        """Text of a fixed form."""
        value = self.value(name, str, description, required)
        if value is not None and not pattern.fullmatch(value):
            self.mistake(name, f"must be {description}")
            return None
        return value

    def choice(self, name: str, allowed: tuple[str, ...], default: str | None = None) -> str | None:
        """One of a few words."""
        value = self.value(name, str, f"one of {', '.join(allowed)}", required=default is None)
        if value is None:
            return default
        if value not in allowed:
            self.mistake(name, f"must be one of {', '.join(allowed)}")
            return None
        return value

    def parsed(self, name: str, parse: Callable[[str], T], description: str, required: bool = True) -> T | None:
        """Text that `parse` understands; it raises ValueError for what it does not."""
        value = self.value(name, str, description, required)
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError:
            self.mistake(name, f"must be {description}")
            return None

    def fields(self, name: str, required: bool = True) -> "Fields | None":
        """A nested object."""
        table = self.value(name, dict, "an object", required)
        return None if table is None else Fields(table, self.mistakes, self.pointer(name))

    def items(self, name: str, count_min: int, count_max: int) -> "list[Fields]":
        """A list of objects."""
        entries = self.value(name, list, f"a list of {count_min} to {count_max} objects")
        if entries is None:
            return []
        if not count_min <= len(entries) <= count_max:
            self.mistake(name, f"must have {count_min} to {count_max} entries")
        items = []
        for index, item in enumerate(entries[:count_max]):
            if isinstance(item, dict):
                items.append(Fields(item, self.mistakes, f"{self.pointer(name)}/{index}"))
            else:
                self.mistakes.append(Mistake("field_invalid", f"{self.pointer(name)}/{index}", "must be an object"))
        return items

    def names(self) -> list[str]:
        """The names of all fields, for an object with free names; marks them known."""
        self._known |= set(self._table)
        return list(self._table)

    def end(self) -> None:
        """Notes every field that nobody asked for, as far as it will be told: thousands fit into a line of a batch."""
        detail = f"is unknown here; known: {', '.join(sorted(self._known))}"
        for name in self._table:
            if name not in self._known:
                if len(self.mistakes) > MISTAKES_MAX:
                    return
                self.mistake(name[:100], detail, "field_unknown")


def nfc(text: str, characters_max: int) -> str:
    """The text in NFC; as it is when `text_mistake` will refuse it anyway: sorting thousands of marks takes seconds."""
    if text.isascii() or len(text) > NFC_CHARACTERS_MAX * characters_max or has_too_many_marks(text):
        return text
    return unicodedata.normalize("NFC", text)


def has_too_many_marks(text: str) -> bool:
    """Combining marks in a row."""
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > MARKS_MAX:
            return True
    return False


def text_mistake(text: str, characters_max: int, kind: Kind = "text") -> str | None:
    """What is wrong with a text in NFC, if anything is."""
    if not 1 <= len(text) <= characters_max:
        return f"must have 1 to {characters_max} characters"
    if not text.isascii() and has_too_many_marks(text):
        return f"must have at most {MARKS_MAX} combining marks in a row"
    if wrong := character_mistake(text, kind):
        return wrong
    if text != text.strip():
        return "must not begin or end with a space"
    return None


def file_name_mistake(name: str, content_type: str | None = None) -> str | None:
    """What is wrong with a file name, for a document of that type or of any; accents are welcome."""
    wrong = text_mistake(name, FILE_NAME_CHARACTERS_MAX) or name_mistake(name)
    return wrong or (ending_mistake(name, content_type) if content_type else None)


def digest(text: str) -> bytes:
    """A SHA-256 digest in hexadecimal or base64."""
    if len(text) == 64:
        data = bytes.fromhex(text)  # which leaves out spaces
        if len(data) != 32:
            raise ValueError("not 32 bytes")
        return data
    try:
        data = b64decode(text, validate=True)
    except Base64Invalid as error:
        raise ValueError("not base64") from error
    if len(data) != 32:
        raise ValueError("not 32 bytes")
    return data


def identifier(text: str) -> UUID:
    """A UUID in its usual spelling."""
    if len(text) != 36:
        raise ValueError("not a UUID")
    return UUID(text)


def instant(text: str) -> datetime:
    """RFC 3339, with a zone."""
    if not RFC3339.fullmatch(text):
        raise ValueError("not RFC 3339")
    moment = datetime.fromisoformat(text)
    if not 1970 <= moment.year < 2200:  # nobody consented before; far ends of the calendar overflow in conversions
        raise ValueError("not a time of this service")
    return moment


def day(text: str) -> date:
    """A calendar date."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError("not a date")
    return date.fromisoformat(text)
