"""The progress bar of a push: lines stored, files uploaded, and what it is waiting for. On stderr; NO_COLOR obeyed."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pipeline.client.terminal import Speaker
from pipeline.client.wire import Wire


class Bar:
    """A bar on stderr, as long as somebody looks at it."""

    def __init__(self, client: Wire, rows: int, speaker: Speaker) -> None:
        console = Console(stderr=True, quiet=speaker.is_quiet)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, disable=speaker.is_quiet or not console.is_terminal)
        self._client = client
        self._rows = rows
        self._uploads = 0
        self._task = TaskID(0)

    def __enter__(self) -> Callable[[int, int], None]:
        self._task = self._bar.add_task("lines", total=self._rows)
        self._bar.start()
        self._client.on_wait = self._waits
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._client.on_wait = None

    def _advance(self, rows: int, uploads: int) -> None:
        self._uploads += uploads
        files = f", {self._uploads} files" if self._uploads else ""
        self._bar.update(self._task, advance=rows, description=f"lines{files}")

    def _waits(self, seconds: float, why: str) -> None:
        self._bar.update(self._task, description=f"waiting {seconds:.0f} s: {why[:60]}")
