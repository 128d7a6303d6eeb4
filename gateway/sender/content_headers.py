"""The headers that describe an uploaded file: digest, type, name.

Owns     reading Content-Digest (RFC 9530), Content-Type and Content-Disposition (RFC 6266, with filename* of RFC 8187)
Rules    all mistakes at once; a file name may come as the query parameter file_name instead of the header
Elsewhere: whether the bytes are what the headers say (uploads.py for the digest, `encrypt` for the type)
"""

import re
from base64 import b64decode
from binascii import Error as Base64Invalid
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from gateway.problems import Problem, problem_of
from pipeline.content.types import ALLOWED, TEXT
from pipeline.intake.mistakes import Mistake
from pipeline.intake.reading import FILE_NAME_CHARACTERS_MAX, file_name_mistake, nfc

DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):\s*(?=,|$)", re.ASCII)
EXTENDED_NAME = re.compile(r";\s*filename\*\s*=\s*UTF-8'[a-z0-9-]*'([a-z0-9!#$&+.^_`|~%-]+)", re.ASCII | re.IGNORECASE)
PLAIN_NAME = re.compile(r';\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";]+))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileDescription:
    """What the sender says it is sending."""

    file_name: str
    content_type: str
    sha256: bytes


def file_description(request: Request) -> FileDescription:
    """Raises Problem with every header that is missing or wrong."""
    content_type = declared_type(request)
    mistakes: list[Mistake] = []
    sha256 = _digest(request, mistakes)
    name = _file_name(request, content_type, mistakes)
    if mistakes or sha256 is None or name is None:
        raise problem_of(mistakes)
    return FileDescription(name, content_type, sha256)


def content_digest(request: Request) -> bytes:
    """The SHA-256 of the body as Content-Digest says it; raises Problem."""
    mistakes: list[Mistake] = []
    sha256 = _digest(request, mistakes)
    if sha256 is None:
        raise problem_of(mistakes)
    return sha256


def declared_type(request: Request) -> str:
    """One of the allowed types; text must be UTF-8."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if kind not in ALLOWED:
        raise Problem("type_not_allowed", f"Content-Type must be one of {', '.join(ALLOWED)}")
    charset = re.search(r'charset\s*=\s*"?([^\s";]+)', parameters, re.IGNORECASE)
    if kind == TEXT and charset is not None and charset[1].lower() != "utf-8":
        raise Problem("type_not_allowed", "text must be UTF-8")
    return kind


def _digest(request: Request, mistakes: list[Mistake]) -> bytes | None:
    match = DIGEST.search(request.headers.get("content-digest", ""))
    try:
        value = b64decode(match[1], validate=True) if match else b""
    except Base64Invalid:
        value = b""
    if len(value) != 32:
        mistakes.append(Mistake("field_invalid", "Content-Digest", "is required: sha-256=:BASE64:, of the whole body"))
        return None
    return value


def _file_name(request: Request, content_type: str, mistakes: list[Mistake]) -> str | None:
    pointer = "file_name" if "file_name" in request.query_params else "Content-Disposition"
    name = request.query_params.get("file_name")
    if name is None:
        name = disposition_name(request.headers.get("content-disposition", ""))
    if name is None:
        detail = "is required: attachment; filename*=UTF-8''NAME, or the parameter file_name"
        mistakes.append(Mistake("field_invalid", pointer, detail))
        return None
    name = nfc(name, FILE_NAME_CHARACTERS_MAX)
    wrong = file_name_mistake(name, content_type)
    if wrong:
        mistakes.append(Mistake("field_invalid", pointer, f"the file name {wrong}"))
        return None
    return name


def disposition_name(header: str) -> str | None:
    """filename* before filename (RFC 6266 4.3); None when there is neither, or it is not UTF-8."""
    extended = EXTENDED_NAME.search(header)
    try:
        if extended:
            return unquote_to_bytes(extended[1]).decode("utf-8")
        plain = PLAIN_NAME.search(header)
        if plain is None:
            return None
        raw = re.sub(r"\\(.)", r"\1", plain[1]) if plain[1] is not None else plain[2]
        return raw.encode("latin-1").decode("utf-8")  # headers arrive as latin-1; senders put UTF-8 in them
    except UnicodeError:
        return None
