"""Where a delivery is: state, evidences with their times, messages with stage, lane and attempts, timers, what is owed.

Owns     `show NUMBER`
Rules    no personal data: no query of this verb selects a name, an address, a subject or a file name
Elsewhere: what a sender may see of its delivery (gateway/sender)
"""

import json
import re
from datetime import UTC, timedelta
from typing import Any

from pipeline.delivery.duties import next_duty, slack_seconds
from pipeline.delivery.number import is_number
from pipeline.operate import command
from pipeline.operate.command import EXIT_NO, EXIT_USAGE, EXIT_YES, Operator, Row, VerbRefused


async def _show(operator: Operator) -> int:
    number = re.sub(r"[\s.-]", "", operator.options.number)  # as people read it: in groups of four
    if not is_number(number):
        raise VerbRefused(
            f"{operator.options.number!r} is no delivery number; its last digit checks the others", EXIT_USAGE
        )
    rows = await operator.database.fetch("operate_delivery", number)
    if not rows:
        print(f"no delivery {number}")
        return EXIT_NO
    delivery, head = rows[0]["delivery"], owed(rows[0])
    evidences = await operator.database.fetch("operate_evidences", delivery)
    messages = await operator.database.fetch("operate_messages", delivery)
    if operator.options.json:
        record = {**head, "evidences": [dict(e) for e in evidences], "messages": [dict(m) for m in messages]}
        print(json.dumps(record, default=str))
        return EXIT_YES
    command.print_record(head, as_json=False)
    print()
    command.print_rows(evidences, as_json=False, nothing="no evidence drafted")
    print()
    command.print_rows(messages, as_json=False, nothing="no message, no timer")
    return EXIT_YES


def owed(row: Row) -> dict[str, Any]:
    """The delivery with its next duty, until when, and how long that is from now by the time of the law."""
    record = {name: value for name, value in dict(row).items() if name != "is_refused"}
    record["paused"] = ", ".join(row["paused"]) or None
    duty = next_duty(row["state"], row["submitted_at"], row["last_day"], is_refused=row["is_refused"])
    if duty is None:
        return {**record, "duty": None, "due_at": None, "slack": None, "slack_seconds": None}
    seconds = round(slack_seconds(duty, row["legal_now"]))
    slack = f"{'late by ' if seconds < 0 else ''}{timedelta(seconds=abs(seconds))}"
    due_at = duty.due_at.astimezone(UTC)
    return {**record, "duty": duty.name, "due_at": due_at, "slack": slack, "slack_seconds": seconds}


def main(arguments: list[str]) -> int:
    """qerds show NUMBER."""
    parser = command.parser("show", "Where a delivery is. No personal data.")
    parser.add_argument("number", help="the public number, 14 digits")
    command.add_options(parser)
    return command.run(_show, parser.parse_args(arguments))
