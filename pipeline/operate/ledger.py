"""Check the ledger: does every predicate of docs/invariants.md hold over the whole database?

Owns     `ledger check [--jobs N] [--quiet]`, the list of predicates, asking those that are one query, and telling how
         far it is
Rules    reads only, as qerds_operate. Each predicate is judged on one instant, so a busy installation breaks none:
         what this finds is wrong, not early. The database answers queries while proofs are verified beside it
Elsewhere: the predicates (sql/ledger.sql and ledger_proofs.py), pages and processes (ledger_pages.py), repairing
         anything
"""

import argparse
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from typing import Any

import anyio

from pipeline.connect import database_of, keys_of
from pipeline.delivery.states import TRANSITIONS
from pipeline.errors import QerdsError
from pipeline.feed.types import PROOF_OF_STATE, TYPE_OF_STATE, TYPES
from pipeline.formats.configuration import Config
from pipeline.formats.events import BY_RECIPIENT, EVENTS
from pipeline.operate import command
from pipeline.operate.command import EXIT_NO, EXIT_YES, ROLE, Operator, Questions, VerbRefused
from pipeline.operate.ledger_pages import (
    JOBS_MAX,
    PAGE_DELIVERIES,
    VIOLATIONS_MAX,
    CheckProgress,
    jobs_here,
    verify_pages,
)
from pipeline.operate.ledger_proofs import PURE_PREDICATES, Violation
from pipeline.operate.ledger_record import RECORD_NAME, RECORD_PREDICATES, check_record
from pipeline.operate.ledger_times import TIME_PREDICATES, late_line

EXIT_STOPPED = 130  # as a shell tells SIGINT
TELL_SECONDS = 10.0  # between two lines of progress, and before the first
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
    "evidence_has_its_delivery",
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
    "every_fact_is_stated",
    "client_ref_is_single",
    "lines_are_accounted_for",
    "result_has_its_delivery",
    "state_is_announced",
    "event_order_has_no_hole",
    "event_tells_of_its_letter",
    "settings_are_the_builds",
    "webhook_has_its_message",
    "deposit_time_is_its_evidences",
    "consent_request_is_asked",
    *TIME_PREDICATES,
)
NO_RECORD = (
    "qerds: the bridge's record cannot be read here: key_uses_are_whole and every_seal_was_made were not checked"
)
PREDICATES = SQL_PREDICATES + PURE_PREDICATES + RECORD_PREDICATES
TRANSITION_LINES = [f"{before} {'+'.join(sorted(events))} {after}" for (before, events), after in TRANSITIONS.items()]
EVENT_TYPE_LINES = [f"{name} {state} {PROOF_OF_STATE[state]}" for state, name in TYPE_OF_STATE.items()] + [
    f"{name} - -" for name in sorted(TYPES - set(TYPE_OF_STATE.values()))
]


def arguments_of(predicate: str, installation: str | None = None) -> list[object]:
    """What a predicate asks of the database beside the number of violations: literal tables of this build."""
    match predicate:
        case "event_is_its_roles_own":
            return [[f"{e.code} qerds_{kind}" for e in EVENTS.values() for kind in sorted(e.drafted_by)]]
        case "receipt_is_a_recipients":
            return [sorted(BY_RECIPIENT)]
        case "settings_are_the_builds":
            return [TRANSITION_LINES, EVENT_TYPE_LINES, installation]
        case _:
            return []


def installation_line(config: Config) -> str:
    """As the query writes the one row about the installation."""
    return f"{config.mode} {'t' if config.embedded else 'f'}"


async def check_ledger(
    database: Questions,
    anchors: Sequence[bytes] = (),
    *,
    installation: str | None = None,
    jobs: int = 1,
    page_deliveries: int = PAGE_DELIVERIES,
    tell: Callable[[CheckProgress], Coroutine[Any, Any, None]] | None = None,
) -> list[Violation]:
    """Violations, at most VIOLATIONS_MAX per predicate, in the order of predicates and deliveries; [] when all is well.

    anchors: the pinned CA (DER). Without one, seals and tokens are checked against the published certificates only.
    installation: `installation_line` of the configuration; without it, that row is believed.
    jobs: so many processes verify proofs; with 1, this one alone. tell: runs as long as the check, beside it.
    """
    of_queries: list[Violation] = []
    progress, started = CheckProgress(of_queries=len(SQL_PREDICATES)), anyio.Event()
    try:
        async with anyio.create_task_group() as beside:
            if tell is not None:
                beside.start_soon(tell, progress)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_ask, database, installation, of_queries, progress, started)
                of_proofs = await verify_pages(database, anchors, jobs, page_deliveries, progress, started)
            beside.cancel_scope.cancel()
    except ExceptionGroup as together:
        raise _alone(together) from None
    return of_queries + of_proofs


def _alone(error: Exception) -> Exception:
    """The first of those that a task group holds together: one is enough to end the check, and the caller knows it.

    What nobody expected is told with its reason: a check that stumbled over a proof has not answered that all is well.
    """
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, QerdsError | VerbRefused):
        return error
    return VerbRefused(f"the check could not be finished: {type(error).__name__}: {error}")


async def _ask(
    database: Questions,
    installation: str | None,
    violations: list[Violation],
    progress: CheckProgress,
    started: anyio.Event,
) -> None:
    """The predicates that are one query. Inside a transaction a statement can be interrupted: some take minutes."""
    await started.wait()
    for predicate in SQL_PREDICATES:
        async with database.transaction() as rows:
            await rows.fetch("ledger_whole_tables")
            more = arguments_of(predicate, installation)
            broken = await rows.fetch(f"ledger_{predicate}", VIOLATIONS_MAX, *more)
        violations += [Violation(predicate, row["subject"], row["detail"] or "") for row in broken]
        progress.queries += 1


async def _tell(progress: CheckProgress) -> None:
    while True:
        await anyio.sleep(TELL_SECONDS)
        print(f"qerds: {progress}", file=sys.stderr, flush=True)


async def _check(operator: Operator) -> int:
    options = operator.options
    anchor = await keys_of(operator.config, database_of(operator.config, ROLE)).trust_anchor()
    tell = None if options.json or options.quiet else _tell
    installation = installation_line(operator.config)
    violations = await check_ledger(
        operator.database, (anchor,), installation=installation, jobs=options.jobs, tell=tell
    )
    held = len(PREDICATES)
    try:
        of_record = await check_record(operator.database, operator.config.bridge.data_dir / RECORD_NAME)
        violations += of_record[:VIOLATIONS_MAX]
    except OSError:
        held -= len(RECORD_PREDICATES)
        print(NO_RECORD, file=sys.stderr)
    lag_seconds_max = float(operator.config.time.lag_seconds_max)
    [late] = await operator.database.fetch("ledger_proved_late", lag_seconds_max)
    if line := late_line(late, lag_seconds_max):
        print(f"qerds: {line}", file=sys.stderr)
    rows = [asdict(violation) for violation in violations]
    command.print_rows(rows, as_json=options.json, nothing=f"all {held} predicates hold")
    return EXIT_NO if violations else EXIT_YES


def _jobs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= JOBS_MAX:
        raise argparse.ArgumentTypeError(f"a number from 1 to {JOBS_MAX}, not {text[:20]!r}")
    return int(text)


def main(arguments: list[str]) -> int:
    """qerds ledger check."""
    parser = command.parser("ledger", "Does everything hold that has to?")
    check = parser.add_subparsers(dest="action", required=True).add_parser("check", help="every predicate; reads only")
    check.add_argument(
        "--jobs",
        type=_jobs,
        default=jobs_here(),
        help="processes that verify proofs (default: %(default)s, the processors)",
    )
    check.add_argument("--quiet", action="store_true", help="no progress on stderr")
    command.add_options(check)
    try:
        return command.run(_check, parser.parse_args(arguments))
    except KeyboardInterrupt:
        print("qerds: interrupted; nothing was changed", file=sys.stderr)
        return EXIT_STOPPED
