"""From rows to series: what is measured, and how often. Pure.

Owns     the literal table of what is asked, and what its rows become
Rules    a label is a stage, a lane, a state, a duty or a table: never a delivery, a sender or an address. What has
         nothing to tell has no series, but for what an alert must see at 0
Elsewhere: names (pipeline/process/measures.py), asking (measurer.py), statements (adapters/postgres/sql/measures.sql)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.delivery.duties import next_duty, slack_seconds
from pipeline.delivery.routes import STAGES
from pipeline.process.measures import (
    DEAD_LETTER_OLDEST,
    DEAD_LETTERS,
    DEAD_ROWS,
    DELIVERIES,
    DEPOSIT_SECONDS,
    HORIZON,
    LEGAL_SLACK,
    MAILBOX_OLDEST,
    MAILBOX_READY,
    MAILBOX_RUNNING,
    PAUSED,
    TIMERS_OVERDUE,
    WEBHOOK_LAG,
    Series,
)

Row = Mapping[str, Any]
LANES = {0: "interactive", 1: "interactive", 2: "bulk", 3: "bulk"}  # 1 and 3: of the same, taken alone
NEWEST_EVENTS = 1000  # that are looked at for letters deposited just now
EXACT_MAX = 10_000  # messages of one lane that are counted; from there on the span of their ids tells


@dataclass(frozen=True, slots=True)
class Question:
    """One statement and what it becomes. every_seconds: at least so long between two; a slow one waits longer."""

    query: str
    arguments: tuple[Any, ...]
    every_seconds: float
    series: Callable[[Sequence[Row]], Series]


def depths(rows: Sequence[Row]) -> Series:
    """Waiting messages and the age of the first, per stage and lane."""
    series: Series = {}
    for row in rows:
        labels = (row["stage"], LANES[row["lane"]])
        ready, age = MAILBOX_READY.of(*labels), MAILBOX_OLDEST.of(*labels)
        series[ready] = series.get(ready, 0.0) + row["ready"]
        series[age] = max(series.get(age, 0.0), row["oldest_seconds"] or 0.0)
    return series


def running(rows: Sequence[Row]) -> Series:
    """Messages in a process's hands."""
    return {MAILBOX_RUNNING.of(row["stage"]): row["running"] for row in rows}


def timers(rows: Sequence[Row]) -> Series:
    """How late the latest timer is: by the real clock, and by the time of the law."""
    late = {"real": 0.0, "legal": 0.0}
    for row in rows:
        late[row["kind"]] = max(late[row["kind"]], row["overdue_seconds"])
    return {TIMERS_OVERDUE.of(kind): seconds for kind, seconds in late.items()}


def dead_letters(rows: Sequence[Row]) -> Series:
    """By stage and reason; the age of the oldest is there without any."""
    series: Series = {DEAD_LETTER_OLDEST.of(): max((r["oldest_seconds"] for r in rows), default=0.0)}
    for row in rows:
        series[DEAD_LETTERS.of(row["stage"], row["reason"])] = row["letters"]
    return series


def pauses(rows: Sequence[Row]) -> Series:
    """Stages and the intake by name; senders and batches as a number of them."""
    series: Series = {}
    for row in rows:
        scope = f"stage:{row['subject']}" if row["scope"] == "stage" else row["scope"]
        key = PAUSED.of(scope)
        series[key] = series.get(key, 0.0) + 1
    return series


def legal_slack(rows: Sequence[Row]) -> Series:
    """The least time left, per duty that is owed to anybody. Dead and paused letters are among them, by their state."""
    series: Series = {}
    for row in rows:
        duty = next_duty(row["state"], row["submitted_at"], row["last_day"], is_refused=row["is_refused"])
        if duty is not None:
            key = LEGAL_SLACK.of(duty.name)
            slack = slack_seconds(duty, row["legal_now"])
            series[key] = min(series.get(key, slack), slack)
    return series


def deliveries(rows: Sequence[Row]) -> Series:
    """How many are in each state."""
    return {DELIVERIES.of(row["state"]): row["deliveries"] for row in rows}


def dead_rows(rows: Sequence[Row]) -> Series:
    """What vacuum has not removed yet, per table."""
    return {DEAD_ROWS.of(row["table_name"]): row["dead_rows"] for row in rows}


def horizon(rows: Sequence[Row]) -> Series:
    """How far back the oldest reader holds vacuum. None: this role may not see the others' sessions."""
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    return {HORIZON.of(): max(seconds)} if seconds else {}


def webhook_lag(rows: Sequence[Row]) -> Series:
    """The oldest event that an endpoint has not taken: of those that answer, and of those that fail or want time."""
    lag = {"answers": 0.0, "fails": 0.0, **{row["endpoint"]: row["lag_seconds"] for row in rows}}
    return {WEBHOOK_LAG.of(endpoint): seconds for endpoint, seconds in lag.items()}


def deposits(rows: Sequence[Row]) -> Series:
    """From submission to the time-stamped proof of deposit, over the newest letters of the last minute."""
    series: Series = {}
    for row in rows:
        for quantile in ("0.5", "0.95", "1"):
            seconds = row[f"seconds_{quantile.replace('.', '_')}"]
            series[DEPOSIT_SECONDS.of(LANES[row["lane"]], quantile)] = seconds
    return series


QUESTIONS = (
    Question("ops_depths", (STAGES, EXACT_MAX), 1.0, depths),
    Question("ops_running", (STAGES, EXACT_MAX), 1.0, running),
    Question("ops_timers", (STAGES,), 1.0, timers),
    Question("ops_pauses", (), 1.0, pauses),
    Question("ops_dead_letters", (EXACT_MAX,), 5.0, dead_letters),
    Question("ops_horizon", (), 5.0, horizon),
    Question("ops_legal_slack", (), 5.0, legal_slack),
    Question("ops_webhook_lag", (), 5.0, webhook_lag),
    Question("ops_deposits", (NEWEST_EVENTS,), 15.0, deposits),
    Question("ops_dead_rows", (), 15.0, dead_rows),
    Question("ops_deliveries", (), 60.0, deliveries),
)
