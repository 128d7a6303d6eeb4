"""A live view of the mailboxes: how deep, how old, how fast; which stage to scale (docs/scale.md).

Owns     `top [--stage S] [--once] [--json]`
Rules    one statement a second, whose cost does not grow with the backlog; rates come from two of them. Nothing about
         any letter
Elsewhere: alerting (deploy/observe), one letter (show.py)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import anyio
from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.delivery.routes import STAGES
from pipeline.operate import command
from pipeline.operate.command import EXIT_YES, Operator, Row

EVERY_SECONDS = 1.0
WIDTH = 120
EXACT_MAX = 10_000  # messages that are counted one by one


@dataclass(frozen=True, slots=True)
class StageLine:
    """One stage, now. interactive_lag, bulk_lag: seconds since its oldest waiting message came into the pipeline."""

    stage: str
    processes: int
    interactive: int
    interactive_lag: float
    bulk: int
    bulk_lag: float
    running: int
    in_rate: float
    done_rate: float
    retries: int
    dead: int
    paused: bool


def lines_of(before: Sequence[Row], now: Sequence[Row], seconds: float) -> list[StageLine]:
    """Two samples of the same stages, `seconds` apart. A rate is never negative: statistics may be reset."""
    lines = []
    for old, new in zip(before, now, strict=True):
        lines.append(
            StageLine(
                stage=new["stage"],
                processes=new["processes"],
                interactive=new["interactive"],
                interactive_lag=_lag(new["interactive_seconds"]),
                bulk=new["bulk"],
                bulk_lag=_lag(new["bulk_seconds"]),
                running=new["running"],
                in_rate=_rate(old, new, "arrived", seconds),
                done_rate=_rate(old, new, "finished", seconds),
                retries=new["retries"],
                dead=new["dead"],
                paused=new["paused"],
            )
        )
    return lines


def table_of(lines: Sequence[StageLine]) -> Table:
    """What a person reads."""
    table = Table(box=None, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    headings = ("proc", "inter.", "lag s", "bulk", "lag s", "running", "in/s", "done/s", "retries", "dead", "")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            line.stage,
            str(line.processes),
            f"{line.interactive:,}",
            f"{line.interactive_lag:.1f}",
            f"{line.bulk:,}",
            f"{line.bulk_lag:.1f}",
            str(line.running),
            f"{line.in_rate:.0f}",
            f"{line.done_rate:.0f}",
            str(line.retries),
            str(line.dead),
            "paused" if line.paused else "",
        )
    return table


async def _top(operator: Operator) -> int:
    options, console = operator.options, Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH  # of a file nobody knows one
    stages = [options.stage] if options.stage else STAGES

    async def sample() -> tuple[Sequence[Row], float]:
        return await operator.database.fetch("operate_top", stages, EXACT_MAX), anyio.current_time()

    before, at = await sample()
    once = options.once or not (console.is_terminal or options.json)
    with Live(console=console, auto_refresh=False, screen=False) if not (once or options.json) else console as view:
        while True:
            await anyio.sleep(EVERY_SECONDS)
            now, later = await sample()
            lines = lines_of(before, now, later - at)
            before, at = now, later
            if options.json:
                print(json.dumps([asdict(line) for line in lines]), flush=True)
            elif isinstance(view, Live):
                view.update(table_of(lines), refresh=True)
            else:
                console.print(table_of(lines))
            if once:
                return EXIT_YES


def _lag(seconds: float | None) -> float:
    return max(0.0, seconds or 0.0)


def _rate(before: Mapping[str, int], now: Mapping[str, int], name: str, seconds: float) -> float:
    return max(0, now[name] - before[name]) / seconds


def main(arguments: list[str]) -> int:
    """qerds top."""
    parser = command.parser("top", "The mailboxes, live. Ctrl-C ends it.")
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--once", action="store_true", help="one view, of one second")
    command.add_options(parser)
    try:
        return command.run(_top, parser.parse_args(arguments))
    except KeyboardInterrupt:
        return EXIT_YES
