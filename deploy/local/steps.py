"""A module of ours that runs once, to its end, in a process of its own.

Owns     its start, its deadline, and what it said when it failed
Rules    a driver's state stays out of the process that supervises, which lives long
"""

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.local.children import child_environment, die_with_parent
from deploy.local.layout import CHECKOUT

STEP_SECONDS_MAX = 120


class StepFailed(RuntimeError):
    """A step of the preparation failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class StartedModule:
    """A module that has been started."""

    module: str
    process: "subprocess.Popen[str]"

    def finish(self) -> str:
        """What it printed; raises StepFailed when it failed or took too long."""
        try:
            printed, _ = self.process.communicate(timeout=STEP_SECONDS_MAX)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            raise StepFailed(f"{self.module} took more than {STEP_SECONDS_MAX} s") from error
        if self.process.returncode != 0:
            raise StepFailed(f"{self.module} failed:\n{printed.strip()[-3000:]}")
        return printed


def start_step(module: str, environment: Mapping[str, str], *arguments: str) -> StartedModule:
    """Starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=CHECKOUT,
        env=child_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )
    return StartedModule(module, process)
