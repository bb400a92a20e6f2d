"""A child process ends with its parent, however the parent ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
CHILD = """
import sys, time
from decisioning.store.process import die_with_parent
die_with_parent(int(sys.argv[1]))
print("ready", flush=True)
time.sleep(60)
"""


def lives(process: Path) -> bool:
    """False for a zombie too: the first process of a container may be slow to bury it."""
    try:
        return (process / "stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_child_dies_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = Path("/proc", parent.stdout.readline().strip())
        assert lives(child)

        parent.kill()

        give_up_at = time.monotonic() + 5
        while lives(child):
            assert time.monotonic() < give_up_at
            time.sleep(0.02)


def test_a_child_whose_parent_is_gone_already_leaves_at_once() -> None:
    nobody = 2**22 + 1  # above the kernel's highest process id
    child = subprocess.run([sys.executable, "-c", CHILD, str(nobody)], capture_output=True, text=True, timeout=30)

    assert child.returncode != 0
    assert f"parent process {nobody} is gone" in child.stderr
