"""Measures as text, and the rows they come from."""

import re
from datetime import UTC, datetime, timedelta
from time import perf_counter_ns

from pipeline.measures import series as measures
from pipeline.process.exposition import exposition
from pipeline.process.recorder import MESSAGES, Recorder

LABEL = r'[a-z_]+="([^"\\]|\\.)*"'
LINE = re.compile(rf"[a-z_]+(\{{{LABEL}(,{LABEL})*\}})? [-+.0-9e]+")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def recorded() -> Recorder:
    recorder = Recorder("seal", write=lambda _: None)
    recorder.count("outcome", "done", 3)
    recorder.count("stale", by=2)
    for seconds in (0.0005, 0.001, 0.2, 9999.0):
        recorder.observe("wait", seconds)
    recorder.observe("batch", 7, MESSAGES)
    recorder.count("qerds_mail_total", 'relay="relay.example",class="2xx"', 4)
    recorder.observe("qerds_tsa_request_seconds", 0.02, labels='authority="bridge"')
    recorder.build = ("0.1.0", 'embedded "1"')
    recorder.gauges = {("qerds_ops_leader", ""): 1.0, ("qerds_paused", 'scope="stage:seal"'): 1.0}
    return recorder


def test_every_line_is_a_sample() -> None:
    """Prometheus refuses a whole page for one line that it cannot read."""
    for line in exposition("seal", recorded()).splitlines():
        assert LINE.fullmatch(line), line


def test_a_histogram_counts_up_to_each_bound() -> None:
    """Buckets are cumulative, the bound belongs to its bucket, and +Inf holds everything."""
    text = exposition("seal", recorded())
    assert 'qerds_stage_wait_seconds_bucket{stage="seal",le="0.001"} 2' in text
    assert 'qerds_stage_wait_seconds_bucket{stage="seal",le="0.25"} 3' in text
    assert 'qerds_stage_wait_seconds_bucket{stage="seal",le="3600"} 3' in text
    assert 'qerds_stage_wait_seconds_bucket{stage="seal",le="+Inf"} 4' in text
    assert 'qerds_stage_wait_seconds_count{stage="seal"} 4' in text
    assert 'qerds_stage_batch_messages_bucket{stage="seal",le="10"} 1' in text


def test_counters_and_gauges_have_their_names() -> None:
    """As docs/operate.md and the alert rules call them."""
    text = exposition("seal", recorded())
    assert 'qerds_stage_messages_total{stage="seal",outcome="done"} 3' in text
    assert 'qerds_stale_acks_total{stage="seal"} 2' in text
    assert "qerds_ops_leader 1" in text.splitlines()
    assert 'qerds_process_resident_bytes{kind="seal"}' in text


def test_a_measure_with_a_whole_name_is_a_series_of_its_own() -> None:
    """The stage is no label of what is not the runtime's."""
    lines = exposition("notify", recorded()).splitlines()
    assert 'qerds_mail_total{relay="relay.example",class="2xx"} 4' in lines
    assert 'qerds_tsa_request_seconds_bucket{authority="bridge",le="0.025"} 1' in lines
    assert 'qerds_tsa_request_seconds_count{authority="bridge"} 1' in lines


def test_every_process_says_what_it_runs() -> None:
    """Version and configuration; quotes in what an operator wrote break nothing."""
    text = exposition("seal", recorded())
    assert r'qerds_build_info{version="0.1.0",config_version="embedded \"1\""} 1' in text.splitlines()


def test_an_observation_costs_microseconds() -> None:
    """A request of the gateway makes two counts and an observation beside its milliseconds of work."""
    recorder, times = Recorder("gateway", write=lambda _: None), []
    for number in range(2000):
        began = perf_counter_ns()
        recorder.count("qerds_http_requests_total", 'method="GET",route="/v1/me",status="200"')
        recorder.observe("qerds_http_request_seconds", number / 1000, labels='face="api",route="/v1/me",status="200"')
        times.append(perf_counter_ns() - began)
    assert sorted(times)[1000] < 50_000  # nanoseconds; some 1500 on an idle machine


def test_the_horizon_has_no_series_when_nobody_may_look() -> None:
    """A number that is always young would keep its alert silent."""
    assert measures.horizon([{"seconds": None}]) == {}
    assert measures.horizon([{"seconds": 61.5}]) == {("qerds_pg_horizon_seconds", ""): 61.5}


def test_webhook_lag_is_there_at_nothing() -> None:
    """And those whose endpoint fails do not hide behind those that answer."""
    found = measures.webhook_lag([{"endpoint": "fails", "lag_seconds": 7200.0}])
    assert found == {
        ("qerds_webhook_lag_seconds", 'endpoint="answers"'): 0.0,
        ("qerds_webhook_lag_seconds", 'endpoint="fails"'): 7200.0,
    }


def test_messages_taken_alone_belong_to_their_lane() -> None:
    """An operator thinks of interactive and bulk; suspicion is an inner matter."""
    rows = [
        {"stage": "seal", "lane": lane, "ready": 10, "oldest_seconds": float(lane) if lane else None}
        for lane in range(4)
    ]
    found = measures.depths(rows)
    assert found["qerds_mailbox_ready_rows", 'stage="seal",lane="interactive"'] == 20
    assert found["qerds_mailbox_oldest_ready_seconds", 'stage="seal",lane="interactive"'] == 1
    assert found["qerds_mailbox_oldest_ready_seconds", 'stage="seal",lane="bulk"'] == 3


def test_no_identifier_becomes_a_label() -> None:
    """A paused sender or batch is a number of them."""
    rows = [
        {"scope": "stage", "subject": "seal"},
        {"scope": "intake", "subject": ""},
        *({"scope": "batch", "subject": f"batch-{n}"} for n in range(3)),
    ]
    assert measures.pauses(rows) == {
        ("qerds_paused", 'scope="stage:seal"'): 1,
        ("qerds_paused", 'scope="intake"'): 1,
        ("qerds_paused", 'scope="batch"'): 3,
    }


def test_legal_slack_is_that_of_the_first_letter() -> None:
    """Per duty the least time that is left, negative when it has passed."""
    row = {"state": "submitted", "last_day": None, "is_refused": False, "legal_now": NOW}
    found = measures.legal_slack(
        [{**row, "submitted_at": NOW - timedelta(hours=h)} for h in (1, 25)]
        + [{**row, "state": "accepted", "submitted_at": NOW}]
    )
    assert found == {("qerds_legal_slack_seconds", 'duty="deposit_proof"'): -3600}
