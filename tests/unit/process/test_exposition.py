"""Measures as text, and the rows they come from."""

import re
from datetime import UTC, datetime, timedelta
from time import perf_counter_ns

import pytest

from pipeline.measures import series as measures
from pipeline.process.build import version
from pipeline.process.exposition import exposition
from pipeline.process.measures import (
    HORIZON,
    HTTP_REQUEST_SECONDS,
    HTTP_REQUESTS,
    LEGAL_SLACK,
    MAILBOX_OLDEST,
    MAILBOX_READY,
    MAILS,
    OPS_LEADER,
    PAUSED,
    STAGE_BATCH,
    STAGE_MESSAGES,
    STAGE_WAIT,
    STALE_ACKS,
    TSA_SECONDS,
    WEBHOOK_LAG,
)
from pipeline.process.recorder import Recorder

LABEL = r'[a-z_]+="([^"\\]|\\.)*"'
LINE = re.compile(rf"[a-z_]+(\{{{LABEL}(,{LABEL})*\}})? [-+.0-9e]+")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def recorded(process: str = "seal") -> Recorder:
    recorder = Recorder(process, write=lambda _: None)
    recorder.count(STAGE_MESSAGES, "done", by=3)
    recorder.count(STALE_ACKS, by=2)
    for seconds in (0.0005, 0.001, 0.2, 9999.0):
        recorder.observe(STAGE_WAIT, seconds)
    recorder.observe(STAGE_BATCH, 7)
    recorder.count(MAILS, "relay.example", "2xx", by=4)
    recorder.observe(TSA_SECONDS, 0.02, "bridge")
    recorder.config_version = 'embedded "1"'
    recorder.set(OPS_LEADER, 1.0)
    recorder.set(PAUSED, 1.0, "stage:seal")
    return recorder


def text_of(recorder: Recorder) -> str:
    return exposition(recorder).decode()


def test_every_line_is_a_sample() -> None:
    """Prometheus refuses a whole page for one line that it cannot read."""
    for line in text_of(recorded()).splitlines():
        assert LINE.fullmatch(line) or line.startswith(("# HELP qerds_", "# TYPE qerds_")), line


def test_a_histogram_counts_up_to_each_bound() -> None:
    """Buckets are cumulative, the bound belongs to its bucket, and +Inf holds everything."""
    text = text_of(recorded())
    assert 'qerds_stage_wait_seconds_bucket{le="0.001",stage="seal"} 2.0' in text
    assert 'qerds_stage_wait_seconds_bucket{le="0.25",stage="seal"} 3.0' in text
    assert 'qerds_stage_wait_seconds_bucket{le="3600",stage="seal"} 3.0' in text
    assert 'qerds_stage_wait_seconds_bucket{le="+Inf",stage="seal"} 4.0' in text
    assert 'qerds_stage_wait_seconds_count{stage="seal"} 4.0' in text
    assert 'qerds_stage_batch_messages_bucket{le="10",stage="seal"} 1.0' in text


def test_counters_and_gauges_have_their_names() -> None:
    """As docs/operate.md and the alert rules call them."""
    text = text_of(recorded())
    assert 'qerds_stage_messages_total{outcome="done",stage="seal"} 3.0' in text
    assert 'qerds_stale_acks_total{stage="seal"} 2.0' in text
    assert "qerds_ops_leader 1.0" in text.splitlines()
    assert 'qerds_process_resident_bytes{kind="seal"}' in text


def test_a_measure_with_a_whole_name_is_a_series_of_its_own() -> None:
    """The stage is no label of what is not the runtime's."""
    lines = text_of(recorded("notify")).splitlines()
    assert 'qerds_mail_total{class="2xx",relay="relay.example"} 4.0' in lines
    assert 'qerds_tsa_request_seconds_bucket{authority="bridge",le="0.025"} 1.0' in lines
    assert 'qerds_tsa_request_seconds_count{authority="bridge"} 1.0' in lines


def test_every_process_says_what_it_runs() -> None:
    """Version and configuration; quotes in what an operator wrote break nothing."""
    text = text_of(recorded())
    assert rf'qerds_build_info{{config_version="embedded \"1\"",version="{version()}"}} 1.0' in text.splitlines()


def test_an_observation_costs_microseconds() -> None:
    """A request of the gateway makes two counts and an observation beside its milliseconds of work."""
    recorder, times = Recorder("gateway", write=lambda _: None), []
    for number in range(2000):
        began = perf_counter_ns()
        recorder.count(HTTP_REQUESTS, "GET", "/v1/me", "200")
        recorder.observe(HTTP_REQUEST_SECONDS, number / 1000, "api", "/v1/me", "200")
        times.append(perf_counter_ns() - began)
    assert sorted(times)[1000] < 50_000  # nanoseconds; some 1500 on an idle machine


def test_a_measure_takes_the_labels_it_declares() -> None:
    """A value too few or too many is a mistake of ours, told where it is made and not at the next scrape."""
    recorder = Recorder("seal", write=lambda _: None)
    for labels in ((), ("done", "late")):
        with pytest.raises(ValueError, match="qerds_stage_messages_total has 1 labels"):
            recorder.count(STAGE_MESSAGES, *labels)
    assert recorder.counts == {}


def test_processes_in_one_program_share_no_series() -> None:
    """The simulation and many tests run several at once: each tells of itself alone."""
    seal, notify = recorded("seal"), recorded("notify")
    seal.count(STALE_ACKS)
    assert 'qerds_stale_acks_total{stage="notify"} 2.0' in text_of(notify)
    assert 'stage="seal"' not in text_of(notify)


def test_the_horizon_has_no_series_when_nobody_may_look() -> None:
    """A number that is always young would keep its alert silent."""
    assert measures.horizon([{"seconds": None}]) == {}
    assert measures.horizon([{"seconds": 61.5}]) == {HORIZON.of(): 61.5}


def test_webhook_lag_is_there_at_nothing() -> None:
    """And those whose endpoint fails do not hide behind those that answer."""
    found = measures.webhook_lag([{"endpoint": "fails", "lag_seconds": 7200.0}])
    assert found == {
        WEBHOOK_LAG.of("answers"): 0.0,
        WEBHOOK_LAG.of("fails"): 7200.0,
    }


def test_messages_taken_alone_belong_to_their_lane() -> None:
    """An operator thinks of interactive and bulk; suspicion is an inner matter."""
    rows = [
        {"stage": "seal", "lane": lane, "ready": 10, "oldest_seconds": float(lane) if lane else None}
        for lane in range(4)
    ]
    found = measures.depths(rows)
    assert found[MAILBOX_READY.of("seal", "interactive")] == 20
    assert found[MAILBOX_OLDEST.of("seal", "interactive")] == 1
    assert found[MAILBOX_OLDEST.of("seal", "bulk")] == 3


def test_no_identifier_becomes_a_label() -> None:
    """A paused sender or batch is a number of them."""
    rows = [
        {"scope": "stage", "subject": "seal"},
        {"scope": "intake", "subject": ""},
        *({"scope": "batch", "subject": f"batch-{n}"} for n in range(3)),
    ]
    assert measures.pauses(rows) == {
        PAUSED.of("stage:seal"): 1,
        PAUSED.of("intake"): 1,
        PAUSED.of("batch"): 3,
    }


def test_legal_slack_is_that_of_the_first_letter() -> None:
    """Per duty the least time that is left, negative when it has passed."""
    row = {"state": "submitted", "last_day": None, "is_refused": False, "legal_now": NOW}
    found = measures.legal_slack(
        [{**row, "submitted_at": NOW - timedelta(hours=h)} for h in (1, 25)]
        + [{**row, "state": "accepted", "submitted_at": NOW}]
    )
    assert found == {LEGAL_SLACK.of("deposit_proof"): -3600}
