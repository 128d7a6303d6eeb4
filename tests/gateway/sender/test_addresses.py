"""Every address of the gateway, how long it may take, and how much it takes in."""

import pytest

from gateway.addresses import Address, Row
from gateway.faces import routes
from pipeline.connect import connect_gateway
from tests.gateway.sender.conftest import World

pytestmark = pytest.mark.anyio

KIB, MIB = 1024, 1024 * 1024
DOCUMENT = 100 * MIB

# Deadline and that of a form in seconds, the bytes of a body.
ADDRESSES = {
    "GET /healthz": (30, None, None),
    "GET /readyz": (30, None, None),
    "POST /v1/uploads": (900, None, DOCUMENT),
    "GET /v1/uploads/{upload}": (30, None, None),
    "DELETE /v1/uploads/{upload}": (30, None, None),
    "POST /v1/uploads/{upload}/complete": (30, None, None),
    "PUT /v1/uploads/{upload}/parts/{part}": (900, None, DOCUMENT),
    "POST /v1/deliveries": (30, 900, 20 * DOCUMENT + 2 * MIB),
    "GET /v1/deliveries": (30, None, None),
    "POST /v1/deliveries/validate": (30, None, 2 * MIB),
    "GET /v1/deliveries/{name}": (30, None, None),
    "GET /v1/deliveries/{name}/evidence": (30, None, None),
    "GET /v1/deliveries/{name}/evidence/{evidence}": (30, None, None),
    "GET /v1/deliveries/{name}/package": (900, None, None),
    "POST /v1/batches": (30, None, 256 * KIB),
    "GET /v1/batches": (30, None, None),
    "GET /v1/batches/{batch}": (30, None, None),
    "PUT /v1/batches/{batch}/items": (900, None, 64 * MIB),
    "POST /v1/batches/{batch}/validate": (900, None, None),
    "POST /v1/batches/{batch}/submit": (30, None, 256 * KIB),
    "POST /v1/batches/{batch}/cancel": (30, None, None),
    "GET /v1/batches/{batch}/results": (900, None, None),
    "GET /v1/batches/{batch}/proof": (900, None, None),
    "POST /v1/exports": (30, None, 256 * KIB),
    "GET /v1/exports/{export}": (900, None, None),
    "GET /v1/exports/{export}/parts/{n}": (900, None, None),
    "GET /v1/events": (40, None, None),
    "POST /v1/webhooks": (30, None, 256 * KIB),
    "GET /v1/webhooks": (30, None, None),
    "GET /v1/webhooks/{webhook}": (30, None, None),
    "PATCH /v1/webhooks/{webhook}": (30, None, 256 * KIB),
    "DELETE /v1/webhooks/{webhook}": (30, None, None),
    "POST /v1/webhooks/{webhook}/test": (30, None, None),
    "POST /v1/webhooks/{webhook}/enable": (30, None, None),
    "POST /v1/webhooks/{webhook}/replay": (30, None, 256 * KIB),
    "GET /v1/webhooks/{webhook}/attempts": (30, None, None),
    "GET /.well-known/webhook-keys.json": (30, None, None),
    "POST /oauth2/token": (30, None, 16 * KIB),
    "GET /.well-known/oauth-authorization-server": (30, None, None),
    "GET /v1/me": (30, None, None),
    "POST /v1/consents/requests": (30, None, 256 * KIB),
    "GET /v1/consents/requests/{ref}": (30, None, None),
    "PUT /v1/consents/{ref}": (30, None, 256 * KIB),
    "GET /v1/consents/{ref}": (30, None, None),
    "POST /v1/consents/{ref}/withdraw": (30, None, None),
    "POST /v1/sandbox/clock": (30, None, 256 * KIB),
    "POST /v1/verify": (180, None, 32 * MIB + 64 * KIB),
    "GET /v1/status": (30, None, None),
    "GET /v1/openapi.json": (30, None, None),
    "GET /v1/problems/{code}": (30, None, None),
    "GET /docs": (30, None, None),
    "GET /v1/trust/ca.pem": (30, None, None),
    "GET /v1/trust/crl.der": (30, None, None),
    "GET /c/{token:path}": (30, None, None),
    "GET /consent/{token:path}": (30, None, None),
    "GET /{language}/consent/{request:uuid}": (30, None, None),
    "POST /{language}/consent/{request:uuid}": (30, None, 8 * KIB),
    "GET /{language}/letter/{number}": (30, None, None),
    "GET /{language}/letter/{number}/accept": (30, None, None),
    "POST /{language}/letter/{number}/accept": (30, None, 8 * KIB),
    "GET /{language}/letter/{number}/refuse": (30, None, None),
    "POST /{language}/letter/{number}/refuse": (30, None, 8 * KIB),
    "GET /{language}/letter/{number}/documents/{part:int}": (900, None, None),
    "GET /{language}/letter/{number}/evidence/{evidence:uuid}.xml": (30, None, None),
    "GET /identity/callback/{provider}": (30, None, None),
    "GET /identity/jwks.json": (30, None, None),
    "GET /{language}/letter/{number}/identity": (30, None, None),
    "POST /{language}/letter/{number}/identity": (30, None, 8 * KIB),
    "GET /verify": (30, None, None),
    "POST /verify": (180, None, 32 * MIB),
    "GET /{language}/verify": (30, None, None),
    "POST /{language}/verify": (180, None, 32 * MIB),
    "GET /static": (30, None, None),
}
READ_NO_BODY = {
    "POST /v1/uploads/{upload}/complete",
    "POST /v1/batches/{batch}/validate",
    "POST /v1/batches/{batch}/cancel",
    "POST /v1/webhooks/{webhook}/test",
    "POST /v1/webhooks/{webhook}/enable",
    "POST /v1/consents/{ref}/withdraw",
}


def row_of(row: Row) -> tuple[str, tuple[float, float | None, int | None]]:
    if isinstance(row, Address):
        return f"{row.method} {row.path}", (row.deadline_seconds, row.form_seconds, row.body_bytes_max)
    return f"GET {row.path}", (row.deadline_seconds, None, None)


async def test_every_address_states_its_deadline(world: World) -> None:
    """Bodies and downloads may take minutes, a list of events its wait, everything else 30 s; no row is without."""
    async with connect_gateway(world.parts.config, world.parts.recorder) as ports:
        table = routes(ports, lambda: False)
    rows = [row_of(row) for row in table]
    assert dict(rows) == ADDRESSES
    assert len(rows) == len(ADDRESSES)


def test_only_what_reads_a_body_has_a_limit() -> None:
    """And each that reads one has: GET and DELETE read none, of the others these."""
    without = {name for name, (_, _, bytes_max) in ADDRESSES.items() if bytes_max is None}
    assert {name for name in without if not name.startswith(("GET ", "DELETE "))} == READ_NO_BODY
