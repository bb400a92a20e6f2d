"""Small HTTP servers with known behaviour, for tests of the instrument that measures servers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from select import select

BODY = b'{"degraded":false}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

Behaviour = Callable[[int], float]  # the number of a request from 0 -> seconds to think, with the whole server waiting


@contextmanager
def server(behaviour: Behaviour, *, answer: bytes = ANSWER) -> Iterator[tuple[str, int]]:
    """One thread that answers one request after the other, as one worker does; yields its address."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    ended = threading.Event()
    thread = threading.Thread(target=_serve, args=(listening, behaviour, answer, ended), daemon=True)
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        ended.set()
        thread.join()
        listening.close()


def _serve(listening: socket.socket, behaviour: Behaviour, answer: bytes, ended: threading.Event) -> None:
    connections: list[socket.socket] = []
    number = 0
    while not ended.is_set():
        readable, _, _ = select([listening, *connections], (), (), 0.05)
        for each in readable:
            if each is listening:
                connections.append(listening.accept()[0])
            elif not each.recv(65_536):
                connections.remove(each)
                each.close()
            else:
                time.sleep(behaviour(number))
                number += 1
                each.sendall(answer)
    for each in connections:
        each.close()
