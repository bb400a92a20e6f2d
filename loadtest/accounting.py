"""Accounting: what processes cost, as the operating system counts it.

CPU time is user and system time from /proc/PID/stat, in steps of a hundredth of a second, of a process and all below
it. It is far steadier than requests per second, because waiting for a core does not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/PID/stat, counted from behind the name, which may hold spaces; see `man 5 proc_pid_stat`.
PARENT, USER, SYSTEM, RESIDENT = 1, 11, 12, 21


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since the start, and bytes in memory now."""

    cpu_s: float = 0.0
    memory_bytes: int = 0

    def since(self, before: Usage) -> Usage:
        """CPU spent since then; memory is that of now."""
        return Usage(self.cpu_s - before.cpu_s, self.memory_bytes)


def usage_of(pid: int) -> Usage:
    """A process with its descendants; one that is gone counts nothing."""
    stats = [stat for each in family_of(pid) if (stat := _stat(each))]
    cpu_ticks = sum(stat[USER] + stat[SYSTEM] for stat in stats)
    return Usage(cpu_ticks / TICKS_PER_SECOND, sum(stat[RESIDENT] for stat in stats) * PAGE_BYTES)


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


def pin(pids: Iterable[int], core: int) -> None:
    """Keep processes with their descendants and all their threads on one core."""
    for each in {member for pid in pids for member in family_of(pid)}:
        for thread in Path(f"/proc/{each}/task").glob("*"):
            try:
                os.sched_setaffinity(int(thread.name), {core})
            except OSError:  # it has just ended
                continue


def pin_driver(core: int) -> None:
    """Keep this process there, and what it starts from now on, until that is pinned itself."""
    os.sched_setaffinity(0, {core})


@cache
def cores() -> tuple[int, int]:
    """A core for what is measured, and one for everything else; the same where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def _stat(pid: int) -> list[int] | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return [0, *map(int, fields[1:])]  # the first is a letter
