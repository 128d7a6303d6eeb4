"""Give the recipient of an accepted letter the evidences, each as the complete signed document.

Rules    only after acceptance: an evidence names the sender. What is given is assembled from stored parts, the same
         bytes for everyone
Elsewhere: the package (gateway/sender), checking it (gateway/verify)
"""

from starlette.requests import Request
from starlette.responses import Response

from gateway.pages.context import LetterHandler
from gateway.pages.handler import see_other
from gateway.pages.standing import LetterStanding
from gateway.portal.download import DOWNLOAD_POLICY
from gateway.portal.ports import PortalPorts
from pipeline.evidence.form.xades import assemble_stored


class ProofFiles(LetterHandler[PortalPorts]):
    """GET /{language}/letter/{number}/evidence/{evidence}.xml."""

    async def evidence(self, request: Request) -> Response:
        """One evidence as a file."""
        letter_request = await self.letter_request(request)
        if isinstance(letter_request, Response):
            return letter_request
        if letter_request.holder is None or letter_request.standing is not LetterStanding.ACCEPTED:
            return see_other(letter_request.address)
        stored = await self.ports.portal.evidence(letter_request.letter.delivery, request.path_params["evidence"])
        if stored is None:
            return self.neutral(request)
        document = assemble_stored(stored.canonical, stored.certificate, stored.signature, stored.token)
        name = f"{letter_request.letter.number}-{stored.sequence:02d}-{stored.event}.xml"
        return Response(
            document,
            media_type="application/xml",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "Content-Security-Policy": DOWNLOAD_POLICY,
            },
        )
