"""The bridge's record and the database: what is cut, computed anew, sealed beside or stored beside it is told."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import anyio
import pytest

from hsm_bridge.audit import FILE_BYTES_MAX, Audit, AuditBroken
from pipeline.adapters.postgres.database import Database
from pipeline.formats.configuration import DatabaseSettings
from pipeline.formats.key_record import GENESIS, line_sha256
from pipeline.operate.ledger_proofs import Violation
from pipeline.operate.ledger_record import check_record
from tests.db import small_ledger
from tests.servers import PostgresServer, short_directory

pytestmark = pytest.mark.anyio
SMALL_BYTES = 1200  # some files of the record


def mac(key_id: str, data: bytes) -> bytes:
    """By a key that nobody else has."""
    return line_sha256(b"secret" + key_id.encode() + data).encode()[:32]


def forged(_key_id: str, _data: bytes) -> bytes:
    return bytes(32)


async def write(
    path: Path, sealed: list[UUID], file_bytes_max: int = FILE_BYTES_MAX
) -> list[tuple[int, bytes, str, bytes]]:
    """A record as the bridge writes it: a request for each seal, and heads between them."""
    audit = Audit.open(path, file_bytes_max, mac)
    for number, evidence in enumerate(sealed):
        about = {"at": f"2099-11-30T{number:02}:00:00.000+00:00", "op": "seal_evidence", "items": 1}
        await audit.record({**about, "phase": "intent"})
        await audit.record({**about, "phase": "result", "error": None, "done": [f"ok seal-1 {evidence}"]})
        if number % 2:
            await audit.vouch("mac-1", mac)
    heads = [(h.number, h.sha256, h.key_id, h.mac) for h in audit.heads]
    audit.close()
    return heads


class World:
    """A ledger with its record and its heads."""

    def __init__(self, database: DatabaseSettings, path: Path) -> None:
        self.database = database
        self.path = path

    async def check(self) -> list[Violation]:
        operator = Database(self.database.dsn("qerds_operate"))
        try:
            return await check_record(operator, self.path)
        finally:
            await operator.close()


@pytest.fixture
def world(postgres: PostgresServer, tmp_path: Path) -> Iterator[World]:
    database = postgres.clone()
    made = World(database, tmp_path / "bridge" / "audit.jsonl")

    async def build() -> None:
        async with small_ledger.installation(database, short_directory()) as it:
            await it.deposit()
            await it.deposit()
            rows = await it.owner.fetch("SELECT evidence FROM qerds.evidence_seal ORDER BY sealed_at")
            heads = await write(made.path, [row["evidence"] for row in rows])
        bridge = await small_ledger.connect(database, "qerds_bridge")
        await bridge.executemany(
            "INSERT INTO qerds.key_use_head (number, sha256, key_id, mac) VALUES ($1, $2, $3, $4)", heads
        )
        await bridge.close()

    anyio.run(build)
    yield made
    postgres.drop(database)


async def test_record_and_ledger_agree(world: World) -> None:
    """Nothing is told of an honest record."""
    assert await world.check() == []


async def test_a_record_of_several_files_agrees(world: World, postgres: PostgresServer) -> None:
    """Also after old ones were taken elsewhere: what was before is not asked."""
    world.path.unlink()
    postgres.psql("DELETE FROM qerds.key_use_head", world.database.name)
    owner = await small_ledger.connect(world.database, "qerds_owner")
    rows = await owner.fetch("SELECT evidence FROM qerds.evidence_seal ORDER BY sealed_at")
    await owner.close()
    await write(world.path, [row["evidence"] for row in rows], SMALL_BYTES)
    old = sorted(world.path.parent.glob("audit-*.jsonl"))
    assert old
    assert {v.detail for v in await world.check()} == {"a head that the database does not have"}
    old[0].unlink()
    assert "every_seal_was_made" not in {v.predicate for v in await world.check()}


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def rewrite(path: Path, entries: list[dict[str, object]]) -> None:
    """The chain computed anew over other lines, as anybody can who may write the file."""
    number, before = 0, GENESIS
    lines: list[bytes] = []
    for entry in entries:
        if not lines and entry["phase"] == "continued":
            number, before = int(str(entry["n"])) - 1, str(entry["before"])
        number += 1
        line = json.dumps({**entry, "n": number, "before": before}, separators=(",", ":")).encode() + b"\n"
        before = line_sha256(line)
        lines.append(line)
    path.write_bytes(b"".join(lines))


CHANGES: dict[str, Callable[[list[dict[str, object]]], list[dict[str, object]]]] = {
    "cut": lambda entries: entries[:1],
    "one line removed": lambda entries: entries[:1] + entries[2:],
    "heads removed": lambda entries: [e for e in entries if e["phase"] != "head"],
    "a seal removed": lambda entries: [e for e in entries if "done" not in e],
    "a seal put in": lambda entries: [
        {**e, "done": [f"ok seal-1 {UUID(int=7)}"]} if "done" in e else e for e in entries
    ],
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_record_that_was_computed_anew_is_told(world: World, change: str) -> None:
    """The chain holds, the start of the bridge may even succeed: the heads in the database are of other lines."""
    entries = lines_of(world.path)
    assert len(entries) > 3
    rewrite(world.path, CHANGES[change](entries))
    assert {v.predicate for v in await world.check()} & {"key_uses_are_whole", "every_seal_was_made"}


ONE = "(SELECT min(evidence::text)::uuid FROM qerds.evidence WHERE event = 'C.1')"
EDITS = {
    "key_uses_are_whole": (
        "DELETE FROM qerds.key_use_head WHERE number = (SELECT min(number) FROM qerds.key_use_head)",
        "UPDATE qerds.key_use_head SET sha256 = sha256('other')",
        "UPDATE qerds.key_use_head SET number = number + 1000",
        "INSERT INTO qerds.key_use_head VALUES (999, sha256('x'), 'mac-1', sha256('x'))",
        "INSERT INTO qerds.key_use_head SELECT number, sha256('x'), key_id, mac FROM qerds.key_use_head LIMIT 1",
    ),
    "every_seal_was_made": (
        "DELETE FROM qerds.evidence_token; DELETE FROM qerds.evidence_seal; DELETE FROM qerds.evidence",
        f"""UPDATE qerds.evidence_seal SET evidence = '00000000-0000-4000-8000-000000000009' WHERE evidence = {ONE};
            UPDATE qerds.evidence SET evidence = '00000000-0000-4000-8000-000000000009' WHERE evidence = {ONE}""",
    ),
}


@pytest.mark.parametrize(
    ("predicate", "edit"), [(predicate, edit) for predicate, edits in EDITS.items() for edit in edits]
)
async def test_what_the_superuser_changes_is_told(
    world: World, postgres: PostgresServer, edit: str, predicate: str
) -> None:
    """Heads removed, changed or added; evidence removed that was sealed; evidence put in that was not."""
    postgres.psql(
        "SET session_replication_role = replica; ALTER TABLE qerds.evidence "
        "DROP CONSTRAINT evidence_is_named_by_its_fact, DROP CONSTRAINT evidence_bytes_say_its_name; " + edit,
        world.database.name,
    )
    assert predicate in {v.predicate for v in await world.check()}


async def test_only_the_tokens_key_makes_heads(tmp_path: Path) -> None:
    """Who computes the chain anew, heads included, without the key: the next start of the bridge says so."""
    path = tmp_path / "audit.jsonl"
    audit = Audit.open(path, mac=mac)
    await audit.record({"number": 1})
    await audit.vouch("mac-1", mac)
    await audit.vouch("mac-1", mac)  # nothing new: no second head
    audit.close()
    assert [e.get("phase") for e in lines_of(path)] == [None, "head"]
    Audit.open(path, mac=mac).close()
    with pytest.raises(AuditBroken, match="not made with this token's key"):
        Audit.open(path, mac=forged)
    entries = lines_of(path)
    rewrite(path, [{"phase": "x", **entries[0], "number": 2}, entries[1]])
    with pytest.raises(AuditBroken, match="not the one that was vouched for"):
        Audit.open(path, mac=mac)
