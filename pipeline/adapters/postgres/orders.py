"""A letter that is ordered as the columns of its row: for one submission, and for the many of a draw.

Owns     the order of the columns, that of the parameters of add_delivery and add_drawn_deliveries
"""

import json
from typing import Any

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
        r.birth_date,
        r.organisation_name,
        r.organisation_siren,
        r.language,
        s.consent_ref,
        s.subject,
        json.dumps(dict(s.metadata)),
    )
