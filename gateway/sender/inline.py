"""Contents that stand in the lines of a batch: taken out before a line is stored, encrypted into the part's pack.

Owns     finding documents[].inline_base64 in a line, handing its bytes to the pack, naming the upload instead
Rules    no plain content reaches the database: what is not base64 leaves an empty text, which the judgement of the
         line refuses. The type of a content is what it begins like; `encrypt` checks the whole of it
Not      here: encryption (packs.py), whether the digest is right (when the line is judged)
"""

import json
from base64 import b64decode
from binascii import Error as Base64Invalid
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from gateway.sender.ports import PackWriter
from pipeline.content.types import MAGIC, TEXT
from pipeline.intake.reading import file_name_mistake

FIELD = "inline_base64"
NAMELESS = "content"
CONTENTS_MAX = 20_000  # in one part: each is a row in memory until the part is stored


def has_inline(table: Mapping[str, Any]) -> bool:
    """Whether a line carries a content."""
    documents = table.get("documents")
    return isinstance(documents, list) and any(isinstance(d, dict) and d.get(FIELD) is not None for d in documents)


async def taken_out(table: Mapping[str, Any], sender: UUID, pack: PackWriter) -> tuple[bytes, int]:
    """The line with uploads instead of its contents, and how many they were."""
    documents: list[Any] = []
    taken = 0
    for document in table["documents"]:
        if not isinstance(document, dict) or document.get(FIELD) is None:
            documents.append(document)
            continue
        rest = {name: value for name, value in document.items() if name != FIELD}
        content = _content(document[FIELD])
        if content and "upload_id" not in document:
            upload = await pack.add(sender, _file_name(document.get("file_name")), content_type(content), content)
            documents.append({**rest, "upload_id": str(upload)})
            taken += 1
        else:
            documents.append({**document, FIELD: ""})
    return json.dumps({**table, "documents": documents}).encode(), taken


def content_type(content: bytes) -> str:
    """What the bytes begin like; text when they begin like nothing else."""
    return next((kind for kind, magic in MAGIC.items() if content.startswith(magic)), TEXT)


def _file_name(name: object) -> str:
    """What is no file name makes the line a rejected one, later."""
    return name if isinstance(name, str) and file_name_mistake(name) is None else NAMELESS


def _content(value: object) -> bytes:
    """Nothing, when it is not base64."""
    try:
        return b64decode(value, validate=True) if isinstance(value, str) else b""
    except (Base64Invalid, ValueError):
        return b""
