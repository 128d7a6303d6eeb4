"""pipeline.measures.measurer.Volumes over folders of this machine.

Owns     statvfs in a thread of its own for each folder, and how long it may take
Rules    a disk that hangs costs its series and nothing else: it is not asked again before it has come back. A folder
         that is not there, as on a machine that runs the measurer alone, has no series
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from pipeline.measures.measurer import Volume

ANSWER_SECONDS = 1.0


class LocalVolumes:
    """The volumes under some folders, by name."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = {name: (path, anyio.CapacityLimiter(1)) for name, path in folders.items()}

    async def volumes(self) -> Sequence[Volume]:
        """Of those that answer."""
        volumes = []
        for name, (path, limiter) in self._folders.items():
            with anyio.move_on_after(ANSWER_SECONDS):
                volume = await anyio.to_thread.run_sync(_ask, name, path, abandon_on_cancel=True, limiter=limiter)
                if volume is not None:
                    volumes.append(volume)
        return volumes


def _ask(name: str, path: Path) -> Volume | None:
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return Volume(name, free_bytes=status.f_bavail * status.f_frsize, size_bytes=status.f_blocks * status.f_frsize)
