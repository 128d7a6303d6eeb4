"""Read dossiers: what every evidence says of a delivery, from committed rows, for any role that drafts."""

import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from pipeline.adapters.postgres.orders import recipient_of
from pipeline.errors import Transient
from pipeline.evidence.dossier import Deposit, Dossier, Issuer, Part, SenderParty
from pipeline.formats.configuration import Provider
from pipeline.ports.bridge import PublishedKey

Fetch = Callable[..., Awaitable[Sequence[Mapping[str, Any]]]]


def issuer_of(provider: Provider, seal: PublishedKey) -> Issuer:
    """Who issues, under which key: fixed in the draft, before the seal."""
    if seal.certificate is None:
        raise Transient(f"seal key {seal.key_id} has no certificate published")
    return Issuer(
        name=provider.name,
        country=provider.country,
        policy_oid=provider.policy_oid,
        seal_key_id=seal.key_id,
        seal_certificate_sha256=hashlib.sha256(seal.certificate).digest(),
    )


async def read_dossiers(fetch: Fetch, deliveries: Sequence[UUID], issuer: Issuer) -> dict[UUID, Dossier]:
    """Two statements for the whole batch. `fetch(name, *arguments)` is a Link's or a Database's."""
    ids = list(deliveries)
    parts: dict[UUID, list[Part]] = defaultdict(list)
    for row in await fetch("read_documents", ids):
        parts[row["delivery"]].append(_part(row))
    return {
        row["delivery"]: _dossier(row, tuple(parts[row["delivery"]]), issuer)
        for row in await fetch("read_dossiers", ids)
    }


def _part(row: Mapping[str, Any]) -> Part:
    return Part(
        number=row["part"],
        file_name=row["file_name"],
        content_type=row["content_type"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        sha3_256=row["sha3_256"],
    )


def _dossier(row: Mapping[str, Any], parts: tuple[Part, ...], issuer: Issuer) -> Dossier:
    return Dossier(
        delivery=row["delivery"],
        number=row["number"],
        client_ref=row["client_ref"],
        mode=row["mode"],
        config_version=row["config_version"],
        issuer=issuer,
        sender=SenderParty(
            name=row["sender_name"],
            email=row["sender_email"],
            identity_level=row["identity_level"],
            identity_method=row["identity_method"],
            identified_at=row["identified_at"],
        ),
        recipient=recipient_of(row),
        parts=parts,
        submitted_at=row["submitted_at"],
        consent_ref=row["consent_ref"],
        deposit=_deposit(row),
    )


def _deposit(row: Mapping[str, Any]) -> Deposit | None:
    if row["deposit_evidence"] is None:
        return None
    return Deposit(
        evidence=row["deposit_evidence"],
        sha256=row["deposit_sha256"],
        deposited_at=row["deposited_at"],
        seal_signature_sha256=row["deposit_seal_sha256"],
    )
