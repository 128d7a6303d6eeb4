"""Letters that bring their contents with them."""

from typing import Any

from pipeline.client.uploads import inline_document
from tests.gateway.sender.conftest import (
    World,
)

CANARY = b"CANARY of a letter that carries its own content"


def inline(content: bytes = CANARY, file_name: str = "lettre.txt") -> dict[str, Any]:
    return dict(inline_document(file_name, content))


def objects(world: World) -> int:
    return sum(1 for path in world.objects_dir.rglob("*") if path.is_file())
