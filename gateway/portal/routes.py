"""Every address of the recipient's pages, as one literal table."""

from gateway.addresses import Address, Row
from gateway.limits import DOWNLOAD_SECONDS, REQUEST_SECONDS
from gateway.pages.context import LETTER
from gateway.pages.headers import security_headers
from gateway.pages.rendering import Pages
from gateway.pages.session import FORM_BYTES_MAX
from gateway.portal.acts import Acts
from gateway.portal.claim import ClaimLink
from gateway.portal.consent import ConsentPages
from gateway.portal.download import DocumentDownload
from gateway.portal.letter import LetterPages
from gateway.portal.ports import PortalPorts
from gateway.portal.proofs import ProofFiles
from gateway.rates import Rate


def routes(ports: PortalPorts, pages: Pages) -> list[Row]:
    """To be mounted at the root of the gateway's application."""
    guarded = security_headers(ports.config)
    links, misses = [Rate("links", 1200, 60)], Rate("links-missed", 300, 60)
    claim, letters, acts = ClaimLink(ports, pages, misses), LetterPages(ports, pages), Acts(ports, pages)
    downloads, proofs = DocumentDownload(ports, pages), ProofFiles(ports, pages)
    consents = ConsentPages(ports, pages, misses)
    return [
        Address("GET", "/c/{token:path}", claim.open, REQUEST_SECONDS, rates=links, middleware=guarded),
        Address("GET", "/consent/{token:path}", consents.open, REQUEST_SECONDS, rates=links, middleware=guarded),
        Address("GET", "/{language}/consent/{request:uuid}", consents.show, REQUEST_SECONDS, middleware=guarded),
        Address(
            "POST",
            "/{language}/consent/{request:uuid}",
            consents.decide,
            REQUEST_SECONDS,
            FORM_BYTES_MAX,
            middleware=guarded,
        ),
        Address("GET", LETTER, letters.show, REQUEST_SECONDS, middleware=guarded),
        Address("GET", f"{LETTER}/accept", letters.confirm, REQUEST_SECONDS, middleware=guarded),
        Address("POST", f"{LETTER}/accept", acts.decide, REQUEST_SECONDS, FORM_BYTES_MAX, middleware=guarded),
        Address("GET", f"{LETTER}/refuse", letters.confirm, REQUEST_SECONDS, middleware=guarded),
        Address("POST", f"{LETTER}/refuse", acts.decide, REQUEST_SECONDS, FORM_BYTES_MAX, middleware=guarded),
        Address("GET", f"{LETTER}/documents/{{part:int}}", downloads.document, DOWNLOAD_SECONDS, middleware=guarded),
        Address(
            "GET", f"{LETTER}/evidence/{{evidence:uuid}}.xml", proofs.evidence, REQUEST_SECONDS, middleware=guarded
        ),
    ]
