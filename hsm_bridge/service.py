"""One request from admission to answer, and the life of the token behind it.

Owns     the order of a request (permission, room, clock, intent on disk, work in threads, result on disk), the recovery
         of a token that went away, the renewal of the revocation list, what is published and stated
Rules    a worker thread for each session of the token; long batches are worked off in slices, so that a short request
         waits for a slice and not for a batch; every caller kind has room of its own, so that bulk cannot fill the
         recipients' queue
Elsewhere: sockets (server), which operations there are, who may ask and what they do (operations/table.py)
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import anyio
import anyio.to_thread
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hsm_bridge import clock, selftest, wire
from hsm_bridge.audit import Audit
from hsm_bridge.clock import ClockAway, LegalClock
from hsm_bridge.identity import issuer_keys
from hsm_bridge.operations import descriptions, statements
from hsm_bridge.operations.table import OPERATIONS, Operation
from hsm_bridge.operations.vault import Moment, Refused, Vault
from hsm_bridge.token import certificates, keyring
from hsm_bridge.token.device import KeyMissing, TokenAway
from hsm_bridge.wire import Caller
from pipeline.formats.key_record import RecordHead
from pipeline.process.measures import (
    BRIDGE_QUEUE,
    BRIDGE_REQUEST_SECONDS,
    BRIDGE_REQUESTS,
    BRIDGE_TOKEN_UP,
    CERTIFICATE_EXPIRY,
    CRL_EXPIRY,
    ISSUER_KEYS,
    PROOF_LAG,
    PROVED_LATE,
)
from pipeline.process.recorder import Recorder

QUEUED_ITEMS_MAX = 2048  # per caller kind: about a third of a second of work
QUEUED_BYTES_MAX = 32 * 1024 * 1024  # per caller kind, of items taken on
SLICE_ITEMS = 32  # best batch for the token is 32 to 128; about 4 ms
PROBE_SECONDS = 10  # how soon a token that nobody uses is missed
RECOVERY_SECONDS = 1  # between attempts to get a lost token back
CRL_CHECK_SECONDS = 5  # the legal clock of an embedded installation may jump
ISSUER_SECONDS = 3600  # providers publish a new key before they sign with it
ISSUER_RETRY_SECONDS = 60
ISSUER_CHECK_SECONDS = 1
CRL_AGE = timedelta(days=1)


class Peer(NamedTuple):
    """Who is at the other end of a socket, as the kernel says."""

    pid: int
    uid: int


class Performed(NamedTuple):
    """One item: its result, what the record says of it, and how long after its event a token was made."""

    result: wire.ItemResult
    outcome: str
    lag_seconds: float | None = None


class Service:
    """The bridge without its sockets."""

    def __init__(self, vault: Vault, audit: Audit, legal_clock: LegalClock, recorder: Recorder) -> None:
        self.vault = vault
        self.recorder = recorder
        self._audit = audit
        self._legal_clock = legal_clock
        self._workers = anyio.CapacityLimiter(vault.config.token.sessions)
        self._queued: dict[Caller, int] = dict.fromkeys(wire.CALLERS, 0)
        self._queued_bytes: dict[Caller, int] = dict.fromkeys(wire.CALLERS, 0)
        self._lost = anyio.Event()
        self._issuer_documents: dict[str, issuer_keys.IssuerKeys] = {}  # each set as it was first fetched
        recorder.set(BRIDGE_QUEUE, 0)
        self._observe()

    async def answer(self, caller: Caller, peer: Peer, request: wire.Request) -> wire.Response:
        """The response to one request; raises only what must end the process (TokenStopped, a full disk)."""
        started = clock.monotonic_seconds()
        response = await self._admit(caller, peer, request)
        operation = request.op if request.op in OPERATIONS else "unknown"
        outcome = response.err if response.err in (wire.BUSY, wire.DENIED) else "error" if response.err else "ok"
        self.recorder.count(BRIDGE_REQUESTS, operation, caller, outcome)
        self.recorder.observe(BRIDGE_REQUEST_SECONDS, clock.monotonic_seconds() - started, operation)
        return response

    async def _admit(self, caller: Caller, peer: Peer, request: wire.Request) -> wire.Response:
        count, operation = len(request.items), OPERATIONS.get(request.op)
        if request.v != wire.VERSION or not 1 <= count <= wire.ITEMS_MAX or operation is None:
            return wire.Response(id=request.id, err=wire.BAD_REQUEST)
        if not 1 <= request.deadline_ms <= wire.DEADLINE_MS_MAX:
            return wire.Response(id=request.id, err=wire.BAD_REQUEST)
        about: dict[str, object] = {
            "caller": caller,
            "uid": peer.uid,
            "pid": peer.pid,
            "op": request.op,
            "items": count,
        }
        if caller not in operation.callers:
            await self._record(about | {"phase": "denied"})
            return wire.Response(id=request.id, err=wire.DENIED)
        if operation.keys and not self.vault.token_up:
            return wire.Response(id=request.id, err=wire.TOKEN_AWAY)
        count_bytes = sum(memoryview(raw).nbytes for raw in request.items)
        is_full = self._queued[caller] + count > QUEUED_ITEMS_MAX
        if is_full or self._queued_bytes[caller] + count_bytes > QUEUED_BYTES_MAX:
            return wire.Response(id=request.id, err=wire.BUSY)
        self._queue(caller, count, count_bytes)
        try:
            return await self._perform(operation, request, about)
        finally:
            self._queue(caller, -count, -count_bytes)

    async def _perform(self, operation: Operation, request: wire.Request, about: dict[str, object]) -> wire.Response:
        """Steps: 1 the clocks, 2 intent on disk, 3 slices in threads, 4 result on disk. Too late is busy: ask again."""
        deadline = clock.monotonic_seconds() + request.deadline_ms / 1000
        try:
            legal = await self._legal_clock.legal_now() if operation.needs_legal_time else None  # 1
        except ClockAway:
            return wire.Response(id=request.id, err=wire.CLOCK_AWAY)
        if not operation.keys:
            moment = Moment(clock.now(), legal)
            results = [perform_item(operation, self.vault, raw, moment).result for raw in request.items]
            return wire.Response(id=request.id, results=results)
        await self._record(about | {"phase": "intent"})  # 2
        done: list[Performed] = []
        error = None
        while error is None and len(done) < len(request.items):  # 3
            if clock.monotonic_seconds() > deadline:
                error = wire.BUSY
                break
            batch = request.items[len(done) : len(done) + SLICE_ITEMS]
            moment = Moment(clock.now(), legal)
            try:
                done += await anyio.to_thread.run_sync(
                    perform_slice, operation, self.vault, batch, moment, limiter=self._workers
                )
            except TokenAway as away:
                error = wire.TOKEN_AWAY
                self._note_away(away)
        about |= self._late(done)
        await self._record({**about, "phase": "result", "error": error, "done": [item.outcome for item in done]})  # 4
        if error is not None:
            return wire.Response(id=request.id, err=error)
        return wire.Response(id=request.id, results=[item.result for item in done])

    async def missing(self) -> str:
        """What it lacks to answer; "" when nothing."""
        return "" if self.vault.token_up else "token away"

    async def keep_token(self) -> None:
        """For ever: notices a token that went away, and gets it back: restart, keys read back, self-test, serve."""
        while True:
            with anyio.move_on_after(PROBE_SECONDS):
                await self._lost.wait()
            try:
                if self.vault.token_up:
                    await anyio.to_thread.run_sync(selftest.probe, self.vault.token, self.vault.keyring)
                else:
                    self.vault.keyring = await anyio.to_thread.run_sync(self._restart)
                    self._set_token(up=True)
            except (TokenAway, KeyMissing):
                self._set_token(up=False)
                await anyio.sleep(RECOVERY_SECONDS)

    async def keep_crl(self, published: Callable[[], None]) -> None:
        """For ever: a new revocation list a day, by the legal clock; calls `published` after each."""
        while True:
            try:
                if await self._renew_crl():
                    published()
            except (ClockAway, TokenAway, KeyMissing):
                self.recorder.count(BRIDGE_REQUESTS, "revocation_list", "operator", "error")  # tried again soon
            await anyio.sleep(CRL_CHECK_SECONDS)

    async def vouch(self) -> None:
        """A head of the record, if there is something new in it and the token is there."""
        if self.vault.token_up:
            try:
                await self._audit.vouch(self.vault.keyring.last("mac").key_id, self.vault.token.mac)
            except TokenAway as away:
                self._note_away(away)

    def heads(self, at_most: int) -> list[RecordHead]:
        """The oldest that the database was not told yet."""
        return self._audit.heads[:at_most]

    def anchored(self, heads: Sequence[RecordHead]) -> None:
        """The database has them, the oldest."""
        del self._audit.heads[: len(heads)]

    async def keep_issuer_keys(self, published: Callable[[], None]) -> None:
        """For ever: the keys of providers that rotate them, each hour; calls `published` when some are others."""
        providers = self.vault.config.identity.providers
        due = dict.fromkeys((name for name, p in providers.items() if p.jwks_file is None), 0.0)
        while due:
            for name in [name for name, at in due.items() if at <= clock.monotonic_seconds()]:
                try:
                    keys = await issuer_keys.fetch_keys(providers[name], clock.now())
                    self.recorder.count(ISSUER_KEYS, "ok")
                except issuer_keys.IssuerAway as away:
                    self.recorder.error("issuer_keys", away)
                    self.recorder.count(ISSUER_KEYS, "away")
                    due[name] = clock.monotonic_seconds() + ISSUER_RETRY_SECONDS
                    continue
                due[name] = clock.monotonic_seconds() + ISSUER_SECONDS
                before = self.vault.issuer_keys.get(name)
                self.vault.issuer_keys[name] = keys
                if before is None or before.jwks != keys.jwks:
                    self._issuer_documents[name] = keys
                    published()
            await anyio.sleep(ISSUER_CHECK_SECONDS)

    def documents(self) -> list[tuple[str, int, bytes]]:
        """(name, version, body) of all that is published beside the keys."""
        ring = self.vault.keyring
        authority = ring.authority.public_bytes(Encoding.DER)
        jwks = b'{"keys":[' + ring.identity_jwk() + b"]}"
        crl = self.vault.crl
        version = len(ring.of("identity"))
        return [
            ("ca", 1, authority),
            ("identity_jwks", version, jwks),
            ("crl", crl_number(crl), crl),
            *(
                (f"identity_provider.{name}", int(keys.at.timestamp()), keys.jwks)
                for name, keys in self._issuer_documents.items()
            ),
        ]

    def public_keys(self) -> list[wire.PublicKey]:
        """What `describe` tells and the database publishes."""
        return descriptions.public_keys(self.vault)

    async def statement(self) -> bytes:
        """Of what `public_keys` and `documents` give now. Raises TokenAway, KeyMissing."""
        if not self.vault.token_up:
            raise TokenAway("nothing is stated without it", lost=False)
        await self._record({"phase": "intent", "caller": "bridge", "op": "statement"})
        keys, documents, now = self.public_keys(), self.documents(), clock.now()
        return await anyio.to_thread.run_sync(statements.state, self.vault, keys, documents, now, limiter=self._workers)

    async def _renew_crl(self) -> bool:
        vault = self.vault
        legal = await self._legal_clock.legal_now()
        if not self.vault.token_up or legal < crl_made_at(vault.crl) + CRL_AGE:
            return False
        number = crl_number(vault.crl) + 1
        await self._record({"phase": "intent", "caller": "bridge", "op": "revocation_list", "number": number})
        key = certificates.TokenSigningKey(vault.token, vault.keyring.authority_label)
        made = await anyio.to_thread.run_sync(
            certificates.revocation_list, vault.keyring.authority, key, number, legal, limiter=self._workers
        )
        keyring.write_public(keyring.crl_path(vault.config), made)
        vault.crl = made
        self._observe()
        return True

    def _restart(self) -> keyring.Keyring:
        """In a thread: waits for the workers, so no key is used meanwhile."""
        token = self.vault.token
        token.restart()
        ring = keyring.load(token, self.vault.config)
        selftest.run(token, ring)
        return ring

    def _note_away(self, away: TokenAway) -> None:
        if away.lost:
            self._set_token(up=False)
            self._lost.set()

    def _set_token(self, *, up: bool) -> None:
        self.vault.token_up = up
        if up:
            self._lost = anyio.Event()
        self._observe()

    def _queue(self, caller: Caller, count: int, count_bytes: int) -> None:
        self._queued[caller] += count
        self._queued_bytes[caller] += count_bytes
        self.vault.queued_items = sum(self._queued.values())
        self.recorder.set(BRIDGE_QUEUE, self.vault.queued_items)

    def _observe(self) -> None:
        self.recorder.set(BRIDGE_TOKEN_UP, int(self.vault.token_up))
        for key in self.vault.keyring.keys:  # oldest first: the newest of a use stays
            if key.certificate is not None:
                self.recorder.set(CERTIFICATE_EXPIRY, key.not_after.timestamp(), key.public_use or key.use)
        ends_at = crl_made_at(self.vault.crl) + timedelta(certificates.CRL_DAYS)
        self.recorder.set(CRL_EXPIRY, ends_at.timestamp())

    def _late(self, done: Sequence[Performed]) -> dict[str, object]:
        """What the record says of tokens that came late: places in the batch, and seconds. An event is the service's
        word alone until its token, so somebody must hear when that takes long."""
        lags = [(place, item.lag_seconds) for place, item in enumerate(done) if item.lag_seconds is not None]
        for _, lag in lags:
            self.recorder.observe(PROOF_LAG, lag)
        late = [[place, round(lag)] for place, lag in lags if lag > self.vault.config.time.lag_seconds_max]
        self.recorder.count(PROVED_LATE, by=len(late))
        return {"late": late} if late else {}

    async def _record(self, entry: Mapping[str, object]) -> None:
        await self._audit.record({"at": clock.now().isoformat(timespec="milliseconds"), **entry})


def perform_slice(operation: Operation, vault: Vault, items: list[msgspec.Raw], moment: Moment) -> list[Performed]:
    """In a worker thread: some items one after the other."""
    return [perform_item(operation, vault, raw, moment) for raw in items]


def perform_item(operation: Operation, vault: Vault, raw: msgspec.Raw, moment: Moment) -> Performed:
    """One item's result and what the record says of it; its own errors, also in telling the answer, harm no other item:
    a mistake of ours becomes that item's dead letter, and must not stop every other letter, again and again."""
    try:
        done = operation.work(vault, wire.decode(raw, operation.item), moment)
        answer = wire.encode(done.answer)
    except wire.FrameInvalid as error:
        return _refused("item_invalid", error)
    except KeyMissing as error:
        return _refused("key_unknown", error)
    except Refused as error:
        return _refused(error.code, error)
    except wire.FAULTS as error:
        name = type(error).__name__
        return Performed(wire.ItemResult(err="fault", detail=name), f"fault {name}")
    outcome = f"ok {done.key_id} {done.about}".rstrip()
    return Performed(wire.ItemResult(ok=msgspec.Raw(answer)), outcome, done.lag_seconds)


def _refused(code: str, error: Exception) -> Performed:
    """The detail may quote the item: as far as it can be written, and not longer than people read."""
    detail = str(error)[: wire.DETAIL_CHARACTERS_MAX].encode("utf-8", "replace").decode()
    return Performed(wire.ItemResult(err=code, detail=detail), code)


def crl_number(crl: bytes) -> int:
    """RFC 5280 section 5.2.3; also the version under which the list is published."""
    return x509.load_der_x509_crl(crl).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def crl_made_at(crl: bytes) -> datetime:
    """thisUpdate."""
    return x509.load_der_x509_crl(crl).last_update_utc
