"""Two OS users: what somebody can do who has become the gateway, with its database password and its bridge socket."""

import hashlib
import json
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import asyncpg
import pytest

from hsm_bridge import wire
from hsm_bridge.client import BridgeAway, BridgeClient, BridgeDenied
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.dossiers import read_dossiers
from pipeline.adapters.postgres.queries import queries
from pipeline.delivery.facts import DecisionIntent
from pipeline.delivery.routes import DRAFT, INTERACTIVE, Emission
from pipeline.evidence.dossier import Dossier, Issuer, Reason
from pipeline.evidence.draft import Head, draft
from pipeline.evidence.facts import EvidenceDraft
from pipeline.formats.configuration import Config, load
from pipeline.formats.person import IdentifiedPerson
from tests.e2e.installation import Installation, installation, send_many, states
from tests.fakes.bridge import decision_item
from tests.servers import short_directory

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0, reason="two OS users can only be had as root"),
]
BASE_PORT = 16400
NOBODY = 65534


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    """The gateway's OS user is `nobody`: the bridge lets it use the gateway's socket and no other."""
    with installation(short_directory() / "state", BASE_PORT) as it:
        text = it.layout.config.read_text()
        allowed, changed = re.subn(r"allowed_uids = \{\s*\}", f"allowed_uids = {{ gateway = [0, {NOBODY}] }}", text)
        if not changed:
            allowed = text + f"\n[bridge.allowed_uids]\ngateway = [0, {NOBODY}]\n"
        it.layout.config.write_text(allowed)
        before = it.pid("hsm_bridge")
        it.kill("hsm_bridge")
        it.wait(
            "the bridge under its new configuration", lambda: it.pid("hsm_bridge") != before and it.running.is_ready
        )
        yield it


def as_nobody(attack: Callable[..., object], *arguments: object) -> dict[str, str]:
    """What `attack` says, run in a child that gave up root for good."""

    def child(pipe: Connection) -> None:
        queries()  # read while it still may: the checkout may be in a folder that only root can enter
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        pipe.send(json.dumps(anyio.run(attack, *arguments)))  # type: ignore[arg-type]

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,))
    process.start()
    try:
        assert ours.poll(60), "the attack gave no answer"
        found: dict[str, str] = json.loads(ours.recv())
        return found
    finally:
        process.join(10)


async def at_the_bridge(sockets: Path, wrap: dict[str, str], delivery: str) -> dict[str, str]:
    """Every operation that would help, at every socket there is."""
    said = {}
    other = BridgeClient(sockets / "encrypt.sock", deadline_seconds=2)
    try:
        await other.ask([wire.OpenIntake(key_id="x", info=b"", sealed=b"")])
        said["encrypt_socket"] = "answered"
    except (BridgeAway, BridgeDenied, OSError) as error:
        said["encrypt_socket"] = type(error).__name__
    own = BridgeClient(sockets / "gateway.sock", deadline_seconds=5)
    asked: list[wire.Item[Any, Any]] = [
        wire.OpenIntake(key_id="x", info=b"", sealed=b""),
        wire.WrapContent(context=b"", keys=b""),
        wire.DeriveWrap(context=b"", contents=()),
        wire.SealEvidence(evidence=b"", receipt=None),
        wire.TimeStamp(imprint=bytes(32), event_time=None),
    ]
    for item in asked:
        try:
            await own.ask([item])
            said[type(item).op] = "answered"
        except BridgeDenied:
            said[type(item).op] = "denied"
    forged = bytes(64)
    release = wire.Release(
        wrapped=bytes.fromhex(wrap["wrapped"]),
        wrap_key_id=wrap["key_id"],
        context=bytes.fromhex(wrap["context"]),
        ticket=forged,
        receipt=forged,
    )
    [answer] = await own.ask([release])
    said["release"] = "denied" if isinstance(answer, wire.Denied) else "answered"
    [answer2] = await own.ask([decision_item(forged, UUID(delivery), "accept")])
    said["decide"] = "denied" if isinstance(answer2, wire.Denied) else "answered"
    return said


async def in_the_database(config: Config, password: str, delivery: str) -> dict[str, str]:
    """Drafts of every kind; the act of a recipient is drafted with a receipt that nobody gave."""
    database = Database(replace(config.database.dsn("qerds_gateway"), read_password=lambda: password))
    identifier = UUID(delivery)
    [key] = await database.fetch("active_keys", "seal", 1)
    issuer = Issuer("Forger", "FR", "2.25.1", key["key_id"], hashlib.sha256(key["certificate"]).digest())
    dossier = (await read_dossiers(database.fetch, [identifier], issuer))[identifier]
    reason = Reason("forged", "forged")
    said = {}
    for event in ("A.1", "C.1", "C.5", "C.3"):
        try:
            async with database.transaction() as tx:
                locked = (await tx.lock([identifier]))[identifier]
                body = draft(locked.head, "C.2", dossier, reason=reason, ordinal=9)
                made = _forged(event, body, locked.head, dossier)
                intents = [DecisionIntent(uuid4(), identifier, "accept", made.event_time)] if event == "C.3" else []
                await tx.add([*intents, made])
                await tx.emit([Emission(DRAFT, identifier, made.evidence, lane=INTERACTIVE)])
            said[event] = "stored"
        except asyncpg.PostgresError as error:
            said[event] = type(error).__name__
    await database.close()
    return said


def _forged(event: str, body: EvidenceDraft, head: Head, dossier: Dossier) -> EvidenceDraft:
    """An evidence of that event; for the recipient's act a well-formed one, with a receipt of zeros."""
    if event != "C.3":
        return replace(body, event=event, evidence=uuid4())
    when = datetime(2026, 1, 1, tzinfo=UTC)
    who = IdentifiedPerson("Angela", "DUBOIS", None, None, "sub", "substantial", "oidc", when, bytes(32))
    return draft(head, "C.3", dossier, identification=who, receipt=bytes(64))


def test_a_taken_over_gateway_opens_nothing_old_and_forges_no_act(running: Installation) -> None:
    """No letter deposited before opens, no C.3 is sealed for a stranger, no A.1, C.1 or C.5 can be drafted."""
    [delivery] = send_many(running, 1, "old")
    running.wait("the notice", lambda: states(running) == {"notified": 1})
    config = load(running.layout.config)
    [[key_id, context, wrapped]] = running.rows(
        "SELECT key_id, encode(context, 'hex'), encode(wrapped, 'hex') FROM qerds.content_wrap"
    )
    wrap = {"key_id": key_id, "context": context, "wrapped": wrapped}

    said = as_nobody(at_the_bridge, config.bridge.socket_dir, wrap, delivery)
    assert said.pop("encrypt_socket") in ("BridgeAway", "BridgeDenied", "PermissionError")
    assert said == dict.fromkeys(
        ("open_intake", "wrap_content", "derive_wrap", "seal_evidence", "time_stamp", "release", "decide"), "denied"
    )

    password = config.database.password("qerds_gateway")
    said = as_nobody(in_the_database, config, password, delivery)
    assert said.pop("C.3") == "stored"
    assert set(said.values()) == {"InsufficientPrivilegeError"}, said
    running.wait("the bridge's no", lambda: running.rows("SELECT why FROM outbox.dead WHERE stage = 'seal'"))
    [[why]] = running.rows("SELECT why FROM outbox.dead WHERE stage = 'seal'")
    assert why.startswith("seal denied")
    sealed = "SELECT count(*) FROM qerds.evidence e JOIN qerds.evidence_seal s USING (evidence) WHERE e.event = 'C.3'"
    assert running.count(sealed) == 0
    assert states(running) == {"notified": 1}
