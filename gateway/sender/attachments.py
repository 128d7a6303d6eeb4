"""Documents that come in the request of their letter: as base64 in its JSON, or as parts of a form.

Owns     giving each the identifier of the upload that it will be, and its way into the store
Rules    a document is named by an upload in the end, whichever way it came: the letter is judged, and its request
         digested, as if it had been uploaded before. What is in memory is judged before anything is stored; a part is
         stored while it arrives, under the digest that the metadata gave. No row is written here: the uploads are
         committed with the letter or not at all, and expire like any other if the letter is rejected
Crash    objects without a row, whose keys nobody has; `archive` removes them a day later
Elsewhere: finding them (inline.py, form.py), encryption (encrypted_upload.py)
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha3_256, sha256
from uuid import UUID

from gateway.problems import Problem, field_problem, problem_of
from gateway.sender.encrypted_upload import ExpectedBody, store_encrypted
from gateway.sender.form import FIELD, FormPart, LetterForm, Named, named_parts
from gateway.sender.inline import Content, taken_apart
from gateway.sender.ports import SenderPorts
from pipeline.content.types import ALLOWED
from pipeline.intake.mistakes import Mistake
from pipeline.ports.bridge import PublishedKey
from pipeline.stores.senders import UPLOAD_DAYS, Document, StoredSegment, Submission, Upload

ONLY_SEGMENT = 1
Contents = tuple[tuple[Upload, StoredSegment], ...]


@dataclass(frozen=True, slots=True)
class Own:
    """What a letter brings: contents that are here, and parts that are to come."""

    contents: Sequence[Content]
    parts: Mapping[str, Named]

    @property
    def uploads(self) -> Sequence[Upload]:
        """Those whose bytes are known."""
        return [content.upload for content in self.contents]

    @property
    def arriving(self) -> frozenset[UUID]:
        """Those whose bytes are not."""
        return frozenset(named.upload for named in self.parts.values())


class OwnContents:
    """The way of such documents into the store."""

    def __init__(self, ports: SenderPorts) -> None:
        self._ports = ports

    def take_apart(
        self, table: Mapping[str, object], sender: UUID, *, in_form: bool
    ) -> tuple[Mapping[str, object], Own, list[Mistake]]:
        """The letter with uploads instead, and what is wrong with the names of its parts."""
        parts: Mapping[str, Named] = {}
        mistakes: list[Mistake] = []
        if in_form:
            table, parts, mistakes = named_parts(table, self._ports.ids.uuid7)

        def describe(file_name: str, content_type: str, plain: bytes) -> Upload:
            digests = sha256(plain).digest(), sha3_256(plain).digest()
            return self._upload(self._ports.ids.uuid7(), sender, file_name, content_type, len(plain), digests)

        table, contents = taken_apart(table, describe)
        return table, Own(contents, parts), mistakes

    async def store(self, sender: UUID, submission: Submission, own: Own, form: LetterForm | None) -> Contents:
        """All of them, encrypted, each an object with a key of its own. Raises Problem."""
        if not own.contents and form is None:
            return ()
        intake = await self._ports.keys.active("intake")
        found = []
        for upload, plain in own.contents:
            place = (sender, upload.id, ONLY_SEGMENT)
            stored = await store_encrypted(self._ports, intake, place, _whole(plain), ExpectedBody(upload.sha256))
            found.append((upload, stored.segment))
        if form is not None:
            found += await self._arrived(sender, intake, {d.upload: d for d in submission.documents}, own.parts, form)
        return tuple(found)

    async def _arrived(
        self,
        sender: UUID,
        intake: PublishedKey,
        documents: Mapping[UUID, Document],
        parts: Mapping[str, Named],
        form: LetterForm,
    ) -> list[tuple[Upload, StoredSegment]]:
        missing = dict(parts)
        found = []
        while (part := await form.next_part()) is not None:
            named = missing.pop(part.name, None)
            if named is None:
                detail = "was sent before" if part.name in parts else "is the part of no document"
                raise field_problem("field_invalid", part.name[:100], detail)
            found.append(await self._one(sender, intake, documents[named.upload], part, form))
        if missing:
            absent = [f"/documents/{named.place}/{FIELD}" for named in missing.values()]
            raise problem_of([Mistake("field_invalid", at, "the form has no such part") for at in absent])
        return found

    async def _one(
        self, sender: UUID, intake: PublishedKey, document: Document, part: FormPart, form: LetterForm
    ) -> tuple[Upload, StoredSegment]:
        if part.content_type not in ALLOWED:
            raise Problem("type_not_allowed", f"the part {part.name} must be one of {', '.join(ALLOWED)}")
        bytes_max = self._ports.config.gateway.document_bytes_max
        body = _bounded(form.pieces(), bytes_max, f"the part {part.name} has more than {bytes_max} bytes")
        expected = ExpectedBody(document.sha256, pointer=f"/documents/{document.part - 1}/sha256")
        stored = await store_encrypted(self._ports, intake, (sender, document.upload, ONLY_SEGMENT), body, expected)
        digests, plain_bytes = (stored.sha256, stored.sha3_256), stored.segment.plain_bytes
        name_and_type = (document.file_name, part.content_type)
        return self._upload(document.upload, sender, *name_and_type, plain_bytes, digests), stored.segment

    def _upload(
        self, upload: UUID, sender: UUID, name: str, kind: str, plain_bytes: int, digests: tuple[bytes, bytes]
    ) -> Upload:
        expires_at = self._ports.clock.now() + timedelta(days=UPLOAD_DAYS)
        return Upload(upload, sender, name, kind, plain_bytes, *digests, expires_at)


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _bounded(body: AsyncIterator[bytes], bytes_max: int, too_long: str) -> AsyncIterator[bytes]:
    seen_bytes = 0
    async for piece in body:
        seen_bytes += len(piece)
        if seen_bytes > bytes_max:
            raise Problem("body_too_large", too_long)
        yield piece
