"""A letter that is ordered as the columns of its row, and its recipient read back from them.

Owns     the order of the columns, that of the parameters of add_delivery and add_drawn_deliveries (sql/orders.sql)
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from pipeline.evidence.dossier import RecipientParty
from pipeline.stores.senders import Order


def columns_of(order: Order) -> tuple[Any, ...]:
    """From id to metadata; what comes after these is the statement's own."""
    s, r = order.submission, order.submission.recipient
    return (
        order.delivery,
        order.number,
        order.sender,
        s.client_ref,
        s.request_sha256,
        order.mode,
        order.config_version,
        r.kind,
        r.email,
        r.given_names,
        r.birth_name,
        r.usage_name,
        None if r.birth_date is None else r.birth_date.isoformat(),
        r.organisation_name,
        r.organisation_siren,
        s.language,
        s.consent_ref,
        s.subject,
        json.dumps(dict(s.metadata)),
    )


def recipient_of(row: Mapping[str, Any]) -> RecipientParty:
    """As the sender declared it; of a row of read_dossiers."""
    return RecipientParty(
        kind=row["recipient_kind"],
        email=row["recipient_email"],
        given_names=row["given_names"],
        birth_name=row["birth_name"],
        usage_name=row["usage_name"],
        birth_date=None if row["birth_date"] is None else date.fromisoformat(row["birth_date"]),
        organisation_name=row["organisation_name"],
        organisation_siren=row["organisation_siren"],
    )
