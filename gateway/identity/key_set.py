"""The key that identity providers encrypt their tokens to, as a JWK set at a public address.

The bridge owns the key and published the document; this only serves it.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.ports.bridge import Keys

DOCUMENT = "identity_jwks"


class KeySet:
    """GET /identity/jwks.json."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def show(self, request: Request) -> Response:
        """The newest set; 503 before the bridge has published one."""
        document = await self._keys.document(DOCUMENT)
        if document is None:
            return JSONResponse({"keys": []}, 503, {"Retry-After": "1"})
        return Response(document, media_type="application/jwk-set+json")
