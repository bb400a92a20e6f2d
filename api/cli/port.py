"""Port: is it free, and if not, who has it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

LISTENING = "0A"  # the kernel's number of the state, see `man 5 proc`


def is_free(host: str, port: int) -> bool:
    """True when a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def holder_of(port: int) -> str:
    """Who listens on a port, as well as this account may know: `process 4711 (python -m http.server)`."""
    inodes = {
        line[9]
        for table in ("tcp", "tcp6")
        for line in _table(table)
        if line[3] == LISTENING and line[1].endswith(f":{port:04X}")
    }
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(
                os.readlink(each) in {f"socket:[{inode}]" for inode in inodes} for each in (folder / "fd").iterdir()
            ):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {folder.name} ({words[:80]})"
    return "another program"


def _table(name: str) -> list[list[str]]:
    try:
        return [line.split() for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    except OSError:
        return []
