"""From rows to series: what is measured, how often, and under which names. Pure.

Owns     the literal table of measures
Rules    a label is a stage, a lane, a state, a duty or a table: never a delivery, a sender or an address. What has
         nothing to tell has no series, but for what an alert must see at 0
Elsewhere: asking (measurer.py), the statements (adapters/postgres/sql/measures.sql)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.delivery.duties import next_duty, slack_seconds
from pipeline.delivery.routes import STAGES

Row = Mapping[str, Any]
Series = dict[tuple[str, str], float]

LANES = {0: "interactive", 1: "interactive", 2: "bulk", 3: "bulk"}  # 1 and 3: of the same, taken alone
NEWEST_EVENTS = 1000  # that are looked at for letters deposited just now
EXACT_MAX = 10_000  # messages of one lane that are counted; from there on the span of their ids tells


@dataclass(frozen=True, slots=True)
class Measure:
    """One statement and what it becomes. every_seconds: at least so long between two; a slow one waits longer."""

    query: str
    arguments: tuple[Any, ...]
    every_seconds: float
    series: Callable[[Sequence[Row]], Series]


def depths(rows: Sequence[Row]) -> Series:
    """Waiting messages and the age of the first, per stage and lane."""
    found: Series = {}
    for row in rows:
        labels = f'stage="{row["stage"]}",lane="{LANES[row["lane"]]}"'
        ready, age = ("qerds_mailbox_ready_rows", labels), ("qerds_mailbox_oldest_ready_seconds", labels)
        found[ready] = found.get(ready, 0.0) + row["ready"]
        found[age] = max(found.get(age, 0.0), row["oldest_seconds"] or 0.0)
    return found


def running(rows: Sequence[Row]) -> Series:
    """Messages in a process's hands."""
    return {("qerds_mailbox_running_rows", f'stage="{row["stage"]}"'): row["running"] for row in rows}


def timers(rows: Sequence[Row]) -> Series:
    """How late the latest timer is: by the real clock, and by the time of the law."""
    late = {"real": 0.0, "legal": 0.0}
    for row in rows:
        late[row["kind"]] = max(late[row["kind"]], row["overdue_seconds"])
    return {("qerds_timers_overdue_seconds", f'kind="{kind}"'): seconds for kind, seconds in late.items()}


def dead_letters(rows: Sequence[Row]) -> Series:
    """By stage and reason; the age of the oldest is there without any."""
    found: Series = {("qerds_dead_letter_oldest_seconds", ""): max((r["oldest_seconds"] for r in rows), default=0.0)}
    for row in rows:
        found["qerds_dead_letters", f'stage="{row["stage"]}",reason="{row["reason"]}"'] = row["letters"]
    return found


def pauses(rows: Sequence[Row]) -> Series:
    """Stages and the intake by name; senders and batches as a number of them."""
    found: Series = {}
    for row in rows:
        scope = f"stage:{row['subject']}" if row["scope"] == "stage" else row["scope"]
        key = ("qerds_paused", f'scope="{scope}"')
        found[key] = found.get(key, 0.0) + 1
    return found


def legal_slack(rows: Sequence[Row]) -> Series:
    """The least time left, per duty that is owed to anybody. Dead and paused letters are among them, by their state."""
    found: Series = {}
    for row in rows:
        duty = next_duty(row["state"], row["submitted_at"], row["last_day"], is_refused=row["is_refused"])
        if duty is not None:
            key = ("qerds_legal_slack_seconds", f'duty="{duty.name}"')
            slack = slack_seconds(duty, row["legal_now"])
            found[key] = min(found.get(key, slack), slack)
    return found


def deliveries(rows: Sequence[Row]) -> Series:
    """How many are in each state."""
    return {("qerds_deliveries", f'state="{row["state"]}"'): row["deliveries"] for row in rows}


def dead_rows(rows: Sequence[Row]) -> Series:
    """What vacuum has not removed yet, per table."""
    return {("qerds_pg_dead_rows", f'table="{row["table_name"]}"'): row["dead_rows"] for row in rows}


def horizon(rows: Sequence[Row]) -> Series:
    """How far back the oldest reader holds vacuum. None: this role may not see the others' sessions."""
    known = [row["seconds"] for row in rows if row["seconds"] is not None]
    return {("qerds_pg_horizon_seconds", ""): max(known)} if known else {}


def webhook_lag(rows: Sequence[Row]) -> Series:
    """The oldest event that an endpoint has not taken: of those that answer, and of those that fail or want time."""
    lag = {"answers": 0.0, "fails": 0.0, **{row["endpoint"]: row["lag_seconds"] for row in rows}}
    return {("qerds_webhook_lag_seconds", f'endpoint="{endpoint}"'): seconds for endpoint, seconds in lag.items()}


def deposits(rows: Sequence[Row]) -> Series:
    """From submission to the time-stamped proof of deposit, over the newest letters of the last minute."""
    found: Series = {}
    for row in rows:
        for quantile in ("0.5", "0.95", "1"):
            labels = f'lane="{LANES[row["lane"]]}",quantile="{quantile}"'
            found["qerds_submit_to_deposit_seconds", labels] = row[f"seconds_{quantile.replace('.', '_')}"]
    return found


MEASURES = (
    Measure("ops_depths", (STAGES, EXACT_MAX), 1.0, depths),
    Measure("ops_running", (STAGES, EXACT_MAX), 1.0, running),
    Measure("ops_timers", (STAGES,), 1.0, timers),
    Measure("ops_pauses", (), 1.0, pauses),
    Measure("ops_dead_letters", (EXACT_MAX,), 5.0, dead_letters),
    Measure("ops_horizon", (), 5.0, horizon),
    Measure("ops_legal_slack", (), 5.0, legal_slack),
    Measure("ops_webhook_lag", (), 5.0, webhook_lag),
    Measure("ops_deposits", (NEWEST_EVENTS,), 15.0, deposits),
    Measure("ops_dead_rows", (), 15.0, dead_rows),
    Measure("ops_deliveries", (), 60.0, deliveries),
)
