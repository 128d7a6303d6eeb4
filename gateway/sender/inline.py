"""Contents that stand in the JSON of a letter or of a line of a batch: taken out before anything is stored.

Owns     finding documents[].inline_base64, naming the upload that it becomes instead
Rules    no plain content reaches the database: what is no content leaves an empty text, which the judgement of the
         letter refuses. The type of a content is what it begins like; `encrypt` checks the whole of it
Elsewhere: encryption (packs.py for a line, encrypted_upload.py for a letter); the digest, compared when the letter is
         judged
"""

import json
from base64 import b64decode
from binascii import Error as Base64Invalid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from gateway.sender.ports import PackWriter
from pipeline.content.types import MAGIC, TEXT
from pipeline.intake.reading import file_name_mistake
from pipeline.intake.submission import INLINE_BYTES_MAX
from pipeline.stores.senders import Upload

FIELD = "inline_base64"
NAMELESS = "content"
CONTENTS_MAX = 20_000  # in one part: each is a row in memory until the part is stored

Describe = Callable[[str, str, bytes], Upload]  # file name, type and content to the upload that they will be


class Content(NamedTuple):
    """A content in memory, and the upload that it will be."""

    upload: Upload
    plain: bytes


def has_inline(table: Mapping[str, Any]) -> bool:
    """Whether a line, or a letter, carries a content."""
    documents = table.get("documents")
    return isinstance(documents, list) and any(isinstance(d, dict) and d.get(FIELD) is not None for d in documents)


async def taken_out(table: Mapping[str, Any], sender: UUID, pack: PackWriter) -> tuple[bytes, int]:
    """The line with uploads instead of its contents, and how many they were."""
    documents, contents = _apart(table)
    for place, content in contents.items():
        document = documents[place]
        upload = await pack.add(sender, _file_name(document.get("file_name")), content_type(content), content)
        documents[place] = {**document, "upload_id": str(upload)}
    return json.dumps({**table, "documents": documents}).encode(), len(contents)


def taken_apart(table: Mapping[str, Any], describe: Describe) -> tuple[Mapping[str, Any], list[Content]]:
    """A letter with uploads instead of its contents, and the contents."""
    if not has_inline(table):
        return table, []
    documents, contents = _apart(table)
    found = []
    for place, content in contents.items():
        document = documents[place]
        upload = describe(_file_name(document.get("file_name")), content_type(content), content)
        documents[place] = {**document, "upload_id": str(upload.id)}
        found.append(Content(upload, content))
    return {**table, "documents": documents}, found


def _apart(table: Mapping[str, Any]) -> tuple[list[Any], dict[int, bytes]]:
    """The documents, and by their place the contents that were in them."""
    documents, contents = list(table["documents"]), {}
    for place, document in enumerate(documents):
        if not isinstance(document, dict) or document.get(FIELD) is None:
            continue
        content = _content(document[FIELD])
        if content and "upload_id" not in document:
            documents[place] = {name: value for name, value in document.items() if name != FIELD}
            contents[place] = content
        else:
            documents[place] = {**document, FIELD: ""}
    return documents, contents


def content_type(content: bytes) -> str:
    """What the bytes begin like; text when they begin like nothing else."""
    return next((kind for kind, magic in MAGIC.items() if content.startswith(magic)), TEXT)


def _file_name(name: object) -> str:
    """What is no file name makes the line a rejected one, later."""
    return name if isinstance(name, str) and file_name_mistake(name) is None else NAMELESS


def _content(value: object) -> bytes:
    """Nothing, when it is not base64, or too long."""
    try:
        found = b64decode(value, validate=True) if isinstance(value, str) else b""
    except (Base64Invalid, ValueError):
        return b""
    return found if len(found) <= INLINE_BYTES_MAX else b""
