"""Plant each known defect into a copy of the tree, and see that the tests named for it notice.

Owns     the copies, running pytest in them, the verdicts
Rules    the worktree is only read. First the tests run over a copy without any defect: they must pass, else they would
         notice everything. A defect is noticed when each test named for it fails: an error in a fixture, a file that
         cannot be imported or a run that does not end is no notice, for it says nothing of what is wrong
Exits    0 every defect is noticed, 1 one is not, or the list does not fit the tree, 2 wrong usage
Elsewhere: the list (defects.toml), its form (defects.py), that it fits the tree (tests/tidy/test_planted.py)
"""

import argparse
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process

from deploy.local.children import child_environment
from tests.planted.defects import ROOT, Defect, Plot, misfits, read_list

COMMAND = "PYTHONPATH=. .qerds/venv/bin/python -P -m tests.planted"
NOT_COPIED = shutil.ignore_patterns(".git", ".qerds", "__pycache__", "*_cache")
PLOTS = 2  # side by side; as many as the smallest machine that we test on has cores
DEFECT_SECONDS_MAX = 120.0
SOUND_SECONDS_MAX = 1200.0  # all tests of the list, nothing planted
INTERRUPT_SECONDS_MAX = 15.0  # for a run that is given up to stop its servers
TAIL_LINES = 25  # of a run that did not end as it should
PYTEST = ("-m", "pytest", "-q", "--no-header", "--tb=short", "-rfE", "--hypothesis-seed=0")
FAILED = re.compile(r"^FAILED (\S+?)(?:\[.*)?(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pytest; code None: it did not end in its time."""

    code: int | None
    output: str

    @property
    def failed(self) -> frozenset[str]:
        return frozenset(FAILED.findall(self.output))

    @property
    def tail(self) -> str:
        return "\n".join(f"    {line}" for line in self.output.splitlines()[-TAIL_LINES:])


def main() -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Plant known defects; say which the tests notice.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of defects, or patterns such as 'mailbox-*'")
    parser.add_argument("--list", action="store_true", help="only tell the defects and what they would mean")
    options = parser.parse_args()
    defects = read_list()
    chosen = [d for d in defects if not options.names or any(fnmatch.fnmatch(d.id, name) for name in options.names)]
    if strange := [name for name in options.names if not any(fnmatch.fnmatch(d.id, name) for d in chosen)]:
        parser.error(f"no defect is called {strange[0]}; --list tells them")
    if options.list:
        print("\n".join(f"{d.id}  {d.file}\n    {d.means}\n    {', '.join(d.tests)}" for d in chosen))
        return 0
    if wrong := list(misfits(chosen, ROOT)):
        print("\n".join(wrong))
        return 1
    began = time.monotonic()
    missed = anyio.run(plant_all, chosen)
    if missed is None:
        return 1
    print(f"{len(chosen)} planted, {len(chosen) - missed} noticed, {missed} NOT, {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


async def plant_all(defects: Sequence[Defect]) -> int | None:
    """How many were not noticed; None when the tests do not pass without any."""
    with copies(min(PLOTS, len(defects))) as trees:
        if not await are_tests_sound(defects, trees[0]):
            return None
        for tree in trees[1:]:
            shutil.copytree(trees[0], tree, symlinks=True)  # with the bytecode of the run before
        waiting = list(reversed(defects))
        missed: list[Defect] = []
        async with anyio.create_task_group() as tasks:
            for tree in trees:
                tasks.start_soon(work, Plot(tree), waiting, missed)
        return len(missed)


@contextmanager
def copies(count: int) -> Iterator[list[Path]]:
    """Folders for that many trees, gone afterwards; there is a tree in the first."""
    home = Path(tempfile.mkdtemp(prefix="qerds-planted-"))
    try:
        trees = [home / str(number) for number in range(count)]
        shutil.copytree(ROOT, trees[0], ignore=NOT_COPIED)
        (trees[0] / ".qerds").mkdir()
        (trees[0] / ".qerds" / "venv").symlink_to((ROOT / ".qerds" / "venv").resolve())
        yield trees
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def are_tests_sound(defects: Sequence[Defect], tree: Path) -> bool:
    """Whether all that is to notice something is content as long as nothing is planted."""
    began = time.monotonic()
    tests = sorted({test for defect in defects for test in defect.tests})
    run = await run_tests(tree, tests, ["-n", str(PLOTS), "--dist", "loadfile"], SOUND_SECONDS_MAX)
    if run.code != 0:
        print(f"the tests do not pass with nothing planted ({run.code}):\n{run.tail}")
        return False
    print(f"{len(tests)} tests pass with nothing planted ({time.monotonic() - began:.0f} s)", flush=True)
    return True


async def work(plot: Plot, waiting: list[Defect], missed: list[Defect]) -> None:
    """One defect after the other, until none is waiting."""
    while waiting:
        defect = waiting.pop()
        began = time.monotonic()
        plot.plant(defect)
        try:
            run = await run_tests(plot.tree, defect.tests, ["-n", "0", *(["-x"] if len(defect.tests) == 1 else [])])
        finally:
            plot.clear()
        seconds = f"{time.monotonic() - began:5.1f} s"
        silent = [test for test in defect.tests if test not in run.failed]
        if silent:
            missed.append(defect)
            ending = "did not end" if run.code is None else f"ended with {run.code}"
            print(f"NOT noticed  {seconds}  {defect.id}: {', '.join(silent)} ({ending})\n{run.tail}", flush=True)
        else:
            print(f"noticed      {seconds}  {defect.id}", flush=True)


async def run_tests(tree: Path, tests: Sequence[str], how: Sequence[str], seconds: float = DEFECT_SECONDS_MAX) -> Run:
    """pytest in that copy."""
    environment = child_environment(
        {"PYTHONPATH": str(tree), "HYPOTHESIS_STORAGE_DIRECTORY": str(tree / ".qerds" / "hypothesis")}
    )
    with tempfile.TemporaryFile() as output:
        process = await anyio.open_process(
            [sys.executable, "-P", *PYTEST, *how, *tests],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tree,
            env=environment,
            start_new_session=True,
        )
        code = await ended(process, seconds)
        os.lseek(output.fileno(), 0, os.SEEK_SET)
        return Run(code, output.read().decode(errors="replace"))


async def ended(process: Process, seconds: float) -> int | None:
    """Its exit code, or None after `seconds`. However this is left, the process has ended."""
    try:
        with anyio.move_on_after(seconds):
            return await process.wait()
        return None
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # so that it stops its servers
            with anyio.move_on_after(INTERRUPT_SECONDS_MAX, shield=True):
                await process.wait()
        if process.returncode is None:
            process.kill()  # its servers end with it
            with anyio.CancelScope(shield=True):
                await process.wait()


if __name__ == "__main__":
    sys.exit(main())
