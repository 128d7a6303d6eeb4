"""Every address of the sender's side, as one literal table."""

from starlette.routing import BaseRoute, Route

from gateway.sender.consents import Consents
from gateway.sender.deliveries import Deliveries
from gateway.sender.oauth import OAuth
from gateway.sender.pages import Pages
from gateway.sender.ports import SenderPorts
from gateway.sender.proofs import Proofs
from gateway.sender.uploads import Uploads
from gateway.sender.verify import Verify


def routes(ports: SenderPorts) -> list[BaseRoute]:
    """To be mounted at the root of the gateway's application."""
    oauth = OAuth(ports)
    pages, uploads, consents = Pages(ports, oauth), Uploads(ports, oauth), Consents(ports, oauth)
    deliveries, proofs, verify = Deliveries(ports, oauth), Proofs(ports, oauth), Verify(ports)
    return [
        Route("/oauth2/token", oauth.token, methods=["POST"]),
        Route("/.well-known/oauth-authorization-server", oauth.metadata, methods=["GET"]),
        Route("/v1/me", pages.me, methods=["GET"]),
        Route("/v1/uploads", uploads.create, methods=["POST"]),
        Route("/v1/deliveries", deliveries.submit, methods=["POST"]),
        Route("/v1/deliveries", deliveries.index, methods=["GET"]),
        Route("/v1/deliveries/validate", deliveries.validate, methods=["POST"]),
        Route("/v1/deliveries/{name}", deliveries.show, methods=["GET"]),
        Route("/v1/deliveries/{name}/evidence", proofs.index, methods=["GET"]),
        Route("/v1/deliveries/{name}/evidence/{evidence}", proofs.evidence, methods=["GET"]),
        Route("/v1/deliveries/{name}/package", proofs.package, methods=["GET"]),
        Route("/v1/consents/{ref}", consents.put, methods=["PUT"]),
        Route("/v1/consents/{ref}", consents.get, methods=["GET"]),
        Route("/v1/consents/{ref}/withdraw", consents.withdraw, methods=["POST"]),
        Route("/v1/verify", verify.judge, methods=["POST"]),
        Route("/v1/status", pages.status, methods=["GET"]),
        Route("/v1/openapi.json", pages.openapi, methods=["GET"]),
        Route("/v1/problems/{code}", pages.problem, methods=["GET"]),
        Route("/docs", pages.docs, methods=["GET"]),
    ]
