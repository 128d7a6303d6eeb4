"""encrypt: a readable deposit before a proof of deposit."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from uuid import UUID

import pytest

from pipeline.delivery.facts import ContentWrap
from pipeline.delivery.routes import CHECKED, Emission
from tests.memory.tables import Submission
from tests.stages.line import Line

pytestmark = pytest.mark.anyio


def altered(sealed: bytes) -> bytes:
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


async def test_a_content_as_declared_is_wrapped_and_deposited() -> None:
    """The keys are bound to the addressee and the deposit is drafted, in one commit."""
    line = Line()
    delivery = await line.submit()
    await line.run("ingest", "encrypt")
    assert line.events(delivery) == ["A.1"]
    assert line.database.tables.find(ContentWrap, delivery) is not None
    assert [m.evidence for m in line.waiting("seal")] == [line.last(delivery).evidence]


async def test_two_letters_in_one_batch_are_judged_each_for_itself() -> None:
    """A bad content does not cost its neighbour its deposit."""
    line = Line()
    good, bad = await line.submit(), await line.submit(spoil=altered)
    await line.run("ingest", "encrypt")
    assert (line.events(good), line.events(bad)) == (["A.1"], ["A.2"])
    assert line.database.tables.find(ContentWrap, bad) is None


@pytest.mark.parametrize(
    ("submission", "code"),
    [
        ({"spoil": altered}, b"digest_mismatch"),
        ({"spoil": lambda sealed: sealed[:-5]}, b"digest_mismatch"),
        ({"spoil": lambda sealed: sealed[:20]}, b"digest_mismatch"),
        ({"spoil": lambda sealed: b""}, b"digest_mismatch"),
        ({"spoil": lambda sealed: sealed + b"more"}, b"digest_mismatch"),
        ({"declared_sha256": bytes(32)}, b"digest_mismatch"),
        ({"content_type": "application/pdf"}, b"type_mismatch"),
    ],
)
async def test_a_content_that_is_not_as_declared_is_rejected(submission: dict[str, object], code: bytes) -> None:
    """The sender learns why from evidence, and nobody is told of a letter that cannot be read."""
    line = Line()
    delivery = await line.submit(**submission)  # type: ignore[arg-type]
    await line.run("ingest", "encrypt", "seal", "timestamp", "notify")
    assert (line.events(delivery), line.state(delivery)) == (["A.2"], "rejected")
    assert code in line.last(delivery).canonical
    assert line.relay.mails == []


async def test_a_consent_withdrawn_meanwhile_is_seen_before_the_deposit() -> None:
    """`ingest` found it given; between that and the deposit the consumer may still say no."""
    line = Line()
    delivery = await line.submit(consent="withdrawn")
    await line.emit(Emission(CHECKED, delivery))
    await line.turn("encrypt")
    assert line.events(delivery) == ["A.2"]


class WithdrawnWhileRead:
    """The store of a line whose consumer withdraws the consent the moment the content is read."""

    def __init__(self, line: Line, delivery: UUID) -> None:
        self._line, self._delivery = line, delivery

    async def read(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        stored = self._line.database.tables.find(Submission, self._delivery)
        assert stored is not None
        self._line.database.tables.submit(replace(stored, consent="withdrawn"))
        async with aclosing(self._line.objects.read(name, offset, length)) as chunks:
            async for chunk in chunks:
                yield chunk


async def test_a_consent_withdrawn_while_the_content_is_read_is_seen_under_the_lock() -> None:
    """No proof of deposit is drafted after the consumer's no, however late in the batch it came."""
    line = Line()
    delivery = await line.submit()
    await line.emit(Emission(CHECKED, delivery))
    line.ports["encrypt"] = replace(line.ports["encrypt"], objects=WithdrawnWhileRead(line, delivery))
    await line.turn("encrypt")
    assert line.events(delivery) == ["A.2"]
    assert line.database.tables.find(ContentWrap, delivery) is None


@pytest.mark.parametrize("trouble", ["bridge", "store", "object"])
async def test_what_cannot_be_read_now_is_read_later(trouble: str) -> None:
    """A store or a bridge that is away is no reason to reject a letter."""
    line = Line()
    delivery = await line.submit()
    await line.turn("ingest")
    kept = dict(line.objects.objects)
    line.bridge.away = trouble == "bridge"
    line.objects.down = trouble == "store"
    if trouble == "object":
        line.objects.objects.clear()
    await line.turn("encrypt")
    [timer] = line.database.timers
    assert (line.events(delivery), timer.message.attempts) == ([], 1)
    line.bridge.away = line.objects.down = False
    line.objects.objects.update(kept)
    await line.again(timer.message)
    await line.turn("encrypt")
    assert line.events(delivery) == ["A.1"]


async def test_a_lost_answer_of_the_bridge_costs_a_second_wrap_and_no_second_deposit() -> None:
    """Done, but the answer was lost: asking again is harmless."""
    line = Line()
    delivery = await line.submit()
    await line.turn("ingest")
    line.bridge.lose_answers = 1
    [message] = await line.turn("encrypt")
    assert line.events(delivery) == []
    await line.again(message)
    await line.turn("encrypt")
    assert line.events(delivery) == ["A.1"]


async def test_a_message_put_back_by_an_operator_deposits_once() -> None:
    """Judged before: the second time reads the content again, and changes nothing."""
    line = Line()
    delivery = await line.submit()
    await line.turn("ingest")
    [message] = await line.turn("encrypt")
    await line.again(message)
    await line.turn("encrypt")
    assert (line.events(delivery), len(line.waiting("seal"))) == (["A.1"], 1)
    assert not line.errors
