"""Environments of peers: each has its own, made from its own hashed lock on first use, beside the measurements.

Nothing of a peer is ever installed into the environment of the product, and no peer can change what another one runs.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
PR_SET_PDEATHSIG = 1


def python_of(peer: str, cache: Path) -> Path:
    """The interpreter of a peer's environment, which is made anew when its lock has changed."""
    lock = HERE / peer / "requirements.lock"
    folder = cache / "peers" / f"{peer}-{sha256(lock.read_bytes()).hexdigest()[:12]}"
    python = folder / "bin/python"
    if (folder / "complete").exists():
        return python
    print(f"loadtest: installing the environment of {peer}, once", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [_interpreter_with_pip(), "-m", "pip", "--python", str(python), "install", "--quiet", "--require-hashes"]
    subprocess.run([*pip, "--only-binary", ":all:", "--no-deps", "--requirement", str(lock)], check=True)
    (folder / "complete").touch()
    return python


def die_with_parent() -> None:
    """Called in a child before it becomes another program: whatever ends a measurement also ends what it started."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _interpreter_with_pip() -> str:
    """The one this environment was made with; the environment itself has no pip."""
    return os.path.join(sys.base_prefix, "bin", "python3")
