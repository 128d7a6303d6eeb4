"""What a sender is shown: rows as the JSON of the API.

Owns     the shape of a delivery, its evidence list, consents, requests for them and the account; times in RFC 3339 UTC
         with milliseconds
Rules    nothing beyond the stamped prefix: what a court could not see, a sender does not see either. The claim link and
         the recipient's identity data are never here
Elsewhere: batches (batch_view.py), which letters a list has, in which order (pipeline/stores/lists.py)
"""

import json
from collections.abc import Mapping, Sequence

from gateway.edge import MODE_NAMES
from gateway.versions import NEWEST
from pipeline.evidence.dossier import Reason
from pipeline.formats.configuration import Config
from pipeline.formats.instants import optional_time_text, time_text
from pipeline.formats.person import MATCH_KINDS, WITHOUT_BIRTH_DATE
from pipeline.stores.consents import RequestSeen
from pipeline.stores.senders import Account, Consent, DeliverySeen, EventSeen, SenderUpload, SnapshotSeen

DECIDING = ("C.3", "C.4")


def json_bytes(value: object) -> bytes:
    """UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False).encode()


def delivery(config: Config, d: DeliverySeen, reason: Reason | None = None) -> dict[str, object]:
    """DELIVERY out of the interface, without fields that do not apply yet."""
    times = {event.event: event.event_time for event in d.events}
    decided = next((times[event] for event in DECIDING if event in times), None)
    optional: dict[str, object] = {
        "client_ref": d.client_ref,
        "batch_id": None if d.batch is None else str(d.batch),
        "deposited_at": optional_time_text(times.get("A.1")),
        "notified_at": optional_time_text(times.get("C.1")),
        "last_day": None if "C.1" not in times or d.last_day is None else d.last_day.isoformat(),
        "expires_at": None if "C.1" not in times else optional_time_text(d.expires_at),
        "decided_at": optional_time_text(decided),
        "received_at": optional_time_text(times.get("E.1")),
        "reason": None if reason is None else {"code": reason.code, "text": reason.text},
    }
    return {
        "id": str(d.id),
        "number": d.number,
        "state": d.state,
        "mode": MODE_NAMES[config.mode],
        "submitted_at": time_text(d.submitted_at),
        "changed_at": time_text(d.changed_at),
        **{name: value for name, value in optional.items() if value is not None},
        "snapshots": [snapshot(s, d) for s in d.snapshots],
    }


def snapshot(s: SnapshotSeen, d: DeliverySeen) -> dict[str, object]:
    """One package, and the events whose proofs it holds."""
    events = [event.event for event in d.events if event.sequence <= s.sequence_through]
    return {"n": s.snapshot, "sha256": s.sha256.hex(), "bytes": s.package_bytes, "events": events}


def evidence(event: EventSeen, config: Config) -> dict[str, object]:
    """One stamped proof."""
    return {
        "id": str(event.evidence),
        "event": event.event,
        "event_time": time_text(event.event_time),
        "stamped_at": time_text(event.stamped_at),
        "policy": config.provider.policy_oid,
        "sha256": event.sha256.hex(),
    }


def upload(u: SenderUpload, missing_parts: Sequence[int] | None = None) -> dict[str, object]:
    """A file that is stored, encrypted, and not readable back. The second digest is known of what came in one body."""
    return {
        "id": str(u.id),
        "file_name": u.file_name,
        "content_type": u.content_type,
        "bytes": u.content_bytes,
        "sha256": u.sha256.hex(),
        **({} if u.sha3_256 is None else {"sha3_256": u.sha3_256.hex()}),
        **({} if u.part_bytes is None else {"part_bytes": u.part_bytes}),
        **({} if missing_parts is None else {"missing_parts": list(missing_parts)}),
        "expires_at": time_text(u.expires_at),
    }


def announced(u: SenderUpload) -> dict[str, object]:
    """An upload whose parts are to come."""
    return {"id": str(u.id), "part_bytes": u.part_bytes, "expires_at": time_text(u.expires_at)}


def consent(c: Consent) -> dict[str, object]:
    """A consent as it was recorded."""
    return {
        "ref": c.ref,
        "email": c.email,
        "given_names": c.given_names,
        "birth_name": c.birth_name,
        "obtained_at": time_text(c.obtained_at),
        "method": c.method,
        "text_sha256": c.text_sha256.hex(),
        "state": "given" if c.withdrawn_at is None else "withdrawn",
        **({} if c.withdrawn_at is None else {"withdrawn_at": time_text(c.withdrawn_at)}),
        **({} if c.withdrawn_by is None else {"withdrawn_by": c.withdrawn_by}),
    }


def consent_request(r: RequestSeen) -> dict[str, object]:
    """A request for consent, and what became of it."""
    outcome: dict[str, object] = {
        "mailed_at": optional_time_text(r.mailed_at),
        "answered_at": optional_time_text(r.answered_at),
        "text": r.text,
        "text_sha256": None if r.text_sha256 is None else r.text_sha256.hex(),
        "withdrawn_at": optional_time_text(r.withdrawn_at),
        "withdrawn_by": r.withdrawn_by,
    }
    return {
        "ref": r.ref,
        "email": r.email,
        "given_names": r.given_names,
        "birth_name": r.birth_name,
        "language": r.language,
        "state": r.standing.value,
        "asked_at": time_text(r.asked_at),
        "expires_at": time_text(r.expires_at),
        **{name: value for name, value in outcome.items() if value is not None},
    }


def account(config: Config, a: Account, limits: Mapping[str, int]) -> dict[str, object]:
    """GET /v1/me."""
    return {
        "sender": {"id": str(a.sender), "name": a.name, "email": a.email},
        "identity": {
            "level": a.identity_level,
            "method": a.identity_method,
            "identified_at": time_text(a.identified_at),
        },
        "consumers": {
            "birth_date": "required" if a.birth_date_demanded else "optional",
            "match_kinds": [kind for kind in MATCH_KINDS if not a.birth_date_demanded or kind != WITHOUT_BIRTH_DATE],
        },
        "mode": MODE_NAMES[config.mode],
        "config_version": config.config_version,
        "api_version": NEWEST,
        "limits": dict(limits),
        "sandbox": config.embedded,
    }
