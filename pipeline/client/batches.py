"""Batches over HTTP, typed. Every call may be repeated: a part is known by its digest, submit by the state."""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pipeline.client.answers import Refused
from pipeline.client.uploads import content_digest
from pipeline.client.wire import Wire, json_of

PART_SECONDS = 120.0
NDJSON, CSV = "application/x-ndjson", "text/csv"
OPEN = "open"


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as its sender sees it; `body` is the whole answer."""

    id: str
    state: str
    body: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Batch":
        """From an answer of the API."""
        return cls(body["id"], body["state"], body)

    def count(self, name: str) -> int:
        """received, accepted, rejected or unprocessed lines."""
        return int(self.body.get("counts", {}).get(name, 0))


class BatchCalls(Wire):
    """/v1/batches."""

    async def create_batch(
        self,
        name: str,
        *,
        line_format: str = "ndjson",
        csv_mapping: Mapping[str, str] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Batch:
        """An open one. A lost answer may leave a second one behind, which expires unused."""
        body: dict[str, Any] = {"name": name, "format": line_format}
        body |= {"csv_mapping": dict(csv_mapping)} if csv_mapping else {}
        body |= {"defaults": dict(defaults)} if defaults else {}
        return Batch.of(json_of(await self.call("POST", "/v1/batches", json=body)))

    async def put_items(self, batch: str, part: int, content: bytes, media_type: str = NDJSON) -> Mapping[str, Any]:
        """Some lines. The same part again is fine; another one under its number is refused (part_conflict)."""
        headers = {"Content-Type": media_type, "Content-Digest": content_digest(hashlib.sha256(content).digest())}
        path = f"/v1/batches/{quote(batch, safe='')}/items?part={part}"
        answer = await self.call("PUT", path, headers=headers, content=content, timeout_seconds=PART_SECONDS)
        return json_of(answer)

    async def submit_batch(self, batch: str, parts: int, lines: int, sha256_of_parts: str) -> Batch:
        """No line can be added after it. When its answer was lost, the batch itself tells that it is submitted."""
        body = {"parts": parts, "lines": lines, "sha256_of_parts": sha256_of_parts}
        try:
            return Batch.of(json_of(await self.call("POST", _path(batch, "submit"), json=body)))
        except Refused as refused:
            if refused.code != "already_submitted":
                raise
            return await self.batch(batch)

    def validate_batch(self, batch: str, status: str | None = None) -> AsyncGenerator[bytes, None]:
        """What its lines would become now, as a stream like that of the results; nothing is deposited."""
        query = "" if status is None else f"?status={quote(status, safe='')}"
        return self.stream(_path(batch, "validate") + query, {"Accept": NDJSON}, method="POST")

    async def cancel_batch(self, batch: str) -> Batch:
        """Lines that are no letters yet become none."""
        return Batch.of(json_of(await self.call("POST", _path(batch, "cancel"))))

    async def batch(self, batch: str) -> Batch:
        """Its state and counts."""
        return Batch.of(json_of(await self.call("GET", f"/v1/batches/{quote(batch, safe='')}")))

    def batch_results(
        self, batch: str, status: str | None = None, media_type: str = NDJSON
    ) -> AsyncGenerator[bytes, None]:
        """What became of its lines, as a stream."""
        query = "" if status is None else f"?status={quote(status, safe='')}"
        return self.stream(_path(batch, "results") + query, {"Accept": media_type})


def sha256_of_parts(digests: list[bytes]) -> str:
    """What `submit` names: SHA-256 over the SHA-256 of every part, in order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _path(batch: str, tail: str) -> str:
    return f"/v1/batches/{quote(batch, safe='')}/{tail}"
