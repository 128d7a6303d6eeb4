"""CPU and memory of processes, as the kernel tells them.

Owns     reading /proc: CPU seconds of a process with all it started, resident and proportional memory
Rules    a process that is gone counts as it last was; backends that PostgreSQL has reaped count through their parent
"""

import os
from collections.abc import Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
USER, AFTER_CHILDREN = 11, 15  # proc(5) stat, fields 14 to 17, counted after the command's name
PARENT = 1
IDLE, WAITING = 3, 4


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[PARENT]), []).append(int(entry.name))
    return children


def family(pid: int, children: Mapping[int, list[int]] | None = None) -> list[int]:
    """The process and everything below it."""
    children_of = _children() if children is None else children
    pids, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        pids.append(current)
        waiting += children_of.get(current, [])
    return pids


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """By name: user and system time of the process, of its living and its reaped descendants."""
    children = _children()
    return {name: sum(map(_cpu, family(pid, children))) for name, pid in pids.items()}


def _cpu(pid: int) -> float:
    fields = _stat(pid)
    return sum(map(int, fields[USER:AFTER_CHILDREN])) / TICKS if fields else 0.0


def busy_seconds() -> float:
    """CPU that the whole machine has used (proc(5) stat: user, nice, system, irq, softirq; not idle, not waiting)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:8]]
    return (sum(fields) - fields[IDLE] - fields[WAITING]) / TICKS


def memory_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """By name: proportional memory of the process and its descendants, shared pages counted once."""
    children = _children()
    return {name: sum(map(_memory, family(pid, children))) for name, pid in pids.items()}


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def peak_bytes(pid: int) -> int:
    """The most that was ever resident (VmHWM)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def reset_peak(pid: int) -> None:
    """Forget the peak so far (proc(5), clear_refs 5)."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return  # not permitted: the peak then includes what was before
