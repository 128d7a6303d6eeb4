"""The answers of a process to whoever watches it, without a socket."""

from http import HTTPStatus

import pytest

from pipeline.process.health import ALIVE, METRICS, READY, Health, HealthAnswer
from pipeline.process.measures import STALE_ACKS
from pipeline.process.recorder import Recorder

pytestmark = pytest.mark.anyio


class Process:
    """What its health is asked of."""

    def __init__(self) -> None:
        self.recorder = Recorder("seal", write=lambda _: None)
        self.draining = False
        self.lacks = ""

    async def missing(self) -> str:
        return self.lacks


async def test_a_process_is_ready_while_an_epoch_lives_and_nothing_drains() -> None:
    """A balancer stops sending when the epoch is lost, and when the process is about to go."""
    process = Process()
    health = Health(process.recorder, lambda: process.draining)
    assert await health.answer(READY) == HealthAnswer(HTTPStatus.SERVICE_UNAVAILABLE, b"no epoch\n")
    process.recorder.is_ready = True
    assert await health.answer(READY) == HealthAnswer(HTTPStatus.OK, b"ready\n")
    process.draining = True
    assert await health.answer(READY) == HealthAnswer(HTTPStatus.SERVICE_UNAVAILABLE, b"draining\n")
    assert await health.answer(ALIVE) == HealthAnswer(HTTPStatus.OK, b"alive\n")


async def test_a_process_says_what_it_lacks() -> None:
    """In its own words: the bridge its token, the gateway its database."""
    process = Process()
    health = Health(process.recorder, lambda: process.draining, process.missing)
    assert await health.answer(READY) == HealthAnswer(HTTPStatus.OK, b"ready\n")
    process.lacks = "token away"
    assert await health.answer(READY) == HealthAnswer(HTTPStatus.SERVICE_UNAVAILABLE, b"token away\n")


async def test_metrics_are_what_the_recorder_holds_now() -> None:
    """Asked at each scrape."""
    process = Process()
    health = Health(process.recorder, lambda: process.draining)
    process.recorder.count(STALE_ACKS, by=2)
    told = await health.answer(METRICS)
    assert told.status == HTTPStatus.OK
    assert b'qerds_stale_acks_total{stage="seal"} 2.0' in told.text
    assert (await health.answer("/")).status == HTTPStatus.NOT_FOUND
