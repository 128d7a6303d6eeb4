"""What a gateway has stored, and many requests at once."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx

from tests.gateway.sender.conftest import World

STORED = ("qerds.delivery", "qerds.delivery_document", "qerds.idempotency", "outbox.ingest")


def nothing_stored(world: World) -> bool:
    return [world.count(table) for table in STORED] == [0, 0, 0, 0]


async def in_parallel(count: int, request: Callable[[], Any]) -> list[httpx.Response]:
    answers: list[httpx.Response] = []

    async def one() -> None:
        answers.append(await request())

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return answers
