"""A token that comes long after its event: made all the same, and told in the record and by a metric."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest

from hsm_bridge import wire
from hsm_bridge.audit import Audit
from hsm_bridge.service import Peer, Service
from pipeline.process.measures import PROVED_LATE
from pipeline.process.recorder import Recorder
from tests.fakes.bridge import FakeBridge

pytestmark = pytest.mark.anyio
MOMENT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Record:
    """What would be on disk."""

    def __init__(self) -> None:
        self.entries: list[Mapping[str, Any]] = []

    async def record(self, entry: Mapping[str, Any]) -> None:
        self.entries.append(entry)


class Clock:
    """The legal time of the test."""

    async def legal_now(self) -> datetime:
        return MOMENT


async def test_a_late_token_is_given_and_told() -> None:
    """At the bound nothing is said; beyond it which item of the batch, by how much, and how many."""
    bridge = FakeBridge(legal_now=lambda: MOMENT, random=random.Random(1).randbytes)
    record, recorder = Record(), Recorder("hsm_bridge", lambda _line: None)
    service = Service(bridge.vault, cast("Audit", record), Clock(), recorder)
    lags = (None, 0, 3600, 3601, 20 * 86_400)
    items = [wire.TimeStamp(bytes(32), None if s is None else MOMENT - timedelta(seconds=s)) for s in lags]
    raw = [msgspec.Raw(wire.encode(item)) for item in items]
    request = wire.Request(v=wire.VERSION, id=1, op="time_stamp", items=raw, deadline_ms=10_000)
    response = await service.answer("timestamp", Peer(1, 1), request)
    assert [result.err for result in response.results or []] == [None] * len(lags)
    assert record.entries[-1]["late"] == [[3, 3601], [4, 20 * 86_400]]
    assert recorder.counts[PROVED_LATE, ()] == 2
