"""Every address of the sender's side, as literal tables, one for each kind of work."""

from gateway.addresses import Address, Row
from gateway.limits import (
    CHECK_SECONDS,
    DOWNLOAD_SECONDS,
    EVENTS_SECONDS,
    FORM_BYTES_MAX,
    JSON_BYTES_MAX,
    LETTER_BYTES_MAX,
    REQUEST_SECONDS,
    UPLOAD_SECONDS,
)
from gateway.places import Places
from gateway.rates import Rate, by_region
from gateway.sender import sandbox
from gateway.sender.backlog import Backlog
from gateway.sender.batch_items import PART_BYTES_MAX, BatchItems
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
from gateway.sender.uploads import Uploads
from gateway.sender.verify import BODY_BYTES_MAX, Verify
from gateway.sender.webhooks import Webhooks
from pipeline.intake.attachments import DOCUMENTS_MAX

UPLOADS_AT_ONCE = 32  # of one process: each holds some three segments of 1 MiB


def routes(ports: SenderPorts) -> list[Row]:
    """To be mounted at the root of the gateway's application."""
    oauth, backlog = OAuth(ports), Backlog(ports.batches)
    return [
        *_letters(ports, oauth, backlog),
        *_bulk(ports, oauth, backlog),
        *_told(ports, oauth),
        *_others(ports, oauth),
    ]


def _letters(ports: SenderPorts, oauth: OAuth, backlog: Backlog) -> list[Row]:
    places, bytes_max = Places(UPLOADS_AT_ONCE, "uploads"), ports.config.gateway.document_bytes_max
    form_max = DOCUMENTS_MAX * bytes_max + LETTER_BYTES_MAX
    uploads, submissions = Uploads(ports, oauth, places), Submissions(ports, oauth, backlog, places)
    deliveries, proofs = Deliveries(ports, oauth), Proofs(ports, oauth)
    return [
        Address("POST", "/v1/uploads", uploads.create, UPLOAD_SECONDS, bytes_max),
        Address("GET", "/v1/uploads/{upload}", uploads.parts.show, REQUEST_SECONDS),
        Address("DELETE", "/v1/uploads/{upload}", uploads.parts.withdraw, REQUEST_SECONDS),
        Address("POST", "/v1/uploads/{upload}/complete", uploads.parts.complete, REQUEST_SECONDS),
        Address("PUT", "/v1/uploads/{upload}/parts/{part}", uploads.parts.put, UPLOAD_SECONDS, bytes_max),
        Address("POST", "/v1/deliveries", submissions.submit, REQUEST_SECONDS, form_max, form_seconds=UPLOAD_SECONDS),
        Address("GET", "/v1/deliveries", deliveries.index, REQUEST_SECONDS),
        Address("POST", "/v1/deliveries/validate", submissions.validate, REQUEST_SECONDS, LETTER_BYTES_MAX),
        Address("GET", "/v1/deliveries/{name}", deliveries.show, REQUEST_SECONDS),
        Address("GET", "/v1/deliveries/{name}/evidence", proofs.index, REQUEST_SECONDS),
        Address("GET", "/v1/deliveries/{name}/evidence/{evidence}", proofs.evidence, REQUEST_SECONDS),
        Address("GET", "/v1/deliveries/{name}/package", proofs.package, DOWNLOAD_SECONDS),
    ]


def _bulk(ports: SenderPorts, oauth: OAuth, backlog: Backlog) -> list[Row]:
    batches, items = Batches(ports, oauth, backlog), BatchItems(ports, oauth, backlog)
    results, batch_proofs = BatchResults(ports, oauth), BatchProofs(ports, oauth)
    exports = Exports(ports, oauth)
    return [
        Address("POST", "/v1/batches", batches.open, REQUEST_SECONDS, JSON_BYTES_MAX),
        Address("GET", "/v1/batches", batches.index, REQUEST_SECONDS),
        Address("GET", "/v1/batches/{batch}", batches.show, REQUEST_SECONDS),
        Address("PUT", "/v1/batches/{batch}/items", items.put, UPLOAD_SECONDS, PART_BYTES_MAX),
        Address("POST", "/v1/batches/{batch}/validate", results.validate, DOWNLOAD_SECONDS),
        Address("POST", "/v1/batches/{batch}/submit", batches.submit, REQUEST_SECONDS, JSON_BYTES_MAX),
        Address("POST", "/v1/batches/{batch}/cancel", batches.cancel, REQUEST_SECONDS),
        Address("GET", "/v1/batches/{batch}/results", results.show, DOWNLOAD_SECONDS),
        Address("GET", "/v1/batches/{batch}/proof", batch_proofs.show, DOWNLOAD_SECONDS),
        Address("POST", "/v1/exports", exports.create, REQUEST_SECONDS, JSON_BYTES_MAX),
        Address("GET", "/v1/exports/{export}", exports.show, DOWNLOAD_SECONDS),
        Address("GET", "/v1/exports/{export}/parts/{n}", exports.part, DOWNLOAD_SECONDS),
    ]


def _told(ports: SenderPorts, oauth: OAuth) -> list[Row]:
    events, webhooks = Events(ports, oauth), Webhooks(ports, oauth)
    return [
        Address("GET", "/v1/events", events.index, EVENTS_SECONDS),
        Address("POST", "/v1/webhooks", webhooks.create, REQUEST_SECONDS, JSON_BYTES_MAX),
        Address("GET", "/v1/webhooks", webhooks.index, REQUEST_SECONDS),
        Address("GET", "/v1/webhooks/{webhook}", webhooks.show, REQUEST_SECONDS),
        Address("PATCH", "/v1/webhooks/{webhook}", webhooks.change, REQUEST_SECONDS, JSON_BYTES_MAX),
        Address("DELETE", "/v1/webhooks/{webhook}", webhooks.delete, REQUEST_SECONDS),
        Address("POST", "/v1/webhooks/{webhook}/test", webhooks.test, REQUEST_SECONDS),
        Address("POST", "/v1/webhooks/{webhook}/enable", webhooks.enable, REQUEST_SECONDS),
        Address("POST", "/v1/webhooks/{webhook}/replay", webhooks.replay, REQUEST_SECONDS, JSON_BYTES_MAX),
        Address("GET", "/v1/webhooks/{webhook}/attempts", webhooks.attempts, REQUEST_SECONDS),
        Address("GET", "/.well-known/webhook-keys.json", webhooks.keys, REQUEST_SECONDS),
    ]


def _others(ports: SenderPorts, oauth: OAuth) -> list[Row]:
    service, consents, verify = ServicePages(ports, oauth), Consents(ports, oauth), Verify(ports)
    consent_requests = ConsentRequests(ports, oauth)
    checks = [Rate("checks", 60, 60), Rate("checks-region", 120, 60, by_region)]
    return [
        Address("POST", "/oauth2/token", oauth.token, REQUEST_SECONDS, FORM_BYTES_MAX, rates=[Rate("tokens", 600, 60)]),
        Address("GET", "/.well-known/oauth-authorization-server", oauth.metadata, REQUEST_SECONDS),
        Address("GET", "/v1/me", service.me, REQUEST_SECONDS),
        Address("POST", "/v1/consents/requests", consent_requests.create, REQUEST_SECONDS, JSON_BYTES_MAX),
        Address("GET", "/v1/consents/requests/{ref}", consent_requests.show, REQUEST_SECONDS),
        Address("PUT", "/v1/consents/{ref}", consents.put, REQUEST_SECONDS, JSON_BYTES_MAX),
        Address("GET", "/v1/consents/{ref}", consents.get, REQUEST_SECONDS),
        Address("POST", "/v1/consents/{ref}/withdraw", consents.withdraw, REQUEST_SECONDS),
        *sandbox.routes(ports, oauth),
        Address("POST", "/v1/verify", verify.judge, CHECK_SECONDS, BODY_BYTES_MAX, rates=checks),
        Address("GET", "/v1/status", service.status, REQUEST_SECONDS),
        Address("GET", "/v1/openapi.json", service.openapi, REQUEST_SECONDS),
        Address("GET", "/v1/problems/{code}", service.problem, REQUEST_SECONDS),
        Address("GET", "/docs", service.docs, REQUEST_SECONDS),
    ]
