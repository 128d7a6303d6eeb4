"""Every address of the recipient's pages, as one literal table."""

from starlette.routing import BaseRoute, Route

from gateway.pages.context import LETTER
from gateway.pages.headers import security_headers
from gateway.pages.rendering import Pages
from gateway.portal.acts import Acts
from gateway.portal.claim import ClaimLink
from gateway.portal.consent import ConsentPages
from gateway.portal.download import Downloads
from gateway.portal.letter import LetterPages
from gateway.portal.ports import PortalPorts
from gateway.portal.proofs import ProofFiles


def routes(ports: PortalPorts, pages: Pages) -> list[BaseRoute]:
    """To be mounted at the root of the gateway's application."""
    guarded = security_headers(ports.config)
    claim, letters, acts = ClaimLink(ports, pages), LetterPages(ports, pages), Acts(ports, pages)
    downloads, proofs, consents = Downloads(ports, pages), ProofFiles(ports, pages), ConsentPages(ports, pages)
    return [
        Route("/c/{token:path}", claim.open, methods=["GET"], middleware=guarded),
        Route("/consent/{token:path}", consents.open, methods=["GET"], middleware=guarded),
        Route("/{language}/consent/{request:uuid}", consents.show, methods=["GET"], middleware=guarded),
        Route("/{language}/consent/{request:uuid}", consents.decide, methods=["POST"], middleware=guarded),
        Route(LETTER, letters.show, methods=["GET"], middleware=guarded),
        Route(f"{LETTER}/accept", letters.confirm, methods=["GET"], middleware=guarded),
        Route(f"{LETTER}/accept", acts.decide, methods=["POST"], middleware=guarded),
        Route(f"{LETTER}/refuse", letters.confirm, methods=["GET"], middleware=guarded),
        Route(f"{LETTER}/refuse", acts.decide, methods=["POST"], middleware=guarded),
        Route(f"{LETTER}/documents/{{part:int}}", downloads.document, methods=["GET"], middleware=guarded),
        Route(f"{LETTER}/evidence/{{evidence:uuid}}.xml", proofs.evidence, methods=["GET"], middleware=guarded),
    ]
