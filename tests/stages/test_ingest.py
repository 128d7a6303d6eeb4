"""ingest: what a request alone could not tell."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from pipeline.delivery.routes import SUBMITTED, Emission
from pipeline.errors import Transient
from pipeline.ports.rows import SubmittedDelivery
from tests.stages.line import Line

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("consent", ["given", "not_needed"])
async def test_a_submission_in_order_goes_on_to_encrypt(consent: str) -> None:
    """Nothing is drafted before the content was read back."""
    line = Line()
    delivery = await line.submit(consent=consent)
    await line.turn("ingest")
    assert line.events(delivery) == []
    assert [(m.kind, m.subject) for m in line.waiting("encrypt")] == [("checked", delivery)]


@pytest.mark.parametrize("consent", ["withdrawn", "unknown"])
async def test_without_consent_a_consumer_s_letter_is_rejected_with_evidence(consent: str) -> None:
    """CPCE L.100 I: a consumer must have consented; the sender gets A.2 that says why, and no deposit."""
    line = Line()
    delivery = await line.submit(consent=consent)
    await line.turn("ingest")
    assert (line.events(delivery), line.waiting("encrypt")) == (["A.2"], [])
    await line.run("seal", "timestamp", "archive")
    assert (line.events(delivery), line.state(delivery)) == (["A.2"], "rejected")
    assert b"consent_withdrawn" in line.last(delivery).canonical
    assert len(line.snapshots(delivery)) == 1
    assert line.nothing_left()


async def test_a_message_put_back_by_an_operator_rejects_once() -> None:
    """Judged before: the second time changes nothing."""
    line = Line()
    await line.submit(consent="withdrawn")
    [message] = await line.turn("ingest")
    await line.again(message)
    await line.turn("ingest")
    assert len(line.waiting("seal")) == 1
    assert line.events(message.subject) == ["A.2"]
    assert not line.errors


async def test_a_delivery_that_is_not_there_is_a_dead_letter() -> None:
    """It was never answered 202; a person has to look."""
    line = Line()
    await line.emit(Emission(SUBMITTED, uuid4()))
    await line.turn("ingest")
    assert line.dead() == ["no such delivery"]


class Away:
    """Facts while the database is away."""

    async def submissions(self, _deliveries: Sequence[UUID]) -> Mapping[UUID, SubmittedDelivery]:
        raise Transient("away")


async def test_a_database_that_is_away_costs_an_attempt_and_nothing_else() -> None:
    """What cannot be read now is read later."""
    line = Line()
    delivery = await line.submit()
    line.ports["ingest"] = replace(line.ports["ingest"], facts=Away())
    await line.turn("ingest")
    [timer] = line.database.timers
    assert (timer.message.subject, timer.message.attempts, line.dead()) == (delivery, 1, [])
    assert line.waiting("encrypt") == []
