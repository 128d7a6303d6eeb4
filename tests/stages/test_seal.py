"""seal: the provider's seal over stored bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import uuid4

import pytest
from msgspec import structs

from pipeline.delivery.facts import DecisionIntent
from pipeline.delivery.routes import DRAFT, Emission
from pipeline.errors import Invariant
from pipeline.evidence.draft import draft
from pipeline.evidence.facts import EvidenceSeal
from pipeline.ports.bridge import Bridge, wire
from tests.stages.line import Line, identification

pytestmark = pytest.mark.anyio


@dataclass
class Forger:
    """A bridge that names another key, or seals other bytes than it was given."""

    honest: Bridge[Literal["seal"]]
    fault: str

    async def ask(self, items: Sequence[wire.Item[Any, Literal["seal"]]]) -> Sequence[Any]:
        answers = [a for a in await self.honest.ask(items) if isinstance(a, wire.Sealed)]
        if self.fault == "another key":
            return [structs.replace(a, key_id="seal-2025-1") for a in answers]
        return [structs.replace(a, signature=a.signature[::-1]) for a in answers]


async def deposited(line: Line) -> None:
    await line.submit()
    await line.run("ingest", "encrypt")


async def test_a_draft_is_sealed_and_sent_to_its_time_stamp() -> None:
    """The seal stands under the evidence's id, and the address goes on unchanged."""
    line = Line()
    await deposited(line)
    [message] = await line.turn("seal")
    assert message.evidence is not None
    assert line.database.tables.find(EvidenceSeal, message.evidence) is not None
    assert [(m.kind, m.evidence) for m in line.waiting("timestamp")] == [("sealed", message.evidence)]


async def test_sealing_twice_keeps_the_first_seal() -> None:
    """ECDSA is randomised: what a token may already stand on must not change."""
    line = Line()
    await deposited(line)
    [message] = await line.turn("seal")
    assert message.evidence is not None
    first = line.database.tables.find(EvidenceSeal, message.evidence)
    await line.again(message)
    await line.turn("seal")
    assert line.database.tables.find(EvidenceSeal, message.evidence) == first
    assert not line.errors


@pytest.mark.parametrize("trouble", ["away", "answer lost"])
async def test_a_bridge_that_does_not_answer_is_asked_again(trouble: str) -> None:
    """Failed, or done with the answer lost: the draft waits, at the cost of an attempt."""
    line = Line()
    await deposited(line)
    line.bridge.away, line.bridge.lose_answers = trouble == "away", int(trouble != "away")
    await line.turn("seal")
    [timer] = line.database.timers
    assert (timer.stage, timer.message.attempts, line.waiting("timestamp")) == ("seal", 1, [])


async def test_a_seal_that_the_bridge_denies_is_a_dead_letter() -> None:
    """A recipient's act without the bridge's own receipt is never sealed; a person has to look."""
    line = Line()
    delivery = await line.notified()
    dossier = (await line.facts.dossiers([delivery]))[delivery]
    async with line.database.transaction() as tx:
        head = (await tx.lock([delivery]))[delivery].head
        who = identification(line.clock.legal_now())
        forged = draft(head, "C.4", dossier, identification=who, receipt=b"forged")
        await tx.add([DecisionIntent(uuid4(), delivery, "refuse", forged.event_time), forged])
        await tx.emit([Emission(DRAFT, delivery, forged.evidence)])
    await line.run("seal", "timestamp")
    assert [why.startswith("seal denied: receipt") for why in line.dead()] == [True]
    assert line.state(delivery) == "notified"


@pytest.mark.parametrize("fault", ["another key", "other bytes"])
async def test_a_seal_that_does_not_verify_stops_the_process(fault: str) -> None:
    """A bridge that seals other bytes, or with another key, is not worked around; the draft stays for its successor."""
    line = Line()
    await deposited(line)
    line.ports["seal"] = replace(line.ports["seal"], bridge=Forger(line.bridge.bridge("seal"), fault))
    with pytest.raises(Invariant):
        await line.turn("seal")
    assert len(line.database.running["seal"]) == 1
    assert line.waiting("timestamp") == []


async def test_an_unknown_draft_is_a_dead_letter() -> None:
    """An address without a row is for a person."""
    line = Line()
    await line.emit(Emission(DRAFT, uuid4(), uuid4()))
    await line.turn("seal")
    assert line.dead() == ["no such draft of this delivery"]
