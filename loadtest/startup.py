"""Startup: how soon a serving process answers, what memory it takes, and how long a large strategy compiles.

The process that is measured is one more beside a complete service, on its store: what a machine that is added, or one
that is replaced, goes through.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from loadtest import claims
from loadtest.accounting import other_core, pin, pin_driver, serving_cores, usage_of
from loadtest.claims import Claim
from loadtest.contest import Ratio
from loadtest.drive import Driver
from loadtest.machine import machine
from loadtest.peers.environment import die_with_parent
from loadtest.report import head, in_columns, write
from loadtest.service import HOST, ROOT, Service, await_ready, end, free_port, nextbest, prepare_strategy, serving
from loadtest.traffic import DecisionTraffic

READY_LIMIT_S, MEMORY_LIMIT_MB, COMPILE_LIMIT_S = 2.0, 150.0, 3.0
CUSTOMERS = 500  # of the example, asked once each before memory is looked at again
RATE = 100.0
COMPILE = """
import sys, time
from pathlib import Path
from decisioning.catalog.load import load_directory
before = time.process_time()
load_directory(Path(sys.argv[1]))
print(time.process_time() - before)
"""

Figures = dict[str, list[float]]


def startup(options: argparse.Namespace) -> None:
    """Measure and report."""
    prepared = example(options.strategy, options.cache)
    before = machine()
    pin_driver(other_core())
    figures: Figures = {"ready s": [], "CPU until ready s": [], "memory MB": [], "memory after decisions MB": []}
    with serving(prepared) as service:
        pin(service.roles.values(), other_core())
        for _ in range(options.rounds):
            for name, figure in zip(figures, one_start(service), strict=True):
                figures[name].append(figure)
    compiling = f"compiling {options.actions:,} actions, CPU s"
    figures[compiling] = compile_s(options)
    limits = {"ready s": READY_LIMIT_S, "memory after decisions MB": MEMORY_LIMIT_MB, compiling: COMPILE_LIMIT_S}
    made = [Claim(name, Ratio.of(figures[name], [1.0] * options.rounds), limit) for name, limit in limits.items()]
    rows = [[f"{options.strategy.name}, {options.rounds} times", "median (range)"]]
    rows += [[name, str(Ratio.of(found, [1.0] * options.rounds))] for name, found in figures.items()]
    report = {**head("startup", before), "strategy": options.strategy.name, "figures": figures}
    report["claims"] = [claim.as_json() for claim in made]
    write(options.out, "startup", report, f"{in_columns(rows)}\n\n{claims.table_of(made)}", {})


def example(strategy: Path, cache: Path) -> Path:
    """A prepared folder of an example, made anew when its files have changed."""
    if (strategy / "generate.py").exists() and not (strategy / "generated").exists():
        subprocess.run([sys.executable, str(strategy / "generate.py")], cwd=ROOT, check=True)
    files = sorted(path for path in strategy.rglob("*") if path.is_file() and "generated" not in path.parts)
    digest = sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    return prepare_strategy(cache / f"{strategy.name}-{digest}", lambda copy: shutil.copytree(strategy, copy))


def one_start(service: Service) -> Iterator[float]:
    """Seconds until ready, CPU seconds until then, megabytes then, and megabytes after decisions for many customers."""
    began_s = time.monotonic()
    with _server(service.data) as (pid, address):
        yield time.monotonic() - began_s
        usage = usage_of(pid)
        yield usage.cpu_s
        yield usage.memory_bytes / 1e6
        Driver(address, DecisionTraffic(1, range(1, CUSTOMERS + 1))).at_rate(RATE, CUSTOMERS / RATE)
        yield usage_of(pid).memory_bytes / 1e6


@contextmanager
def _server(data: Path) -> Iterator[tuple[int, tuple[str, int]]]:
    port = free_port()
    with (data / "serve.log").open("w") as log:
        process = subprocess.Popen(
            nextbest("serve", "--port", str(port)),
            cwd=ROOT,
            env={**os.environ, "NEXTBEST_DATA_DIR": str(data.resolve()), "NEXTBEST_DEMO": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_alone,
        )
        try:
            await_ready(process, port, data / "serve.log")
            yield process.pid, (HOST, port)
        finally:
            end(process)


def _alone() -> None:
    die_with_parent()
    os.sched_setaffinity(0, serving_cores())


def compile_s(options: argparse.Namespace) -> list[float]:
    """CPU seconds of checking and compiling a simulated strategy, each time in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="loadtest-") as folder:
        size = ["--actions", str(options.actions), "--seed", str(options.seed), "--customers", "1"]
        subprocess.run(nextbest("generate", f"{folder}/strategy", *size), cwd=ROOT, check=True, capture_output=True)
        command = [sys.executable, "-c", COMPILE, f"{folder}/strategy"]
        runs = (subprocess.run(command, cwd=ROOT, check=True, capture_output=True) for _ in range(options.rounds))
        return [float(run.stdout) for run in runs]
