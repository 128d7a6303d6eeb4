"""qerds test: lint, types, import contracts, then the tests; pytest's own summary comes last.

Owns     the checks and which suites belong to --fast
Rules    the checks run side by side, and all of them run: one failure does not hide the next; so do the quick suites
Exits    0 all passed, 1 something failed, 2 wrong usage
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.local.children import child_environment
from deploy.local.layout import CHECKOUT

TESTS = CHECKOUT / "tests"
FAST = ("tidy", "unit", "stages", "contract")
PARALLEL = (*FAST, "bridge", "db", "gateway")  # quick tests too, but of servers: files side by side
ELSEWHERE = ("conformance",)  # needs tools that `qerds` does not install; .ci/run does
LINT = "lint"
CACHE = CHECKOUT / ".qerds" / "cache"
CHECK_SECONDS_MAX = 600
PROCESSES = 3  # one more than the cores of the smallest machine that we test on: tests of databases wait now and then


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="qerds test", description="Lint, types, import contracts, tests.")
    parser.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"{LINT}, or folders of tests/ (default: {LINT} and all)"
    )
    parser.add_argument("--fast", action="store_true", help=f"only {LINT} and {', '.join(FAST)}")
    parser.add_argument("--seed", type=int, metavar="N", help="for the simulation and for property tests")
    options = parser.parse_args(arguments)
    there = sorted(path.name for path in TESTS.iterdir() if any(path.glob("**/test_*.py")))
    unknown = sorted(set(options.suites) - {LINT, *there})
    if unknown:
        parser.error(f"no suite {unknown[0]}; there are {', '.join([LINT, *there])}")
    usual = [name for name in there if name not in ELSEWHERE and (name in FAST or not options.fast)]
    suites = [name for name in options.suites if name != LINT] or ([] if options.suites else usual)
    checks_passed = run_checks() if not options.suites or LINT in options.suites else True
    if not suites:
        return 0 if checks_passed else 1
    tests_passed = run_tests(suites, options.seed)
    return 0 if checks_passed and tests_passed else 1


def checks() -> dict[str, list[str]]:
    """Name to command; the tools stand beside our Python."""
    tools = Path(sys.executable).parent
    return {
        "ruff check": [str(tools / "ruff"), "check", "--quiet"],
        "ruff format": [str(tools / "ruff"), "format", "--check", "--quiet"],
        "mypy --strict": [str(tools / "mypy"), "--no-error-summary"],
        "import contracts": [str(tools / "lint-imports"), "--cache-dir", str(CACHE / "import-linter")],
    }


def run_checks() -> bool:
    """All at once; what a failing one said is printed, a passing one gets a line."""
    CACHE.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    environment = child_environment({"PYTHONPATH": str(CHECKOUT)})
    running = {
        name: subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, command in checks().items()
    }
    passed = True
    for name, process in running.items():
        output, _ = process.communicate(timeout=CHECK_SECONDS_MAX)
        passed = passed and process.returncode == 0
        print(f"{name}: {'passed' if process.returncode == 0 else 'FAILED'} ({time.monotonic() - began:.1f} s)")
        if process.returncode != 0:
            print(output)
    sys.stdout.flush()
    return passed


def run_tests(suites: Sequence[str], seed: int | None) -> bool:
    """The quick suites file by file on three processes, then the others one by one: those start whole installations."""
    environment = child_environment({"HYPOTHESIS_STORAGE_DIRECTORY": str(CACHE / "hypothesis")})
    seeded = [] if seed is None else [f"--hypothesis-seed={seed}"]
    if seed is not None:
        environment["QERDS_SEED"] = str(seed)
    passed = True
    for group, how in (
        ([suite for suite in suites if suite in PARALLEL], ["-n", str(PROCESSES), "--dist", "loadfile"]),
        ([suite for suite in suites if suite not in PARALLEL], ["-n", "0"]),
    ):
        if group:
            command = [sys.executable, "-m", "pytest", *how, *seeded, *(str(TESTS / suite) for suite in group)]
            passed = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode == 0 and passed
    return passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
