"""Processes: a child that cannot outlive its parent.

Exit handlers do not run after SIGKILL, so the kernel is asked instead. Used by embedded.py for the database server, and
by every process of ours that another one of ours starts. Linux only; elsewhere a child ends when its parent stops it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>

# Looked up at import: between fork and exec nothing may be loaded, another thread may have held the loader's lock.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel send this process SIGTERM when its parent ends, however it ends; call it early in the child.

    parent_pid  noted by the parent before it started us, because a parent that has died meanwhile sends no signal
    The kernel ties the signal to the parent's *thread*: start children from a thread that lives as long as they should.
    The setting survives exec, not fork. Raises SystemExit when the parent is gone already.
    """
    if _libc is None:
        return
    if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_PDEATHSIG): {os.strerror(error)}")
    if os.getppid() != parent_pid:
        raise SystemExit(f"parent process {parent_pid} is gone")
