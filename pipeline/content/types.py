"""The content types that a letter may have, and whether bytes are of the type that was declared.

Owns     the list, and an incremental check of magic bytes (text: of every byte)
Rules    a type is accepted only when the bytes begin like it, so that nobody is handed a program that calls itself a
         letter. This is no search for malware, and says nothing about what else a reader could find in the bytes
Elsewhere: the refusal (`encrypt` drafts it as type_mismatch), the declared type's syntax
"""

import codecs
import re

PDF = "application/pdf"
PNG = "image/png"
JPEG = "image/jpeg"
TEXT = "text/plain"
ALLOWED = (PDF, PNG, JPEG, TEXT)

MAGIC = {
    PDF: b"%PDF-",  # ISO 32000-2, 7.5.2: the header is the first line of the file
    PNG: b"\x89PNG\r\n\x1a\n",  # W3C PNG (third edition), 5.2
    JPEG: b"\xff\xd8\xff",  # ITU-T T.81, B.1.1.3: SOI, then a marker
}
NOT_IN_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f]")  # controls but tab, line feed, form feed, carriage return


def type_of(content: bytes) -> str:
    """What the bytes begin like; text when they begin like nothing else. Whether the whole fits, TypeCheck tells."""
    return next((kind for kind, magic in MAGIC.items() if content.startswith(magic)), TEXT)


class TypeMismatch(ValueError):
    """The bytes are not of the declared type."""


class TypeCheck:
    """Checks one content as it passes; `finish` returns only when the whole of it fits the declared type."""

    def __init__(self, declared: str) -> None:
        if declared not in ALLOWED:
            raise TypeMismatch(f"{declared} is not one of {', '.join(ALLOWED)}")
        self._declared = declared
        self._magic = MAGIC.get(declared, b"")
        self._head = bytearray()
        self._text = codecs.getincrementaldecoder("utf-8")() if declared == TEXT else None

    def update(self, plain: bytes) -> None:
        """Looks at the next bytes; raises TypeMismatch as soon as they show it."""
        if self._text is not None:
            self._decode(self._text, plain, final=False)
        elif (missing := len(self._magic) - len(self._head)) > 0:
            self._head += plain[:missing]
            if not self._magic.startswith(bytes(self._head)):
                raise TypeMismatch(f"the content does not begin like {self._declared}")

    def finish(self) -> None:
        """Raises TypeMismatch when the content ended before it could show its type."""
        if self._text is not None:
            self._decode(self._text, b"", final=True)
        elif bytes(self._head) != self._magic:
            raise TypeMismatch(f"the content is too short for {self._declared}")

    @staticmethod
    def _decode(text: codecs.IncrementalDecoder, plain: bytes, final: bool) -> None:
        try:
            text.decode(plain, final)
        except UnicodeDecodeError as error:
            raise TypeMismatch("the text is not UTF-8") from error
        if NOT_IN_TEXT.search(plain):
            raise TypeMismatch("the text holds control characters")
