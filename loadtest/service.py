"""Service: a complete Nextbest on this machine, started by its own command, with simulated customers.

What takes long (writing the bank, training, loading) is done once for each size and kept; every measurement starts
from a copy, so that no customer has been asked before and no run sees what an earlier one left behind.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.accounting import family_of, words_of
from loadtest.peers.environment import die_with_parent

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
READY_PATIENCE_S = 1_800.0  # training 5,000 actions on a busy machine
READY_POLL_S = 0.02
END_PATIENCE_S = 30.0
PAST = "generated/interactions.jsonl"
NO_SETTINGS: Mapping[str, str] = {}
FORMS = {"linear": "linear", "linear with trees": "boosted"}  # in the words of a training report, and of a bank
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
    placements: int = 3  # on web pages

    def __str__(self) -> str:
        return (
            f"{self.actions:,} actions, {self.attributes} attributes, {self.customers:,} customers with "
            f"{self.interactions} interactions, {self.placements} web placements, {self.model} model, seed {self.seed}"
        )

    @property
    def options(self) -> list[str]:
        """For the command line."""
        return [word for name in self.__slots__ for word in (f"--{name}", str(getattr(self, name)))]

    @property
    def folder(self) -> str:
        """A name that says it all."""
        return (
            f"{self.model}-{self.actions}-actions-{self.attributes}-attributes-{self.customers}-customers-"
            f"{self.interactions}-interactions-{self.placements}-placements-seed-{self.seed}"
        )


def bank_of(options: argparse.Namespace) -> Bank:
    """The one that the options of a command name."""
    return Bank(
        options.actions,
        options.attributes,
        options.customers,
        options.interactions,
        options.seed,
        options.model,
    )


@dataclass(frozen=True, slots=True)
class Service:
    """A running one."""

    address: tuple[str, int]
    roles: Mapping[str, int]  # server, store and worker -> process
    data: Path


def prepare(bank: Bank, cache: Path) -> Path:
    """The folder with strategy/ and data/ of this bank, made on first use.

    Raises RuntimeError when training found another form of model than the bank was made for.
    """

    def write(strategy: Path) -> None:
        subprocess.run(nextbest("generate", str(strategy), *bank.options), cwd=ROOT, check=True)

    folder = prepare_strategy(cache / bank.folder, write)
    if (form := trained_form(folder)) != bank.model:
        raise RuntimeError(f"{bank.folder} was made for a {bank.model} model, and training chose a {form} one")
    return folder


def prepare_strategy(folder: Path, write: Callable[[Path], object]) -> Path:
    """The folder with the strategy that `write` writes and the data of a service that has run on it once."""
    if folder.exists():
        return folder
    print(f"loadtest: preparing {folder.name}, once", file=sys.stderr, flush=True)
    unfinished = folder.with_name("unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    strategy, data = unfinished / "strategy", unfinished / "data"
    write(strategy)
    with _running(strategy, data):
        if (strategy / PAST).exists():
            past = [sys.executable, "-m", "decisioning.simulated.past", str(strategy), str(data)]
            subprocess.run(past, cwd=ROOT, check=True)
    unfinished.rename(folder)
    return folder


def trained_form(prepared: Path) -> str:
    """What training chose: linear or boosted."""
    (report,) = (prepared / "data/models").glob("*/report.json")
    return FORMS[json.loads(report.read_text())["choices"]["form"]]


@contextmanager
def serving(prepared: Path, *, workers: int = 1, settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[Service]:
    """A service on a copy of what was prepared."""
    data = prepared.parent / "running"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(prepared / "data", data)
    try:
        with _running(prepared / "strategy", data, workers=workers, settings=settings) as service:
            yield service
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _running(
    strategy: Path, data: Path, *, workers: int = 1, settings: Mapping[str, str] = NO_SETTINGS
) -> Iterator[Service]:
    port = free_port()
    command = nextbest("run", str(strategy), "--port", str(port), "--workers", str(workers))
    data.mkdir(parents=True, exist_ok=True)
    with (data / "run.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **settings, "NEXTBEST_DATA_DIR": str(data.resolve())},
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        try:
            await_ready(process, port, data / "run.log")
            yield Service((HOST, port), roles_below(process.pid), data)
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


def nextbest(*words: str) -> list[str]:
    """A command of the product."""
    return [sys.executable, "-m", "api.cli", *words]


def await_ready(process: subprocess.Popen[Any], port: int, log: Path) -> None:
    """Return as soon as it says that it is ready. Raises RuntimeError when it ends instead, or never gets there."""
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
        time.sleep(READY_POLL_S)  # readiness can only be asked for
    raise RuntimeError(f"the service was not ready within {READY_PATIENCE_S:g} s:\n{log.read_text()[-2000:]}")
