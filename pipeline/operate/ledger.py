"""Check the ledger: does every predicate of docs/invariants.md hold over the whole database?

Owns     `ledger check`, the list of predicates, and reading the database in pages
Rules    reads only, as qerds_operate. Each predicate is judged on one instant, so a busy installation breaks none:
         what this finds is wrong, not early
Not      here: the predicates (sql/ledger.sql and ledger_proofs.py), repairing anything
"""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from uuid import UUID

from pipeline.connect import database_of, keys_of
from pipeline.operate import command
from pipeline.operate.command import EXIT_NO, EXIT_YES, ROLE, Operator, Questions
from pipeline.operate.ledger_proofs import PURE_PREDICATES, Violation, check_delivery

VIOLATIONS_MAX = 100  # told per predicate
PAGE_DELIVERIES = 200  # of some six evidences of some 6 KiB
SQL_PREDICATES = (
    "delivery_has_a_next_step",
    "open_window_will_close",
    "access_will_end",
    "draft_will_be_sealed",
    "seal_will_be_stamped",
    "outcome_will_be_preserved",
    "message_names_what_exists",
    "batch_has_a_next_step",
    "running_row_has_a_process",
    "sequence_is_contiguous",
    "canonical_has_its_digest",
    "one_evidence_per_fact",
    "acceptance_is_a_pair",
    "event_is_its_roles_own",
    "receipt_is_a_recipients",
    "decision_is_in_time",
    "expiry_is_not_early",
    "handover_was_whole",
    "window_is_its_notices",
    "notice_has_one_result",
    "deposit_is_readable",
    "deposit_keeps_its_bytes",
    "packed_contents_lie_apart",
    "content_wrap_is_a_deposits",
    "object_has_one_owner",
    "snapshots_are_a_chain",
    "every_proof_is_logged",
    "client_ref_is_single",
    "lines_are_accounted_for",
    "result_has_its_delivery",
    "state_is_announced",
    "event_order_has_no_hole",
    "webhook_has_its_message",
)
PREDICATES = SQL_PREDICATES + PURE_PREDICATES


async def check_ledger(database: Questions, anchors: Sequence[bytes] = ()) -> list[Violation]:
    """Every violation found, at most VIOLATIONS_MAX per query; [] when all is well.

    anchors: the pinned CA (DER). Without one, seals and tokens are checked against the published certificates only.
    """
    found: list[Violation] = []
    for predicate in SQL_PREDICATES:
        rows = await database.fetch(f"ledger_{predicate}", VIOLATIONS_MAX)
        found += [Violation(predicate, row["subject"], row["detail"] or "") for row in rows]
    last = UUID(int=0)
    while page := await database.fetch("ledger_page", last, PAGE_DELIVERIES):
        last = page[-1]["delivery"]
        rows = await database.fetch("ledger_proofs", [row["delivery"] for row in page])
        for _, own in groupby(rows, key=lambda row: row["delivery"]):
            found += check_delivery(list(own), anchors)
    return found


async def _check(operator: Operator) -> int:
    anchor = await keys_of(operator.config, database_of(operator.config, ROLE)).trust_anchor()
    found = await check_ledger(operator.database, (anchor,))
    rows = [asdict(violation) for violation in found]
    command.print_rows(rows, as_json=operator.options.json, nothing=f"all {len(PREDICATES)} predicates hold")
    return EXIT_NO if found else EXIT_YES


def main(arguments: list[str]) -> int:
    """qerds ledger check."""
    parser = command.parser("ledger", "Does everything hold that has to?")
    check = parser.add_subparsers(dest="action", required=True).add_parser("check", help="every predicate; reads only")
    command.add_options(check)
    return command.run(_check, parser.parse_args(arguments))
