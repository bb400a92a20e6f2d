"""Accounting: what processes cost, as the operating system counts it.

CPU time is user and system time of a process and all below it, by the clock of the process, which the system keeps in
nanoseconds. It is far steadier than requests per second, because waiting for a core does not count.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Fields of /proc/PID/stat, counted from behind the name, which may hold spaces; see `man 5 proc_pid_stat`.
PARENT, CHILDREN_USER, CHILDREN_SYSTEM = 1, 13, 14
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SCHEDULED = 2  # of the three clocks of a process: all the time it ran


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since the start, and bytes in memory now."""

    cpu_s: float = 0.0
    memory_bytes: int = 0

    def __add__(self, later: Usage) -> Usage:
        """CPU of both; memory is the later one's."""
        return Usage(self.cpu_s + later.cpu_s, later.memory_bytes)

    def since(self, before: Usage) -> Usage:
        """CPU spent since then; memory is that of now."""
        return Usage(self.cpu_s - before.cpu_s, self.memory_bytes)


def usage_of(pid: int) -> Usage:
    """A process with its descendants, also those that have ended; one that is gone itself counts nothing.

    A store forks to rewrite its file: what that took moves from the child's clock to its parent's account of children.
    Memory that both share until one of them writes to it counts once, as the parent's.
    """
    family = family_of(pid)
    stats = [stat for each in family if (stat := _stat(each))]
    ended_ticks = sum(stat[CHILDREN_USER] + stat[CHILDREN_SYSTEM] for stat in stats)
    cpu_s = sum(map(_cpu_s, family)) + ended_ticks / TICKS_PER_SECOND
    memory = _memory(pid).get("Rss", 0) + sum(_private(_memory(each)) for each in family[1:])
    return Usage(cpu_s, memory)


def usages(roles: Mapping[str, int]) -> dict[str, Usage]:
    """By role, of the processes that play them."""
    return {role: usage_of(pid) for role, pid in roles.items()}


def family_of(pid: int) -> list[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if stat := _stat(int(folder.name)):
            children.setdefault(stat[PARENT], []).append(int(folder.name))
    family = [pid]
    for each in family:  # grows while it is read
        family += children.get(each, [])
    return family


def words_of(pid: int) -> list[str]:
    """The command line of a process, also where the process has written it anew; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
    except OSError:
        return []


def pin(pids: Iterable[int], *at: int) -> None:
    """Keep processes with their descendants and all their threads on these cores."""
    for each in {member for pid in pids for member in family_of(pid)}:
        for thread in Path(f"/proc/{each}/task").glob("*"):
            try:
                os.sched_setaffinity(int(thread.name), at)
            except OSError:  # it has just ended
                continue


def pin_driver(core: int) -> None:
    """Keep this process there, and what it starts from now on, until that is pinned itself."""
    os.sched_setaffinity(0, {core})


def serving_cores(count: int = 1) -> list[int]:
    """Cores for so many processes that are measured."""
    return list(_cores()[:count])


def other_core() -> int:
    """The core for everything else, which serving processes share only when they need all of them."""
    return _cores()[-1]


@cache
def _cores() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))


def _cpu_s(pid: int) -> float:
    try:
        return time.clock_gettime(~pid << 3 | SCHEDULED)  # clock_getcpuclockid(3), which Python does not have
    except OSError:
        return 0.0


def _memory(pid: int) -> dict[str, int]:
    """Bytes in memory by kind, as `man 5 proc_pid_smaps` names them; nothing of a process that has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()[1:]
    except ProcessLookupError:
        return {}
    except FileNotFoundError:
        if folder.exists():
            raise  # a kernel that does not tell
        return {}
    return {kind: int(size.split()[0]) << 10 for kind, size in (line.split(":") for line in lines)}


def _private(memory: dict[str, int]) -> int:
    return memory.get("Private_Clean", 0) + memory.get("Private_Dirty", 0)


def _stat(pid: int) -> list[int] | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return [0, *map(int, fields[1:])]  # the first is a letter
