"""No core dumps: what a process has in memory, keys, PINs and names, is not written to a disk when it crashes.

Rules    the limit is for cores that the kernel writes to a file. A program that it pipes them to is not bound by that
         (core(5)), so no page of memory is put into any core at all. What is started later inherits both
"""

import resource
from contextlib import suppress
from pathlib import Path

FILTER = Path("/proc/self/coredump_filter")  # core(5): which mappings go into a core; 0: none
NOTHING = "0"


def forbid() -> None:
    """For this process and what it starts, for good: the hard limit too."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(FileNotFoundError):  # a kernel that dumps no cores of ELF programs has no filter
        FILTER.write_text(NOTHING)
