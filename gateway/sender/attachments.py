"""Documents that come with their letter, on their way into the store: contents of its JSON, parts of a form.

Owns     giving each the upload that it will be, encrypted, under the digest that the letter gives
Rules    a part is stored while it arrives, in whatever order; one that is the part of no document, or does not come,
         ends the request. No row is written here: the uploads are committed with the letter or not at all, and expire
         like any other if the letter is rejected
Crash    objects without a row, whose keys nobody has; `archive` removes them a day later
Elsewhere: which documents they are (pipeline/intake/attachments.py), encryption (encrypted_upload.py)
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

from gateway.problems import Problem, field_problem, problem_of
from gateway.sender.encrypted_upload import ExpectedBody, store_encrypted
from gateway.sender.form import FormPart, LetterForm
from gateway.sender.ports import SenderPorts
from pipeline.content.types import ALLOWED, type_of
from pipeline.intake.attachments import PART, Attachment, InForm, Inline
from pipeline.intake.file_names import ending_mistake
from pipeline.intake.mistakes import Mistake
from pipeline.intake.submission import SubmittedLetter
from pipeline.ports.bridge import PublishedKey
from pipeline.stores.senders import UPLOAD_DAYS, SenderUpload, StoredSegment

ONLY_SEGMENT = 1
StoredAttachments = dict[int, tuple[SenderUpload, StoredSegment]]  # by the number of the document


class Attachments:
    """Their way into the store."""

    def __init__(self, ports: SenderPorts) -> None:
        self._ports = ports

    async def store(self, sender: UUID, letter: SubmittedLetter, form: LetterForm | None) -> StoredAttachments:
        """All that came with the letter, each an object with a key of its own. Raises Problem."""
        stored: StoredAttachments = {}
        contents = [(a, a.source.content) for a in letter.attachments if isinstance(a.source, Inline)]
        if not contents and form is None:
            return stored
        intake = await self._ports.keys.active("intake")
        for attachment, content in contents:
            stored[attachment.part] = await self._stored(sender, intake, attachment, type_of(content), _whole(content))
        if form is not None:
            stored |= await self._arrived(sender, intake, letter, form)
        return stored

    async def _arrived(
        self, sender: UUID, intake: PublishedKey, letter: SubmittedLetter, form: LetterForm
    ) -> StoredAttachments:
        by_name = {a.source.name: a for a in letter.attachments if isinstance(a.source, InForm)}
        missing = dict(by_name)
        stored: StoredAttachments = {}
        while (part := await form.next_part()) is not None:
            attachment = missing.pop(part.name, None)
            if attachment is None:
                detail = "was sent before" if part.name in by_name else "is the part of no document"
                raise field_problem("field_invalid", part.name[:100], detail)
            body = self._body(part, form)
            stored[attachment.part] = await self._stored(sender, intake, attachment, part.content_type, body)
        if missing:
            absent = [a.pointer(PART) for a in missing.values()]
            raise problem_of([Mistake("field_invalid", at, "the form has no such part") for at in absent])
        return stored

    def _body(self, part: FormPart, form: LetterForm) -> AsyncIterator[bytes]:
        if part.content_type not in ALLOWED:
            raise Problem("type_not_allowed", f"the part {part.name} must be one of {', '.join(ALLOWED)}")
        bytes_max = self._ports.config.gateway.document_bytes_max
        return _bounded(form.pieces(), bytes_max, f"the part {part.name} has more than {bytes_max} bytes")

    async def _stored(
        self,
        sender: UUID,
        intake: PublishedKey,
        attachment: Attachment,
        content_type: str,
        body: AsyncIterator[bytes],
    ) -> tuple[SenderUpload, StoredSegment]:
        if wrong := ending_mistake(attachment.file_name, content_type):
            raise field_problem("field_invalid", attachment.pointer("file_name"), wrong)
        upload = self._ports.ids.uuid7()
        expected = ExpectedBody(attachment.sha256, pointer=attachment.pointer("sha256"))
        encrypted = await store_encrypted(self._ports, intake, (sender, upload, ONLY_SEGMENT), body, expected)
        row = SenderUpload(
            id=upload,
            sender=sender,
            file_name=attachment.file_name,
            content_type=content_type,
            content_bytes=encrypted.segment.plain_bytes,
            sha256=encrypted.sha256,
            sha3_256=encrypted.sha3_256,
            expires_at=self._ports.clock.now() + timedelta(days=UPLOAD_DAYS),
        )
        return row, encrypted.segment


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _bounded(body: AsyncIterator[bytes], bytes_max: int, too_long: str) -> AsyncIterator[bytes]:
    seen_bytes = 0
    async for piece in body:
        seen_bytes += len(piece)
        if seen_bytes > bytes_max:
            raise Problem("body_too_large", too_long)
        yield piece
