"""What every scenario is given: how long it may take, where to say what it does, the installation that they share.

Owns     the installation's life: started by the first scenario that asks for it, stopped after the last
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.installation import Installation, installation


@dataclass(slots=True)
class Bench:
    """One run. `say` replaces the line under the progress display."""

    is_quick: bool
    say: Callable[[str], None]
    letters: int | None  # of scenario million, when it is to be another number
    tools: Path  # where peers that are not Python packages are installed, kept between runs
    stack: ExitStack
    _installation: Installation | None = None

    def pick(self, quick: int, full: int) -> int:
        """A size by the kind of run."""
        return quick if self.is_quick else full

    def installation(self) -> Installation:
        """The whole service, running."""
        if self._installation is None:
            self.say("starting an installation")
            self._installation = self.stack.enter_context(installation())
        return self._installation
