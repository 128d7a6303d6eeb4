"""Give the recipient of an accepted letter the evidences, each as the complete signed document.

Rules    only after acceptance: an evidence names the sender. What is given is assembled from stored parts, the same
         bytes for everyone
Elsewhere: the package (gateway/sender), checking it (gateway/verify)
"""

from starlette.requests import Request
from starlette.responses import Response

from gateway.pages.context import Faces, see_other
from gateway.pages.headers import DOWNLOAD_POLICY
from gateway.pages.standing import Standing
from pipeline.evidence.form.xades import assemble


class ProofFiles(Faces):
    """GET /{language}/letter/{number}/evidence/{evidence}.xml."""

    async def evidence(self, request: Request) -> Response:
        """One evidence as a file."""
        desk = await self.desk(request)
        if isinstance(desk, Response):
            return desk
        if desk.holder is None or desk.standing is not Standing.ACCEPTED:
            return see_other(desk.address)
        stored = await self.ports.portal.evidence(desk.letter.delivery, request.path_params["evidence"])
        if stored is None:
            return self.neutral(request)
        document = assemble(stored.canonical, stored.certificate, stored.signature, stored.token)
        name = f"{desk.letter.number}-{stored.sequence:02d}-{stored.event}.xml"
        return Response(
            document,
            media_type="application/xml",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "Content-Security-Policy": DOWNLOAD_POLICY,
            },
        )
