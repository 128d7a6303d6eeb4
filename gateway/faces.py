"""Every address of the recipient's and verifier's side, as one literal table.

Rules    all answers carry the security headers; only the identity page may send its form on to the identity provider,
         because form-action also governs the redirect that answers a form
Elsewhere: the application and its outermost error handler (gateway/app.py)
"""

from pathlib import Path
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from gateway.identity.gate import Gate
from gateway.identity.key_set import KeySet
from gateway.pages.headers import SecurityHeaders
from gateway.pages.ports import PortalPorts
from gateway.pages.rendering import Pages
from gateway.portal.acts import Acts
from gateway.portal.claim import ClaimLink
from gateway.portal.consent import ConsentPages
from gateway.portal.download import Downloads
from gateway.portal.letter import LetterPages
from gateway.portal.proofs import ProofFiles
from gateway.verify.page import VerifyPages

STATIC = Path(__file__).parent / "static"
LETTER = "/{language}/letter/{number}"


def routes(ports: PortalPorts) -> list[BaseRoute]:
    """To be mounted at the root of the gateway's application."""
    pages = Pages(ports.config)
    secure = ports.config.gateway.public_url.startswith("https://")
    guarded = [Middleware(SecurityHeaders, secure=secure)]
    provider = urlsplit(ports.config.identity.issuer)
    leaving = [Middleware(SecurityHeaders, secure=secure, form_targets=[f"{provider.scheme}://{provider.netloc}"])]

    claim, letters, acts = ClaimLink(ports, pages), LetterPages(ports, pages), Acts(ports, pages)
    gate, downloads, proofs = Gate(ports, pages), Downloads(ports, pages), ProofFiles(ports, pages)
    checking, consents = VerifyPages(ports, pages), ConsentPages(ports, pages)
    table: list[BaseRoute] = [
        Route("/c/{token:path}", claim.open, methods=["GET"], middleware=guarded),
        Route("/consent/{token:path}", consents.open, methods=["GET"], middleware=guarded),
        Route("/{language}/consent/{request:uuid}", consents.show, methods=["GET"], middleware=guarded),
        Route("/{language}/consent/{request:uuid}", consents.decide, methods=["POST"], middleware=guarded),
        Route("/identity/callback", gate.finish, methods=["GET"], middleware=guarded),
        Route("/identity/jwks.json", KeySet(ports).show, methods=["GET"], middleware=guarded),
        Route(LETTER, letters.show, methods=["GET"], middleware=guarded),
        Route(f"{LETTER}/identity", gate.explain, methods=["GET"], middleware=leaving),
        Route(f"{LETTER}/identity", gate.begin, methods=["POST"], middleware=leaving),
        Route(f"{LETTER}/documents/{{part:int}}", downloads.document, methods=["GET"], middleware=guarded),
        Route(f"{LETTER}/evidence/{{evidence:uuid}}.xml", proofs.evidence, methods=["GET"], middleware=guarded),
        Route("/verify", checking.choose_language, methods=["GET"], middleware=guarded),
        Route("/verify", checking.judge, methods=["POST"], middleware=guarded),
        Route("/{language}/verify", checking.form, methods=["GET"], middleware=guarded),
        Route("/{language}/verify", checking.judge, methods=["POST"], middleware=guarded),
        Mount("/static", StaticFiles(directory=STATIC), middleware=guarded),
    ]
    for act in ("accept", "refuse"):
        address = f"{LETTER}/{act}"
        table.append(Route(address, letters.confirm, methods=["GET"], middleware=guarded))
        table.append(Route(address, acts.decide, methods=["POST"], middleware=guarded))
    return table
