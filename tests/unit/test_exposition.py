"""Measures as text, and the rows they come from."""

import re
from datetime import UTC, datetime, timedelta

from pipeline.exposition import exposition, http_exposition
from pipeline.ops import measures
from pipeline.recorder import MESSAGES, Recorder

LINE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [-+.0-9e]+')
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def recorded() -> Recorder:
    recorder = Recorder("seal", write=lambda _: None)
    recorder.count("outcome", "done", 3)
    recorder.count("stale", by=2)
    for seconds in (0.0005, 0.001, 0.2, 9999.0):
        recorder.observe("wait", seconds)
    recorder.observe("batch", 7, MESSAGES)
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


def test_the_gateway_counts_by_route() -> None:
    """The pattern of a route, never a path."""
    text = http_exposition("gateway", {("http_requests", "GET /v1/deliveries/{name} 200"): 4})
    assert 'qerds_http_requests_total{method="GET",route="/v1/deliveries/{name}",status="200"} 4' in text


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
