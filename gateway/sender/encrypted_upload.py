"""One stream on its way into the store: counted, digested, encrypted, its key sealed to the bridge.

Owns     the one pass over a body, for a whole upload and for a part of one
Rules    plain bytes are in memory only, a few pieces at a time; a wrong digest or length leaves nothing; the key lives
         as long as the call and what is kept of it is sealed to the intake key
Crash    between the object and its row: an object without a key, which nobody can read; `archive` removes it
Elsewhere: requests (uploads.py, upload_parts.py), many contents in one object (packs.py)
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from gateway.problems import field_problem
from gateway.sender.digesting import Digests
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
from pipeline.ports.bridge import PublishedKey
from pipeline.process.measures import UPLOAD_BYTES
from pipeline.stores.senders import StoredSegment


@dataclass(frozen=True, slots=True)
class ExpectedBody:
    """What the request says of the body; plain_bytes is None where it says nothing. pointer: where its digest is."""

    sha256: bytes
    plain_bytes: int | None = None
    pointer: str = "Content-Digest"


@dataclass(frozen=True, slots=True)
class EncryptedUpload:
    """A segment that is in the store and in no row yet; the digests of its plain bytes."""

    segment: StoredSegment
    sha256: bytes
    sha3_256: bytes


class CheckedBody:
    """Digests and length of what passed."""

    def __init__(self, expected: ExpectedBody) -> None:
        self._expected = expected
        self._digests = Digests()
        self.plain_bytes = 0
        self.sha256 = self.sha3_256 = b""  # known once all has passed

    async def encrypted(self, body: AsyncIterator[bytes], encryptor: Encryptor) -> AsyncIterator[bytes]:
        """The ciphertext. Raises Problem at the end when the body is another: then the store keeps nothing."""
        async for piece in self.plain(body):
            if sealed := encryptor.update(piece):
                yield sealed
        yield encryptor.finish()

    async def plain(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces as they are. Raises Problem at the end when the body is another."""
        async for piece in body:
            await self._digests.update(piece)
            self.plain_bytes += len(piece)
            yield piece
        if self.plain_bytes == 0:
            raise field_problem("field_invalid", "", "the body is empty")
        if self._expected.plain_bytes not in (None, self.plain_bytes):
            detail = f"the body has {self.plain_bytes} bytes, this part has {self._expected.plain_bytes}"
            raise field_problem("field_invalid", "", detail)
        self.sha256, self.sha3_256 = await self._digests.finish()
        if self.sha256 != self._expected.sha256:
            raise field_problem("digest_mismatch", self._expected.pointer, "the body has another SHA-256")


async def store_encrypted(
    ports: SenderPorts,
    intake: PublishedKey,
    place: tuple[UUID, UUID, int],
    body: AsyncIterator[bytes],
    expected: ExpectedBody,
) -> EncryptedUpload:
    """Encrypts a body into an object of its own. `place`: sender, upload, number; the key is bound to it."""
    sender, upload, number = place
    ids = ports.ids
    key, name = ids.random_bytes(KEY_BYTES), object_name(ids.random_bytes(NAME_RANDOM_BYTES))
    salt, prefix = ids.random_bytes(SALT_BYTES), ids.random_bytes(NONCE_PREFIX_BYTES)
    checked = CheckedBody(expected)
    encryptor = Encryptor(key, associated_data(name), salt, prefix)
    await ports.objects.put(name, checked.encrypted(body, encryptor))
    ports.recorder.count(UPLOAD_BYTES, by=checked.plain_bytes)
    info = intake_info(sender, upload, number, name, CONTENT_FORMAT, checked.plain_bytes)
    segment = StoredSegment(
        segment=number,
        object=name,
        content_format=CONTENT_FORMAT,
        plain_bytes=checked.plain_bytes,
        intake_key_id=intake.key_id,
        sealed_key=seal_key(intake.spki, info, key),
        sha256=checked.sha256,
    )
    return EncryptedUpload(segment, checked.sha256, checked.sha3_256)
