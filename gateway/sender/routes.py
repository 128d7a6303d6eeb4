"""Every address of the sender's side, as literal tables, one for each kind of work."""

from starlette.routing import BaseRoute, Route

from gateway.sender import sandbox
from gateway.sender.backlog import Backlog
from gateway.sender.batch_items import BatchItems
from gateway.sender.batch_proofs import BatchProofs
from gateway.sender.batch_results import BatchResults
from gateway.sender.batches import Batches
from gateway.sender.consent_requests import ConsentRequests
from gateway.sender.consents import Consents
from gateway.sender.deliveries import Deliveries
from gateway.sender.events import Events
from gateway.sender.exports import Exports
from gateway.sender.oauth import OAuth
from gateway.sender.ports import SenderPorts
from gateway.sender.proofs import Proofs
from gateway.sender.service_pages import ServicePages
from gateway.sender.submissions import Submissions
from gateway.sender.upload_limit import UploadLimit
from gateway.sender.uploads import Uploads
from gateway.sender.verify import Verify
from gateway.sender.webhooks import Webhooks


def routes(ports: SenderPorts) -> list[BaseRoute]:
    """To be mounted at the root of the gateway's application."""
    oauth, backlog = OAuth(ports), Backlog(ports.batches)
    return [
        *_letters(ports, oauth, backlog),
        *_bulk(ports, oauth, backlog),
        *_told(ports, oauth),
        *_others(ports, oauth),
    ]


def _letters(ports: SenderPorts, oauth: OAuth, backlog: Backlog) -> list[BaseRoute]:
    limit = UploadLimit()
    uploads, submissions = Uploads(ports, oauth, limit), Submissions(ports, oauth, backlog, limit)
    deliveries, proofs = Deliveries(ports, oauth), Proofs(ports, oauth)
    return [
        Route("/v1/uploads", uploads.create, methods=["POST"]),
        Route("/v1/uploads/{upload}", uploads.parts.show, methods=["GET"]),
        Route("/v1/uploads/{upload}", uploads.parts.withdraw, methods=["DELETE"]),
        Route("/v1/uploads/{upload}/complete", uploads.parts.complete, methods=["POST"]),
        Route("/v1/uploads/{upload}/parts/{part}", uploads.parts.put, methods=["PUT"]),
        Route("/v1/deliveries", submissions.submit, methods=["POST"]),
        Route("/v1/deliveries", deliveries.index, methods=["GET"]),
        Route("/v1/deliveries/validate", submissions.validate, methods=["POST"]),
        Route("/v1/deliveries/{name}", deliveries.show, methods=["GET"]),
        Route("/v1/deliveries/{name}/evidence", proofs.index, methods=["GET"]),
        Route("/v1/deliveries/{name}/evidence/{evidence}", proofs.evidence, methods=["GET"]),
        Route("/v1/deliveries/{name}/package", proofs.package, methods=["GET"]),
    ]


def _bulk(ports: SenderPorts, oauth: OAuth, backlog: Backlog) -> list[BaseRoute]:
    batches, items = Batches(ports, oauth, backlog), BatchItems(ports, oauth, backlog)
    results, batch_proofs = BatchResults(ports, oauth), BatchProofs(ports, oauth)
    exports = Exports(ports, oauth)
    return [
        Route("/v1/batches", batches.open, methods=["POST"]),
        Route("/v1/batches", batches.index, methods=["GET"]),
        Route("/v1/batches/{batch}", batches.show, methods=["GET"]),
        Route("/v1/batches/{batch}/items", items.put, methods=["PUT"]),
        Route("/v1/batches/{batch}/validate", results.validate, methods=["POST"]),
        Route("/v1/batches/{batch}/submit", batches.submit, methods=["POST"]),
        Route("/v1/batches/{batch}/cancel", batches.cancel, methods=["POST"]),
        Route("/v1/batches/{batch}/results", results.show, methods=["GET"]),
        Route("/v1/batches/{batch}/proof", batch_proofs.show, methods=["GET"]),
        Route("/v1/exports", exports.create, methods=["POST"]),
        Route("/v1/exports/{export}", exports.show, methods=["GET"]),
        Route("/v1/exports/{export}/parts/{n}", exports.part, methods=["GET"]),
    ]


def _told(ports: SenderPorts, oauth: OAuth) -> list[BaseRoute]:
    events, webhooks = Events(ports, oauth), Webhooks(ports, oauth)
    return [
        Route("/v1/events", events.index, methods=["GET"]),
        Route("/v1/webhooks", webhooks.create, methods=["POST"]),
        Route("/v1/webhooks", webhooks.index, methods=["GET"]),
        Route("/v1/webhooks/{webhook}", webhooks.show, methods=["GET"]),
        Route("/v1/webhooks/{webhook}", webhooks.change, methods=["PATCH"]),
        Route("/v1/webhooks/{webhook}", webhooks.delete, methods=["DELETE"]),
        Route("/v1/webhooks/{webhook}/test", webhooks.test, methods=["POST"]),
        Route("/v1/webhooks/{webhook}/enable", webhooks.enable, methods=["POST"]),
        Route("/v1/webhooks/{webhook}/replay", webhooks.replay, methods=["POST"]),
        Route("/v1/webhooks/{webhook}/attempts", webhooks.attempts, methods=["GET"]),
        Route("/.well-known/webhook-keys.json", webhooks.keys, methods=["GET"]),
    ]


def _others(ports: SenderPorts, oauth: OAuth) -> list[BaseRoute]:
    service, consents, verify = ServicePages(ports, oauth), Consents(ports, oauth), Verify(ports)
    consent_requests = ConsentRequests(ports, oauth)
    return [
        Route("/oauth2/token", oauth.token, methods=["POST"]),
        Route("/.well-known/oauth-authorization-server", oauth.metadata, methods=["GET"]),
        Route("/v1/me", service.me, methods=["GET"]),
        Route("/v1/consents/requests", consent_requests.create, methods=["POST"]),
        Route("/v1/consents/requests/{ref}", consent_requests.show, methods=["GET"]),
        Route("/v1/consents/{ref}", consents.put, methods=["PUT"]),
        Route("/v1/consents/{ref}", consents.get, methods=["GET"]),
        Route("/v1/consents/{ref}/withdraw", consents.withdraw, methods=["POST"]),
        *sandbox.routes(ports, oauth),
        Route("/v1/verify", verify.judge, methods=["POST"]),
        Route("/v1/status", service.status, methods=["GET"]),
        Route("/v1/openapi.json", service.openapi, methods=["GET"]),
        Route("/v1/problems/{code}", service.problem, methods=["GET"]),
        Route("/docs", service.docs, methods=["GET"]),
    ]
