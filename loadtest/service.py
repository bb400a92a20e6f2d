"""Service: a complete Nextbest on this machine, started by its own command, with simulated customers.

What takes long (writing the bank, training, loading) is done once for each size and kept; every measurement starts
from a copy, so that no customer has been asked before and no run sees what an earlier one left behind.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from loadtest.accounting import family_of, words_of
from loadtest.peers.environment import die_with_parent

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
READY_PATIENCE_S = 1_800.0  # training 5,000 actions on a busy machine
END_PATIENCE_S = 30.0
BATCH = 200  # responses in one request
RETRY_S = 1.0  # after a refusal because the store was busy
HEADERS = {"Authorization": "Bearer demo-key", "Content-Type": "application/json"}
# What a process of `nextbest run` does, by a word of its command line.
ROLES = {"serve": "server", "worker": "worker", "valkey-server": "store", "redis-server": "store"}


@dataclass(frozen=True, slots=True)
class Bank:
    """What is served, as options of `nextbest generate`."""

    actions: int
    attributes: int
    customers: int
    interactions: int
    seed: int
    model: str

    @property
    def options(self) -> list[str]:
        """For the command line."""
        return [word for name in self.__slots__ for word in (f"--{name}", str(getattr(self, name)))]

    @property
    def folder(self) -> str:
        """A name that says it all."""
        return (
            f"{self.model}-{self.actions}-actions-{self.attributes}-attributes-{self.customers}-customers-"
            f"{self.interactions}-interactions-seed-{self.seed}"
        )


@dataclass(frozen=True, slots=True)
class Service:
    """A running one."""

    address: tuple[str, int]
    roles: Mapping[str, int]  # server, store and worker -> process


def prepare(bank: Bank, cache: Path) -> Path:
    """The folder with strategy/ and data/ of this bank, made on first use."""
    folder = cache / bank.folder
    if folder.exists():
        return folder
    unfinished = cache / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    print(f"loadtest: preparing {bank.folder}, once", file=sys.stderr)
    subprocess.run(_nextbest("generate", str(unfinished / "strategy"), *bank.options), cwd=ROOT, check=True)
    with _running(unfinished / "strategy", unfinished / "data") as service:
        _post_interactions(service.address, unfinished / "strategy/generated/interactions.jsonl")
    unfinished.rename(folder)
    return folder


@contextmanager
def serving(prepared: Path, *, workers: int = 1) -> Iterator[Service]:
    """A service on a copy of what was prepared."""
    data = prepared.parent / "running"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(prepared / "data", data)
    try:
        with _running(prepared / "strategy", data, workers=workers) as service:
            yield service
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _running(strategy: Path, data: Path, *, workers: int = 1) -> Iterator[Service]:
    port = free_port()
    command = _nextbest("run", str(strategy), "--port", str(port), "--workers", str(workers))
    data.mkdir(parents=True, exist_ok=True)
    with (data / "run.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "NEXTBEST_DATA_DIR": str(data.resolve())},
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        try:
            _await_ready(process, port, data / "run.log")
            yield Service((HOST, port), roles_below(process.pid))
        finally:
            end(process)


def roles_below(pid: int) -> dict[str, int]:
    """Who does what among a process and its descendants."""
    roles: dict[str, int] = {}
    for each in family_of(pid):
        for word in map(os.path.basename, words_of(each)):
            if word in ROLES:
                roles.setdefault(ROLES[word], each)
                break
    return roles


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[Any]) -> None:
    """Ask a process to end, then make it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _nextbest(*words: str) -> list[str]:
    return [sys.executable, "-m", "api.cli", *words]


def _await_ready(process: subprocess.Popen[Any], port: int, log: Path) -> None:
    deadline_s = time.monotonic() + READY_PATIENCE_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            connection = http.client.HTTPConnection(HOST, port, timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.2)  # readiness can only be asked for
    raise RuntimeError(f"the service was not ready within {READY_PATIENCE_S:g} s:\n{log.read_text()[-2000:]}")


def _post_interactions(address: tuple[str, int], path: Path) -> None:
    """What customers did before, told as responses in batches."""
    now = datetime.now(UTC)
    connection = http.client.HTTPConnection(*address, timeout=60)
    with path.open() as lines:
        numbered = enumerate(lines)
        while batch := [_told(number, json.loads(line), now) for number, line in islice(numbered, BATCH)]:
            while (status := _posted(connection, batch)) != http.client.OK:
                if status != http.client.SERVICE_UNAVAILABLE:
                    raise RuntimeError(f"interactions were refused with {status}")
                time.sleep(RETRY_S)
    connection.close()


def _told(number: int, response: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A line of the file as a response; its key makes telling it again harmless."""
    at = now - timedelta(days=response.pop("days_ago"))
    stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**response, "at": stamp, "idempotency_key": f"interaction-{number}"}


def _posted(connection: http.client.HTTPConnection, batch: list[dict[str, Any]]) -> int:
    connection.request("POST", "/v1/responses", json.dumps({"responses": batch}), HEADERS)
    answer = connection.getresponse()
    answer.read()
    return answer.status
