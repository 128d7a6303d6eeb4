"""./qerds bench [SCENARIO..]: run scenarios one after another and write the report.

Owns     the command line, the progress display, that one failed scenario does not hide the others
Exits    0 it ran (missed targets are said plainly, they are not a failure), 1 a scenario broke, 2 wrong usage
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import plots, report
from bench.context import Bench
from bench.processes import busy_seconds, cpu_seconds
from bench.results import BenchReport, Section
from bench.scenarios import SCENARIOS, USUAL
from bench.targets import JudgedTarget

CHECKOUT = Path(__file__).resolve().parents[1]
CORES = len(os.sched_getaffinity(0))
LETTERS_MAX = 1_000_000
BENCH = {"bench": os.getpid()}
COLOURS = {"met": "green", "floor met": "green", "MISSED": "bold red", "not measured": "yellow"}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="qerds bench", description="Measure the service on this machine.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"default {', '.join(USUAL)}; also million")
    parser.add_argument("--quick", action="store_true", help="everything in under five minutes, with more noise")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="where the report goes (default .qerds/bench-report)"
    )
    parser.add_argument("--letters", type=int, metavar="N", help="how many scenario million sends (1,000,000)")
    options = parser.parse_args(arguments)
    if options.letters is not None and not 1 <= options.letters <= LETTERS_MAX:
        parser.error(f"--letters takes 1 to {LETTERS_MAX:,}, as a batch does")
    unknown = [name for name in options.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}")
    scenarios = [name for name in SCENARIOS if name in (options.scenarios or USUAL)]
    folder = options.report or CHECKOUT / ".qerds" / "bench-report"
    console = Console(stderr=True)
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    sections, broken = run(scenarios, options.quick, options.letters, console)
    made = BenchReport(started_at, options.quick, machine(), sections)
    judged = report.write(made, folder, plots.svg)
    show(judged, made, console)
    console.print(f"report: {folder / 'report.html'} (also report.md, report.json)", soft_wrap=True)
    return 1 if broken else 0


def run(scenarios: Sequence[str], is_quick: bool, letters: int | None, console: Console) -> tuple[list[Section], bool]:
    """The sections of the scenarios, and whether one of them broke."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    sections: list[Section] = []
    is_broken = False
    with Progress(*columns, console=console) as progress, ExitStack() as stack:
        task = progress.add_task("bench", total=len(scenarios))
        current = ""

        def say(text: str) -> None:
            progress.update(task, description=f"{current}: {text}")
            if not console.is_terminal:
                console.print(f"{current}: {text}", highlight=False)

        bench = Bench(is_quick, say, letters, CHECKOUT / ".qerds" / "bench-peers", stack)
        for current in scenarios:
            began, busy, own = time.monotonic(), busy_seconds(), cpu_seconds(BENCH)["bench"]
            try:
                section = SCENARIOS[current](bench)
            except Exception as error:  # noqa: BLE001 - the others are still worth running
                is_broken = True
                section = Section(current, f"{current} (broke)", notes=[f"broke: {type(error).__name__}: {error}"])
                console.print("".join(traceback.format_exception(error)), highlight=False, markup=False)
            section.seconds = time.monotonic() - began
            others = busy_seconds() - busy - (cpu_seconds(BENCH)["bench"] - own)
            section.others_share = min(max(others / section.seconds / CORES, 0.0), 1.0)
            sections.append(section)
            progress.advance(task)
    return sections, is_broken


def machine() -> dict[str, str]:
    """What it ran on."""
    return {
        "cores": str(CORES),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "load": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "commit": _commit(),
    }


def _commit() -> str:
    result = subprocess.run(
        ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or "unknown"


def show(judged: Sequence[JudgedTarget], made: BenchReport, console: Console) -> None:
    """The targets on the terminal."""
    table = Table(*report.TARGET_COLUMNS, title=f"Targets: {report.summary(judged)}")
    for j in judged:
        cells = report.target_row(j, made)
        cells[3] = f"[{COLOURS[j.verdict]}]{cells[3]}[/]"
        table.add_row(*cells)
    console.print(table if judged else f"Targets: {report.summary(judged)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
