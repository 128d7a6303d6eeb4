"""POST /v1/uploads: a file, encrypted while it arrives.

Owns     the one pass over the body: count, SHA-256, SHA3-256, encrypt, store
Rules    plain bytes are in memory only, a few pieces at a time; a wrong digest, a broken or oversized body leaves
         nothing; the key lives as long as the request; what is kept is sealed to the bridge's intake key
Crash    between the object and its row: an object without a key, which nobody can read; it stays
Not      here: reading it back (`encrypt` does, before there is a proof of deposit)
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha3_256, sha256
from uuid import UUID

import anyio
from starlette.requests import Request
from starlette.responses import Response

from gateway.limits import DOCUMENT_BYTES_MAX, pieces
from gateway.problems import Problem, field_problem
from gateway.sender import presentation
from gateway.sender.content_headers import FileDescription, describe
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from pipeline.content.envelope import (
    CONTENT_FORMAT,
    KEY_BYTES,
    NONCE_PREFIX_BYTES,
    SALT_BYTES,
    Encryptor,
    associated_data,
    seal_key,
)
from pipeline.content.names import NAME_RANDOM_BYTES, object_name
from pipeline.formats.context import intake_info
from pipeline.ports import PublishedKey
from pipeline.senders import UPLOAD_DAYS, StoredSegment, Upload

SCOPE = "deliveries:write"
UPLOADS_AT_ONCE = 32  # each holds some three segments of 1 MiB
ONLY_SEGMENT = 1


class _Passage:
    """One body on its way through: digests and length of what passed, ciphertext out."""

    def __init__(self, encryptor: Encryptor, expected_sha256: bytes) -> None:
        self._encryptor = encryptor
        self._expected = expected_sha256
        self._sha256 = sha256()
        self._sha3_256 = sha3_256()
        self.plain_bytes = 0

    async def through(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Raises Problem at the end when the digest is another: then the store keeps nothing."""
        async for piece in body:
            self._sha256.update(piece)
            self._sha3_256.update(piece)
            self.plain_bytes += len(piece)
            if sealed := self._encryptor.update(piece):
                yield sealed
        if self.plain_bytes == 0:
            raise field_problem("field_invalid", "", "the body is empty")
        if self._sha256.digest() != self._expected:
            raise field_problem("digest_mismatch", "Content-Digest", "the body has another SHA-256")
        yield self._encryptor.finish()

    def digests(self) -> tuple[bytes, bytes]:
        """SHA-256 and SHA3-256 of the plain bytes."""
        return self._sha256.digest(), self._sha3_256.digest()


class Uploads:
    """/v1/uploads."""

    def __init__(self, ports: SenderPorts, oauth: OAuth) -> None:
        self._ports = ports
        self._oauth = oauth
        self._places = anyio.CapacityLimiter(UPLOADS_AT_ONCE)

    async def create(self, request: Request) -> Response:
        """POST."""
        principal = await self._oauth.authorise(request, SCOPE)
        file = describe(request)
        intake = await self._ports.keys.active("intake")
        try:
            self._places.acquire_on_behalf_of_nowait(request)
        except anyio.WouldBlock as error:
            raise Problem("unavailable", "too many uploads at once") from error
        try:
            upload = await self._take_in(request, principal.sender, file, intake)
        finally:
            self._places.release_on_behalf_of(request)
        return Response(presentation.json_bytes(presentation.upload(upload)), 201, media_type="application/json")

    async def _take_in(self, request: Request, sender: UUID, file: FileDescription, intake: PublishedKey) -> Upload:
        ids = self._ports.ids
        upload_id, key = ids.uuid7(), ids.random_bytes(KEY_BYTES)
        name = object_name(ids.random_bytes(NAME_RANDOM_BYTES))
        salt, prefix = ids.random_bytes(SALT_BYTES), ids.random_bytes(NONCE_PREFIX_BYTES)
        passage = _Passage(Encryptor(key, associated_data(name), salt, prefix), file.sha256)
        await self._ports.objects.put(name, passage.through(pieces(request, DOCUMENT_BYTES_MAX)))
        info = intake_info(sender, upload_id, ONLY_SEGMENT, name, CONTENT_FORMAT, passage.plain_bytes)
        segment = StoredSegment(
            segment=ONLY_SEGMENT,
            object=name,
            content_format=CONTENT_FORMAT,
            plain_bytes=passage.plain_bytes,
            intake_key_id=intake.key_id,
            sealed_key=seal_key(intake.spki, info, key),
        )
        plain_sha256, plain_sha3_256 = passage.digests()
        upload = Upload(
            id=upload_id,
            sender=sender,
            file_name=file.file_name,
            content_type=file.content_type,
            content_bytes=passage.plain_bytes,
            sha256=plain_sha256,
            sha3_256=plain_sha3_256,
            expires_at=self._ports.clock.now() + timedelta(days=UPLOAD_DAYS),
        )
        await self._ports.senders.add_upload(upload, [segment])
        return upload
