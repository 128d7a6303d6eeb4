"""A made-up letter and the evidences of its life, for tests of proofs."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from pipeline.evidence import draft as drafting
from pipeline.evidence.dossier import (
    Deposit,
    Dossier,
    Issuer,
    Part,
    Reason,
    RecipientParty,
    SenderParty,
)
from pipeline.evidence.facts import EvidenceDraft
from pipeline.evidence.form.xades import take_apart
from pipeline.formats.events import EVENTS
from pipeline.formats.package_form import SnapshotContents
from pipeline.formats.person import IdentifiedPerson
from tests.fakes.pki import Provider

DELIVERY = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
SUBMITTED = datetime(2026, 3, 2, 9, 0, 0, 120_000, UTC)
CONTENT = b"Dear Sir or Madam, this is the letter."

PLANS = {
    "accepted": (("A.1", 0), ("C.1", 1), ("C.3", 26), ("D.1", 26), ("E.1", 27)),
    "refused": (("A.1", 0), ("C.1", 1), ("C.4", 26)),
    "unclaimed": (("A.1", 0), ("C.1", 1), ("C.5", 24 * 17)),
    "rejected": (("A.2", 0),),
    "bounced": (("A.1", 0), ("C.1", 1), ("C.2", 5)),
    "uncollected": (("A.1", 0), ("C.1", 1), ("C.3", 26), ("D.1", 26), ("E.2", 24 * 370)),
}
IDENTIFICATION = IdentifiedPerson(
    given_names="Zoé Anne",
    birth_name="Lefèvre",
    usage_name="Martin",
    birth_date=date(1980, 5, 17),
    subject="f3a1c2",
    level="substantial",
    method="demo-identity",
    authenticated_at=SUBMITTED + timedelta(hours=26),
    person_sha256=hashlib.sha256(b"person").digest(),
)


def part(content: bytes = CONTENT, number: int = 1) -> Part:
    return Part(
        number=number,
        file_name=f"résumé & <plan> {number}.pdf",
        content_type="application/pdf",
        bytes=len(content),
        sha256=hashlib.sha256(content).digest(),
        sha3_256=hashlib.sha3_256(content).digest(),
    )


def dossier(provider: Provider, *contents: bytes) -> Dossier:
    return Dossier(
        delivery=DELIVERY,
        number="40128823401927",
        client_ref="invoice/2026-17",
        mode="non_qualified",
        config_version="embedded-1",
        issuer=Issuer(
            "Demo Registered Delivery",
            "FR",
            "2.25.329800735698586629295641978511506172918.1",
            "seal-1",
            provider.seal.sha256,
        ),
        sender=SenderParty("Mairie de Châteauroux", "mairie@example.org", "substantial", "contract", SUBMITTED),
        recipient=RecipientParty("consumer", "zoe@example.net", "Zoé Anne", "Lefèvre", usage_name="Martin"),
        parts=tuple(part(content, number) for number, content in enumerate(contents or (CONTENT,), start=1)),
        submitted_at=SUBMITTED,
        consent_ref="consent-7",
    )


def deposit_of(first: EvidenceDraft, document: bytes, deposited_at: datetime) -> Deposit:
    signature = take_apart(document).seal.signature
    return Deposit(first.evidence, first.sha256, deposited_at, hashlib.sha256(signature).digest())


def one_draft(head: drafting.Head, event: str, known: Dossier, at: datetime) -> EvidenceDraft:
    row = EVENTS[event]
    return drafting.draft(
        head,
        event,
        known,
        event_time=at,
        details=(("relay-answer", '250 2.0.0 Ok: queued <as> "12&3"'),) if event == "C.1" else (),
        reason=Reason("period_expired", "no answer within the period") if row.needs_reason else None,
        identification=IDENTIFICATION if row.by_recipient else None,
        receipt=b"receipt" if row.by_recipient else None,
    )


def life(provider: Provider, plan: str = "accepted", *contents: bytes) -> tuple[list[EvidenceDraft], list[bytes]]:
    """Drafts and assembled documents of a delivery that went as planned."""
    known = dossier(provider, *contents)
    head = drafting.Head(DELIVERY, "submitted", 1, None, SUBMITTED, frozenset())
    drafts: list[EvidenceDraft] = []
    documents: list[bytes] = []
    for event, hours in PLANS[plan]:
        at = SUBMITTED + timedelta(hours=hours, milliseconds=333)
        drafts.append(one_draft(head, event, known, at))
        documents.append(provider.sealed(drafts[-1]))
        if known.deposit is None and event == "A.1":
            known = replace(known, deposit=deposit_of(drafts[0], documents[0], at))
        head = drafting.head_after(head, drafts[-1])
    return drafts, documents


def snapshot(provider: Provider, documents: list[bytes], revoked: bytes | None = None) -> SnapshotContents:
    return SnapshotContents(
        delivery=DELIVERY,
        number="40128823401927",
        mode="non_qualified",
        snapshot=1,
        previous_sha256=None,
        documents=tuple(documents),
        authorities=(provider.root.der,),
        revocation_lists=() if revoked is None else (revoked,),
    )


PACKED_AT = SUBMITTED + timedelta(days=400)
