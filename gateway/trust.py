"""/v1/trust: what an offline verifier needs from us once: the CA certificate and the newest revocation list.

Rules    the certificate is the one pinned at installation, not a row of the database; a verifier compares its digest
         with what the operator publishes elsewhere: an anchor fetched from the service only proves agreement with it
"""

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from starlette.requests import Request
from starlette.responses import Response

from gateway.addresses import Address, Row
from gateway.limits import REQUEST_SECONDS
from gateway.problems import Problem
from pipeline.ports.bridge import Keys

RETRY_SECONDS = 5


class Trust:
    """Two public files."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def certificate(self, request: Request) -> Response:
        """GET /v1/trust/ca.pem."""
        pem = load_der_x509_certificate(await self._keys.trust_anchor()).public_bytes(Encoding.PEM)
        return Response(pem, media_type="application/x-pem-file")

    async def revocations(self, request: Request) -> Response:
        """GET /v1/trust/crl.der."""
        crl = await self._keys.document("crl")
        if crl is None:
            raise Problem("not_yet", "no revocation list is published yet", headers={"Retry-After": str(RETRY_SECONDS)})
        return Response(crl, media_type="application/pkix-crl")  # RFC 2585 4.2


def routes(keys: Keys) -> list[Row]:
    """To be mounted at the root."""
    trust = Trust(keys)
    return [
        Address("GET", "/v1/trust/ca.pem", trust.certificate, REQUEST_SECONDS),
        Address("GET", "/v1/trust/crl.der", trust.revocations, REQUEST_SECONDS),
    ]
