"""What a sender takes home: packages, proofs of batches, exports; checked against the digests that come along."""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
import httpx

from pipeline.client.answers import Package, Refused, TimedOut, Unreachable
from pipeline.client.wire import Wire, json_of

NOT_YET_SECONDS = 0.5
POLL_SECONDS_MAX = 5.0
T = TypeVar("T")


class DownloadCalls(Wire):
    """Packages, proofs of batches, /v1/exports."""

    async def package(self, name: str, snapshot: int | None = None, seconds: float = 60) -> Package:
        """The package of proofs; waits while it is being made. Raises TimedOut."""
        query = "" if snapshot is None else f"?snapshot={snapshot}"
        path = f"/v1/deliveries/{quote(name, safe='')}/package{query}"
        return await self._when_there(f"the package of {name}", lambda: self._package(path), seconds)

    async def batch_proof(self, batch: str, seconds: float = 60) -> Package:
        """The proof of deposit of a whole batch; waits while it is being made. Raises TimedOut."""
        path = f"/v1/batches/{quote(batch, safe='')}/proof"
        return await self._when_there(f"the proof of batch {batch}", lambda: self._package(path), seconds)

    async def create_export(
        self,
        *,
        batch: str | None = None,
        from_time: str | None = None,
        to_time: str | None = None,
        kinds: Sequence[str] = ("package",),
    ) -> Mapping[str, Any]:
        """Orders an export, once however often the answer is lost."""
        fields = {"batch_id": batch, "from": from_time, "to": to_time, "kinds": list(kinds)}
        order = {name: value for name, value in fields.items() if value is not None}
        headers = {"Idempotency-Key": secrets.token_urlsafe(24)}
        return json_of(await self.call("POST", "/v1/exports", headers=headers, json=order))

    async def export(self, export: str) -> Mapping[str, Any]:
        """An export and the parts that are made."""
        return json_of(await self.call("GET", f"/v1/exports/{quote(export, safe='')}"))

    async def download(self, path: str, sha256: str, file: Path) -> None:
        """Streams an object into a file that has its name only when it is whole and right. Raises Unreachable."""
        draft, digest = file.with_name(f".{file.name}.unfinished"), hashlib.sha256()
        async with await anyio.open_file(draft, "wb") as out:
            async for piece in self.stream(path):
                digest.update(piece)
                await out.write(piece)
        if digest.hexdigest() != sha256:
            await anyio.Path(draft).unlink()
            raise Unreachable(f"{file.name} arrived damaged; get it again")
        await anyio.Path(draft).rename(file)

    async def _package(self, path: str) -> Package:
        return _checked(await self.call("GET", path))

    async def _when_there(self, name: str, get: Callable[[], Awaitable[T]], seconds: float) -> T:
        pause_seconds = NOT_YET_SECONDS
        with anyio.move_on_after(seconds):
            while True:
                try:
                    return await get()
                except Refused as refused:
                    if refused.code != "not_yet":
                        raise
                    await anyio.sleep(pause_seconds)
                    pause_seconds = min(pause_seconds * 1.3, POLL_SECONDS_MAX)
        raise TimedOut(f"{name} was not ready in {seconds:g} s")


def _checked(answer: httpx.Response) -> Package:
    sha256 = hashlib.sha256(answer.content).hexdigest()
    if answer.headers.get("etag") != f'"{sha256}"':
        raise Unreachable("the package arrived damaged; get it again")
    return Package(answer.content, sha256)
