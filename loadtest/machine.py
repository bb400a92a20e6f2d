"""Machine: on what a measurement was made."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, and how busy it was when asked."""
    return {
        "processor": _entry("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": int((_entry("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) // 1024,
        "system": _entry("/etc/os-release", "PRETTY_NAME", "=") or platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),  # above 0.3 or so others were at work, and figures suffer
    }


def _entry(path: str, name: str, mark: str = ":") -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(mark)[2].strip().strip('"') for line in lines if line.startswith(name)), None)
