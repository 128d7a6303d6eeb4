"""Dead letters: look at what no attempt could finish, and put it back once its cause is mended.

Owns     `dead-letters list | show ID | redrive`
Rules    redrive moves a message back into its stage's mailbox with its counts at 0, in one transaction for all that
         were asked for; its lane stays, so that one that was taken alone is taken alone again
Elsewhere: why it died (actors/loop.py), closing one without doing it, which needs two people and comes later
"""

from collections import defaultdict
from collections.abc import Sequence

from pipeline.delivery.routes import STAGES
from pipeline.operate import command
from pipeline.operate.command import EXIT_NO, EXIT_YES, Operator, Row

LIST_MAX = 1000  # rows of one answer; redrive takes so many at once


async def _list(operator: Operator) -> int:
    rows = await _chosen(operator)
    command.print_rows(rows, as_json=operator.options.json, nothing="no dead letters")
    return EXIT_YES


async def _show(operator: Operator) -> int:
    rows = await operator.database.fetch("operate_dead_letter", operator.options.id)
    if not rows:
        print(f"no dead letter {operator.options.id}")
        return EXIT_NO
    command.print_record(rows[0], as_json=operator.options.json)
    return EXIT_YES


async def _redrive(operator: Operator) -> int:
    rows = await _chosen(operator)
    if operator.options.dry_run:
        command.print_rows(rows, as_json=operator.options.json, nothing="nothing would be redriven")
        return EXIT_YES
    by_stage: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_stage[row["stage"]].append(row["id"])
    moved: list[Row] = []
    async with operator.database.transaction() as tx:
        for stage in sorted(by_stage):
            moved += await tx.fetch(f"operate_redrive@{stage}", by_stage[stage])
    if moved:
        await operator.database.fetch("ring", sorted(by_stage))
    command.print_rows(moved, as_json=operator.options.json, nothing="nothing to redrive")
    return EXIT_YES


async def _chosen(operator: Operator) -> Sequence[Row]:
    """By --stage and --ids; all, oldest first, when neither was given."""
    options = operator.options
    return await operator.database.fetch("operate_dead_letters", options.stage, options.ids or None, LIST_MAX)


def main(arguments: list[str]) -> int:
    """qerds dead-letters list | show ID | redrive."""
    parser = command.parser("dead-letters", "What no attempt could finish, with its reason.")
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="oldest first")
    show = actions.add_parser("show", help="one, in full")
    show.add_argument("id", type=int)
    redrive = actions.add_parser("redrive", help="put back, with all counts at 0")
    redrive.add_argument("--dry-run", action="store_true", help="only say which")
    for action in (listing, redrive):
        action.add_argument("--stage", choices=STAGES)
        action.add_argument("--ids", type=int, nargs="+", metavar="ID")
    command.add_options(listing, show, redrive)
    options = parser.parse_args(arguments)
    return command.run({"list": _list, "show": _show, "redrive": _redrive}[options.action], options)
