"""What is believed is what is sealed: a row that says something else than its bytes goes no further.

The row is bent as it is read, so that every field can differ; what the database itself refuses is tested in tests/db.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pipeline.delivery.routes import DRAFT, SEALED, Emission
from pipeline.evidence.binding import EvidenceRow
from pipeline.evidence.facts import EvidenceDraft
from tests.stages.line import Line

pytestmark = pytest.mark.anyio


@dataclass
class BentFacts:
    """Rows as somebody left them who may write rows and not seal."""

    honest: Any
    bend: Callable[[Any], Any]

    async def drafts(self, evidences: Sequence[UUID]) -> Mapping[UUID, Any]:
        return {key: self.bend(found) for key, found in (await self.honest.drafts(evidences)).items()}

    async def seals(self, evidences: Sequence[UUID]) -> Mapping[UUID, Any]:
        return {key: self.bend(found) for key, found in (await self.honest.seals(evidences)).items()}


def of_row(change: Callable[[EvidenceRow], EvidenceRow]) -> Callable[[Any], Any]:
    return lambda stored: replace(stored, row=change(stored.row))


ROWS: dict[str, Callable[[Any], Any]] = {
    "another evidence": of_row(lambda row: replace(row, evidence=uuid4())),
    "another event": of_row(lambda row: replace(row, event="C.1")),
    "another sequence": of_row(lambda row: replace(row, sequence=row.sequence + 1)),
    "another time": of_row(lambda row: replace(row, event_time=row.event_time - timedelta(days=20))),
    "another predecessor": of_row(lambda row: replace(row, predecessor_sha256=bytes(32))),
    "no evidence": of_row(lambda row: replace(row, canonical=b"bytes")),
}


@pytest.mark.parametrize("stage", ["seal", "timestamp"])
@pytest.mark.parametrize("name", ROWS)
async def test_a_row_that_differs_from_its_bytes_goes_no_further(stage: str, name: str) -> None:
    """Neither sealed nor stamped: a dead letter, and the state stays."""
    line = Line()
    delivery = await line.submit()
    await line.run("ingest", "encrypt", *(["seal"] if stage == "timestamp" else []))
    line.ports[stage] = replace(line.ports[stage], facts=BentFacts(line.ports[stage].facts, ROWS[name]))
    [message] = await line.turn(stage)
    assert [why.startswith("not sealed: " if stage == "seal" else "not stamped: ") for why in line.dead()] == [True]
    assert line.state(delivery) == "submitted"
    assert message.evidence is not None
    assert line.waiting("timestamp") == line.waiting("notify") == []


@pytest.mark.parametrize("fault", ["other bytes", "another letter's"])
async def test_a_seal_that_does_not_verify_is_not_stamped(fault: str) -> None:
    """Whoever may write seals makes no proof with it: the token would be honest and prove nothing."""
    line = Line()
    deliveries = [await line.submit() for _ in range(2)]
    await line.run("ingest", "encrypt", "seal")
    facts = line.ports["timestamp"].facts
    evidences = {d: line.database.tables.drafts(d)[0].evidence for d in deliveries}
    signature = (await facts.seals([evidences[deliveries[1]]]))[evidences[deliveries[1]]].signature

    def bend(stored: Any) -> Any:
        if stored.row.delivery != deliveries[0]:
            return stored
        return replace(stored, signature=stored.signature[::-1] if fault == "other bytes" else signature)

    line.ports["timestamp"] = replace(line.ports["timestamp"], facts=BentFacts(facts, bend))
    await line.run("timestamp")
    assert [why.startswith("not stamped: the signature does not verify") for why in line.dead()] == [True]
    assert [line.state(d) for d in deliveries] == ["submitted", "deposited"]


@pytest.mark.parametrize(("stage", "kind"), [("seal", DRAFT), ("timestamp", SEALED)])
async def test_a_message_about_another_delivery_moves_nothing(stage: str, kind: str) -> None:
    """Its subject is what would be locked and advanced; its evidence is another letter's."""
    line = Line()
    honest = await line.submit()
    await line.run("ingest", "encrypt", *(["seal"] if stage == "timestamp" else []))
    [evidence] = [draft.evidence for draft in line.database.tables.of(EvidenceDraft, honest)]
    other = await line.submit()
    line.database.waiting[stage].clear()
    await line.emit(Emission(kind, other, evidence))
    await line.turn(stage)
    assert len(line.dead()) == 1 and line.dead()[0].endswith("of this delivery")
    assert (line.state(honest), line.state(other)) == ("submitted", "submitted")
