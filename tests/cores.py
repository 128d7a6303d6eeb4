"""What a process would leave on a disk when it crashes, by /proc."""

from pathlib import Path

LIMIT = "Max core file size"


def core_of(pid: int) -> tuple[list[str], int]:
    """Soft and hard limit of a core file, and which mappings would go into a core (core(5))."""
    [line] = [x for x in Path(f"/proc/{pid}/limits").read_text().splitlines() if x.startswith(LIMIT)]
    return line.removeprefix(LIMIT).split()[:2], int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16)


NO_CORE = (["0", "0"], 0)
