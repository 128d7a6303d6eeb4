"""POST /v1/uploads: a file in one body, encrypted while it arrives; or the announcement of one in parts.

Owns     the whole upload
Rules    what the body is follows from its type: JSON announces, everything else is a file
Elsewhere: the pass over the body (encrypted_upload.py), parts (upload_parts.py), how many bodies at once (routes.py),
         reading back (`encrypt` does, before there is a proof of deposit)
"""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from gateway.addresses import body_bytes_max
from gateway.limits import pieces
from gateway.places import Places
from gateway.sender import presentation
from gateway.sender.content_headers import file_description
from gateway.sender.encrypted_upload import ExpectedBody, store_encrypted
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from gateway.sender.upload_parts import UploadParts
from pipeline.stores.senders import UPLOAD_DAYS, SenderUpload

SCOPE = "deliveries:write"
ONLY_SEGMENT = 1
JSON = "application/json"


class Uploads:
    """/v1/uploads."""

    def __init__(self, ports: SenderPorts, oauth: OAuth, places: Places) -> None:
        self._ports = ports
        self._oauth = oauth
        self._places = places
        self.parts = UploadParts(ports, oauth, places)

    async def create(self, request: Request) -> Response:
        """POST."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON:
            return await self.parts.announce(request)
        principal = await self._oauth.authorise(request, SCOPE)
        file = file_description(request)
        intake = await self._ports.keys.active("intake")
        upload_id = self._ports.ids.uuid7()
        with self._places.held(principal.sender):
            body = pieces(request, body_bytes_max(request))
            place = (principal.sender, upload_id, ONLY_SEGMENT)
            stored = await store_encrypted(self._ports, intake, place, body, ExpectedBody(file.sha256))
        upload = SenderUpload(
            id=upload_id,
            sender=principal.sender,
            file_name=file.file_name,
            content_type=file.content_type,
            content_bytes=stored.segment.plain_bytes,
            sha256=stored.sha256,
            sha3_256=stored.sha3_256,
            expires_at=self._ports.clock.now() + timedelta(days=UPLOAD_DAYS),
        )
        await self._ports.senders.add_upload(upload, [stored.segment])
        return Response(presentation.json_bytes(presentation.upload(upload)), 201, media_type=JSON)
