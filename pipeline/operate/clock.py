"""The demo clock of an embedded installation: look at it, move it forward.

Owns     `clock show` and `clock advance PERIOD`; the period is ISO 8601 with days, hours, minutes and seconds
Rules    forward only, which the database guards too. After the change every doorbell is rung, so that deadlines that
         have come are met at once and not at the next sweep
Elsewhere: what has become due by it. Every stage asks qerds.legal_now() itself
"""

from datetime import timedelta

from pipeline.delivery.routes import STAGES
from pipeline.formats.configuration import Config
from pipeline.intake.period import clock_bound, period
from pipeline.operate import command
from pipeline.operate.command import EXIT_USAGE, EXIT_YES, Operator, Questions, VerbRefused


def period_of(text: str) -> timedelta:
    """P16D, PT36H, P1DT30M; without months and years, which have no fixed length."""
    try:
        return period(text)
    except ValueError as error:
        raise VerbRefused(f"{text!r} {error}", EXIT_USAGE) from error


async def advance_clock(config: Config, database: Questions, by: timedelta) -> None:
    """Move the demo clock forward and ring every doorbell. Calling it twice moves it twice."""
    installations = await database.fetch("operate_clock")
    if not (config.embedded and installations and installations[0]["embedded"]):
        raise VerbRefused("the demo clock exists in an embedded installation only")
    [moved] = await database.fetch("advance_legal_clock", by.total_seconds())
    if moved["legal_now"] is None:
        [bound] = await database.fetch("legal_clock_end")
        raise VerbRefused(clock_bound(bound["clock_end"]), EXIT_USAGE)
    await database.fetch("ring", list(STAGES))


async def _advance(operator: Operator) -> int:
    await advance_clock(operator.config, operator.database, period_of(operator.options.period))
    return await _show(operator)


async def _show(operator: Operator) -> int:
    rows = await operator.database.fetch("operate_clock")
    if not rows:
        raise VerbRefused("the database knows no installation yet; run qerds up or qerds migrate first")
    [bound] = await operator.database.fetch("legal_clock_end")
    record = {"legal_now": rows[0]["legal_now"].isoformat(timespec="milliseconds"), "ahead": rows[0]["ahead"]}
    record["until"] = bound["clock_end"].isoformat(timespec="milliseconds")
    command.print_record(record, as_json=operator.options.json)
    return EXIT_YES


def main(arguments: list[str]) -> int:
    """qerds clock show | advance PERIOD."""
    parser = command.parser("clock", "The demo clock of an embedded installation.")
    actions = parser.add_subparsers(dest="action", required=True)
    show = actions.add_parser("show", help="the time of the law, how far it is ahead, and how far it may go")
    forward = actions.add_parser("advance", help="move it forward; it never goes back")
    forward.add_argument("period", help="ISO 8601, such as P16D")
    command.add_options(show, forward)
    options = parser.parse_args(arguments)
    return command.run(_advance if options.action == "advance" else _show, options)
