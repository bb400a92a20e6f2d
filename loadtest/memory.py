"""Memory: what lies in the service's store, asked over its own socket; docs/operations.md names the keys."""

from __future__ import annotations

import re
import socket
from pathlib import Path

PARTITIONS = 256
PATIENCE_S = 5.0
NUMBER = re.compile(rb"^:(\d+)\r\n|^\$-1\r\n", re.M)
USED = re.compile(rb"^used_memory:(\d+)", re.M)


def stored_bytes(data: Path) -> dict[str, int]:
    """Bytes in use for all there is, and for the records in the log of every partition."""
    logs = [f"MEMORY USAGE nb:{{p{partition:03d}}}:log\r\n" for partition in range(PARTITIONS)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect((data / "store/socket").read_text().rstrip("\n"))
        connection.sendall("".join([*logs, "INFO memory\r\n"]).encode())
        received = b""
        while not (used := USED.search(received)):
            received += connection.recv(1 << 16)
    records = sum(int(each or b"0") for each in NUMBER.findall(received)[:PARTITIONS])
    return {"all": int(used[1]), "records": records}
