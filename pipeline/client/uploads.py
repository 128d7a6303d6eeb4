"""Uploads: a file whole, or in parts when it is long; streamed from the disk, checked before it is believed."""

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import anyio

from pipeline.client.answers import Unreachable, Upload
from pipeline.client.wire import Wire, json_of

UPLOAD_SECONDS = 900.0  # the service's own limit
READ_BYTES = 256 * 1024
WHOLE_BYTES_MAX = 16 * 1024 * 1024  # longer ones in parts, so that a broken connection costs a part
TYPES = {
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".txt": "text/plain",
}


class UploadCalls(Wire):
    """/v1/uploads."""

    async def upload(self, path: Path, file_name: str | None = None) -> Upload:
        """A file, streamed. Its type comes from the name's ending. Raises Refused, Unreachable, OSError."""
        name = file_name or path.name
        if (await anyio.Path(path).stat()).st_size > WHOLE_BYTES_MAX:
            return await self.upload_in_parts(path, name)
        sha256 = await file_sha256(path)
        headers = {
            "Content-Type": content_type(path),
            "Content-Digest": content_digest(sha256),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        }
        answer = json_of(
            await self.call(
                "POST", "/v1/uploads", headers=headers, body=lambda: file_chunks(path), timeout_seconds=UPLOAD_SECONDS
            )
        )
        if answer["sha256"] != sha256.hex():
            raise Unreachable("the service stored other bytes than were sent; send again")
        return Upload(answer["id"], answer["sha256"], answer["file_name"])

    async def upload_in_parts(self, path: Path, file_name: str) -> Upload:
        """Announced, sent part by part, completed. A part sent twice is one part."""
        sha256 = await file_sha256(path)
        announced = json_of(
            await self.call(
                "POST",
                "/v1/uploads",
                json={
                    "sha256": sha256.hex(),
                    "bytes": (await anyio.Path(path).stat()).st_size,
                    "file_name": file_name,
                    "content_type": content_type(path),
                },
            )
        )
        upload_id, part_bytes = str(announced["id"]), int(announced["part_bytes"])
        async with await anyio.open_file(path, "rb") as file:
            number = 1
            while part := await file.read(part_bytes):
                await self.call(
                    "PUT",
                    f"/v1/uploads/{upload_id}/parts/{number}",
                    headers={"Content-Digest": content_digest(hashlib.sha256(part).digest())},
                    content=part,
                    timeout_seconds=UPLOAD_SECONDS,
                )
                number += 1
        await self.call("POST", f"/v1/uploads/{upload_id}/complete", timeout_seconds=UPLOAD_SECONDS)
        return Upload(upload_id, sha256.hex(), file_name)


def inline_document(file_name: str, content: bytes) -> dict[str, str]:
    """A document that travels in the letter itself: 1 byte to 64 KiB. Its type is what its bytes say."""
    digest = hashlib.sha256(content).hexdigest()
    return {"inline_base64": base64.b64encode(content).decode(), "file_name": file_name, "sha256": digest}


def content_type(path: Path) -> str:
    """From the name's ending."""
    return TYPES.get(path.suffix.lower(), "application/octet-stream")


def content_digest(sha256: bytes) -> str:
    """RFC 9530."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


async def file_chunks(path: Path) -> AsyncIterator[bytes]:
    """A file, piece by piece."""
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(READ_BYTES):
            yield chunk


async def file_sha256(path: Path) -> bytes:
    """The digest of a file, in constant memory."""
    digest = hashlib.sha256()
    async for chunk in file_chunks(path):
        digest.update(chunk)
    return digest.digest()
