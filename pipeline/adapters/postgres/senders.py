"""pipeline.stores.senders.SenderStore over PostgreSQL, as the role qerds_gateway.

Owns     the mapping from rows to the dataclasses of the port, and the one transaction of a submission
Elsewhere: what is valid, what is shown; the queries are in sql/senders.sql
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.orders import columns_of
from pipeline.adapters.postgres.tx import PostgresTx
from pipeline.delivery.routes import INTERACTIVE, PRESERVE, SUBMITTED, Emission
from pipeline.errors import Transient
from pipeline.ports.rows import StampedEvidence
from pipeline.stores.lists import LOOKED_AT_MAX, Filter, ListPlace, beginning, looked_at, page_of, starts
from pipeline.stores.senders import (
    IDEMPOTENCY_HOURS,
    TOKEN_SECONDS,
    Accepted,
    Account,
    Bearer,
    Client,
    ClientRefTaken,
    Consent,
    DeliverySeen,
    EventSeen,
    IdempotencyKey,
    KeyInFlight,
    KeyTaken,
    Order,
    PartialUpload,
    Remembered,
    SenderUpload,
    SnapshotSeen,
    StoredSegment,
    Submitted,
    UploadGone,
)

ACCEPTED_STATUS = 202
Row = Mapping[str, Any]


class _RolledBack(Exception):
    """Leaves the submission's transaction without an effect. answer: None when a unique key refused the delivery."""

    def __init__(self, answer: Submitted | None) -> None:
        self.answer = answer


class PostgresSenderStore:
    """Rows of and for senders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -------------------------------------------------------------- who is asking
    async def client(self, client_id: str) -> Client | None:
        """A client that is not revoked."""
        if "\x00" in client_id:
            return None  # which no text of PostgreSQL holds
        row = await self._database.fetch_one("sender_client", client_id)
        if row is None:
            return None
        jwk = None if row["public_jwk"] is None else json.loads(row["public_jwk"])
        return Client(row["client_id"], row["sender"], row["secret_sha256"], jwk, frozenset(row["scopes"]))

    async def add_token(self, token_sha256: bytes, client_id: str, scopes: Sequence[str]) -> None:
        """Good for TOKEN_SECONDS."""
        await self._database.fetch("add_access_token", token_sha256, client_id, list(scopes), TOKEN_SECONDS)

    async def use_assertion(self, client_id: str, jti: str, expires_at: datetime) -> bool:
        """Whether this is its first use."""
        return await self._database.fetch_one("use_client_assertion", client_id, jti, expires_at) is not None

    async def bearer(self, token_sha256: bytes) -> Bearer | None:
        """What a token stands for."""
        row = await self._database.fetch_one("bearer", token_sha256)
        if row is None:
            return None
        return Bearer(**dict(row) | {"scopes": frozenset(row["scopes"])})

    async def account(self, sender: UUID) -> Account | None:
        """A sender, as it was identified."""
        row = await self._database.fetch_one("sender_account", sender)
        return None if row is None else Account(**row)

    # -------------------------------------------------------------- consents and uploads
    async def put_consent(self, consent: Consent) -> tuple[Consent, bool] | None:
        """What is recorded now, and whether it is new."""
        c = consent
        agreed = (c.obtained_at, c.method, c.text_sha256)
        async with self._database.transaction() as tx:
            await tx.fetch("lock_consent_ref", c.sender, c.ref)
            new = await tx.fetch("add_consent", c.sender, c.ref, c.email, c.given_names, c.birth_name, *agreed)
            recorded = await tx.fetch("sender_consent", c.sender, c.ref)
        return (Consent(**recorded[0]), bool(new)) if recorded else None

    async def consent(self, sender: UUID, ref: str) -> Consent | None:
        """A consent and whether it still stands."""
        row = await self._database.fetch_one("sender_consent", sender, ref)
        return None if row is None else Consent(**row)

    async def withdraw_consent(self, sender: UUID, ref: str) -> Consent | None:
        """For ever; the first time stays."""
        await self._database.fetch("withdraw_consent", sender, ref)
        return await self.consent(sender, ref)

    async def add_upload(self, upload: SenderUpload, segments: Sequence[StoredSegment]) -> None:
        """The upload and where its bytes are."""
        async with self._database.transaction() as tx:
            await _add_upload(tx, upload, segments)

    async def uploads(self, sender: UUID, ids: Sequence[UUID]) -> Mapping[UUID, SenderUpload]:
        """Those that are there and theirs."""
        return {r["id"]: SenderUpload(**r) for r in await self._database.fetch("sender_uploads", sender, list(ids))}

    async def upload_parts(self, sender: UUID, upload: UUID) -> PartialUpload | None:
        """With what has arrived."""
        rows = await self._database.fetch("sender_upload_parts", sender, upload)
        if not rows:
            return None
        columns = {name: value for name, value in rows[0].items() if name not in ("part", "part_sha256")}
        return PartialUpload(
            SenderUpload(**columns), {r["part"]: r["part_sha256"] for r in rows if r["part"] is not None}
        )

    async def add_upload_part(self, upload: UUID, segment: StoredSegment) -> bool:
        """The first one stays."""
        return await self._database.fetch_one("add_upload_part", *_segment(upload, segment)) is not None

    async def withdraw_upload(self, sender: UUID, upload: UUID) -> bool:
        """It expires now."""
        return await self._database.fetch_one("withdraw_upload", sender, upload) is not None

    # -------------------------------------------------------------- submission
    async def remembered(self, sender: UUID, key: str) -> Remembered | None:
        """The answer given under a key."""
        row = await self._database.fetch_one("remembered_answer", sender, key, IDEMPOTENCY_HOURS)
        return None if row is None else Remembered(**row)

    async def submit(
        self, order: Order, key: IdempotencyKey | None, render: Callable[[DeliverySeen], bytes], location: str
    ) -> Submitted:
        """One transaction: lock the key, insert, remember, emit. A rollback answers what was found instead."""
        try:
            async with self._database.transaction() as tx:
                if key is not None:
                    await self._claim_key(tx, order.sender, key)
                delivery = await self._insert(tx, order)
                body = render(delivery)
                if key is not None:
                    await tx.fetch(
                        "add_idempotency", order.sender, key.key, key.request_sha256, ACCEPTED_STATUS, location, body
                    )
                await tx.emit([Emission(SUBMITTED, order.delivery, lane=INTERACTIVE, traceparent=order.traceparent)])
        except _RolledBack as rolled_back:
            return await self._why_not(order) if rolled_back.answer is None else rolled_back.answer
        except asyncpg.ForeignKeyViolationError:
            return UploadGone()
        return Accepted(delivery, body)

    async def _claim_key(self, tx: PostgresTx, sender: UUID, key: IdempotencyKey) -> None:
        if not (await tx.fetch("try_idempotency_lock", sender, key.key))[0]["mine"]:
            raise _RolledBack(KeyInFlight())
        await tx.fetch("forget_old_answer", sender, key.key, IDEMPOTENCY_HOURS)
        rows = await tx.fetch("remembered_answer", sender, key.key, IDEMPOTENCY_HOURS)
        if rows:
            raise _RolledBack(KeyTaken(Remembered(**rows[0])))

    async def _insert(self, tx: PostgresTx, order: Order) -> DeliverySeen:
        s = order.submission
        rows = await tx.fetch("add_delivery", *columns_of(order), INTERACTIVE)
        if not rows:
            raise _RolledBack(None)
        for upload, segment in order.contents:
            await _add_upload(tx, upload, [segment])
        for d in s.documents:
            await tx.fetch("add_delivery_document", order.delivery, d.part, d.upload, d.file_name, d.sha256)
        return DeliverySeen(
            id=order.delivery,
            number=order.number,
            client_ref=s.client_ref,
            request_sha256=s.request_sha256,
            state="submitted",
            submitted_at=rows[0]["submitted_at"],
            settled_at=None,
            changed_at=rows[0]["submitted_at"],
            last_day=None,
            expires_at=None,
            stamped_through=0,
            events=(),
            snapshots=(),
        )

    async def _why_not(self, order: Order) -> Submitted:
        """Which unique key refused the insert: the rival has committed, so it can be read."""
        ref = order.submission.client_ref
        existing = None if ref is None else await self.delivery_by_ref(order.sender, ref)
        if existing is None:
            raise Transient("the public number is taken; another one will do")
        return ClientRefTaken(existing)

    # -------------------------------------------------------------- reading
    async def delivery(self, sender: UUID, name: UUID | str) -> DeliverySeen | None:
        """By id, or by public number."""
        by_id, by_number = (name, None) if isinstance(name, UUID) else (None, name)
        return await self._one(await self._database.fetch("sender_delivery", sender, by_id, by_number))

    async def delivery_by_ref(self, sender: UUID, client_ref: str) -> DeliverySeen | None:
        """The one that was not rejected."""
        return await self._one(await self._database.fetch("sender_delivery_by_ref", sender, client_ref))

    async def deliveries(
        self, sender: UUID, which: Filter, after: ListPlace | None, limit: int
    ) -> tuple[Sequence[DeliverySeen], ListPlace | None]:
        """By the index that has this list's order."""
        start = beginning(which) if after is None else after
        if which.client_ref is not None:
            rows = await self._database.fetch("sender_deliveries_of_ref", sender, which.client_ref, LOOKED_AT_MAX)
            is_cut = False
        elif which.changed_after is not None:
            most = looked_at(which, limit)
            rows = await self._database.fetch("sender_deliveries_by_change", sender, start.at, start.delivery, most)
            is_cut = len(rows) == most
        else:
            rows = await self._by_deposit(sender, which, start, limit + 1)
            is_cut = False
        page, goes_on = page_of([_bare(row) for row in rows], which, start, limit, is_cut=is_cut)
        return await self._complete(page), goes_on

    async def _by_deposit(self, sender: UUID, which: Filter, after: ListPlace, limit: int) -> list[Any]:
        begin = starts(which, after)
        columns = [s.state for s in begin], [s.at for s in begin], [s.delivery for s in begin]
        if which.batch is None:
            return await self._database.fetch("sender_deliveries_by_deposit", sender, *columns, limit)
        return await self._database.fetch("sender_deliveries_by_batch", sender, *columns, limit, which.batch)

    async def evidence(self, delivery: UUID, evidence: UUID) -> StampedEvidence | None:
        """A proof inside the stamped prefix."""
        row = await self._database.fetch_one("sender_evidence", delivery, evidence)
        return None if row is None else StampedEvidence(**row)

    async def ask_package(self, delivery: UUID) -> None:
        """Emits PRESERVE."""
        async with self._database.transaction() as tx:
            await tx.emit([Emission(PRESERVE, delivery, lane=INTERACTIVE)])

    # -------------------------------------------------------------- housekeeping
    async def forget_expired(self) -> None:
        """Tokens, assertions, remembered answers that have run out."""
        await self._database.fetch("forget_access_tokens")
        await self._database.fetch("forget_client_assertions")
        await self._database.fetch("forget_idempotency", IDEMPOTENCY_HOURS)

    async def check(self) -> None:
        """Raises Transient when the database does not answer."""
        await self._database.fetch("ping")

    async def _one(self, rows: Sequence[Row]) -> DeliverySeen | None:
        deliveries = await self._complete([_bare(row) for row in rows])
        return deliveries[0] if deliveries else None

    async def _complete(self, deliveries: Sequence[DeliverySeen]) -> list[DeliverySeen]:
        """Events and snapshots of all of them, in two statements."""
        ids = [d.id for d in deliveries]
        events: dict[UUID, list[EventSeen]] = defaultdict(list)
        snapshots: dict[UUID, list[SnapshotSeen]] = defaultdict(list)
        if ids:
            for e in await self._database.fetch("sender_events", ids):
                events[e["delivery"]].append(EventSeen(**_without_delivery(e)))
            for s in await self._database.fetch("sender_snapshots", ids):
                snapshots[s["delivery"]].append(SnapshotSeen(**_without_delivery(s)))
        return [replace(d, events=tuple(events[d.id]), snapshots=tuple(snapshots[d.id])) for d in deliveries]


def _bare(row: Row) -> DeliverySeen:
    return DeliverySeen(**row, events=(), snapshots=())


async def _add_upload(tx: PostgresTx, u: SenderUpload, segments: Sequence[StoredSegment]) -> None:
    described = (u.file_name, u.content_type, u.content_bytes, u.sha256, u.sha3_256, u.expires_at, u.part_bytes)
    await tx.fetch("add_upload", u.id, u.sender, *described)
    for s in segments:
        await tx.fetch("add_upload_segment", *_segment(u.id, s))


def _segment(upload: UUID, s: StoredSegment) -> tuple[Any, ...]:
    """In the order of add_upload_segment and add_upload_part."""
    place = (s.object, s.content_format, s.plain_bytes, s.intake_key_id, s.sealed_key, s.object_offset, s.object_bytes)
    return upload, s.segment, *place, s.sha256


def _without_delivery(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "delivery"}
