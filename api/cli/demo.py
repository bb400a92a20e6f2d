"""`nextbest run`: a complete Nextbest on one machine, from one strategy directory.

Starts the embedded store, publishes the strategy, loads the customers and trains the model that lie beside it, and
starts worker and server as children: one answers customers, the other learns from what they answer. What was recorded
stays in the data directory, so a second start does only what is new. Everything ends with this process, and this
process with its parent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, TextIO

import httpx
import orjson
from rich.console import Console

from api.cli.bars import Bars, told
from api.cli.cast import cast, consenting
from api.cli.port import holder_of, is_free
from api.console import people
from api.instants import wall_ms
from api.keys import DEMO_KEY, KeyRing
from api.live import Live
from api.publications import current_version, publish_strategy
from api.settings import Settings
from api.storage import COMMAND_DEADLINE_MS
from decisioning.catalog.load import load_bundle, read_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError
from decisioning.history.load import load_customers
from decisioning.nouns import counted
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.process import die_with_parent
from decisioning.store.protocol import Store
from decisioning.store.redis import connect

OUT = Console(highlight=False, soft_wrap=True)
HOST = "127.0.0.1"
READY_PATIENCE_S = 120.0  # a busy machine takes a minute; a child that ends is told at once
END_PATIENCE_S = 8.0
PUBLISHED = "strategy"  # name of the registry's entry that says which version the demo published
TABLES = ("parquet", "jsonl", "csv")


@dataclass(slots=True)
class Ended(Exception):
    """Somebody asked this process to end."""

    signal_number: int


def run_demo(strategy_dir: Path, *, port: int, workers: int) -> None:
    """Run until asked to end, or until a child ends by itself."""
    parent_pid = os.getppid()
    die_with_parent(parent_pid)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _raise_ended)
    if not is_free(HOST, port):
        raise NextbestError(
            f"port {port} is taken by {holder_of(port)}. Choose another: --port {port + 1}, with make: PORT={port + 1}"
        )
    settings = _settings(strategy_dir)
    try:
        with ExitStack() as stack:
            server = None if settings.redis_url else stack.enter_context(EmbeddedServer.start(settings.store_dir))
            url = server.url if server else str(settings.redis_url)
            strategy, has_model = asyncio.run(_prepare(url, strategy_dir, settings))
            children = [
                stack.enter_context(Child(["worker"], url, settings)),
                stack.enter_context(
                    Child(["serve", "--host", HOST, "--port", str(port), "--workers", str(workers)], url, settings)
                ),
            ]
            if has_model:
                _await_ready(port, children)
            _tell(strategy, port, settings, has_model=has_model)
            _attend(port, children, server)
    except Ended as ended:
        if ended.signal_number != signal.SIGINT:
            sys.exit(128 + ended.signal_number)


def _raise_ended(number: int, _: object) -> None:
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # one is enough; a second must not interrupt the orderly end
    raise Ended(number)


def _settings(strategy_dir: Path) -> Settings:
    """Each strategy directory has its own data, beside those of others."""
    os.environ.setdefault("NEXTBEST_DATA_DIR", str(Path(".nextbest", strategy_dir.resolve().name).resolve()))
    return Settings.from_environment()


async def _prepare(url: str, strategy_dir: Path, settings: Settings) -> tuple[Strategy, bool]:
    """Publish, load and train what is new; returns the strategy, and whether there is a model to decide with."""
    store = connect(url, deadline_ms=COMMAND_DEADLINE_MS)
    try:
        files = read_bundle(strategy_dir)
        strategy = load_bundle(files)
        before = await current_version(store)
        if settings.redis_url:
            await refuse_others_store(store, before)
        if before != strategy.version:
            await publish_strategy(store, files, strategy)
            instead = f", in place of {before[:12]}" if before else ""
            size = counted(len(strategy.actions), "action")
            OUT.print(f"strategy {strategy.name} {strategy.version[:12]}: {size} published{instead}")
        await store.put(people.KIND, PUBLISHED, strategy.version.encode())
        training = asyncio.create_task(_train(store, url, strategy_dir, settings))  # on the other core
        await _load(store, strategy, _table(strategy_dir, "customers"), settings)
        await training
        live = Live(store, settings.models_dir, KeyRing(demo=True))
        await live.refresh()
        if live.current is None:
            return strategy, False
        names = await cast(consenting(_table(strategy_dir, "customers")), store, live.current)
        await store.put(people.KIND, people.NAME, orjson.dumps(names))
        return strategy, True
    finally:
        await store.close()


async def refuse_others_store(store: Store, current: str) -> None:
    """Raise NextbestError for a store with a strategy that the demo did not publish, which it would take over."""
    published = await store.get(people.KIND, PUBLISHED)
    if current and current.encode() != published:
        raise NextbestError(
            f"the store of NEXTBEST_REDIS_URL decides by strategy {current[:12]}, which `nextbest run` did not "
            "publish. Unset it, and the demo starts a store of its own; or name an empty one."
        )


async def _load(store: Store, strategy: Strategy, customers: Path | None, settings: Settings) -> None:
    if customers is None:
        return
    mark = _mark(customers, strategy.version)
    if await store.get("loaded", "customers") == mark:
        return
    rejects = settings.data_dir / "rejects.csv"
    with Bars() as bars:
        summary = await load_customers(
            [customers],
            strategy.schema,
            store,
            channels=strategy.channels,
            at_ms=wall_ms(),
            rejects_path=rejects,
            progress=bars.of("customers"),
        )
    OUT.print(told(summary, rejects), markup=False)
    await store.put("loaded", "customers", mark)


async def _train(store: Store, url: str, strategy_dir: Path, settings: Settings) -> None:
    history, mapping = _table(strategy_dir, "history"), strategy_dir / "mapping.yaml"
    if history is None:
        return
    mark = _mark(history, sha256(mapping.read_bytes()).hexdigest())
    current = await store.get("current", "model")
    if (
        current is not None
        and (settings.models_dir / current.decode()).is_dir()
        and await store.get("loaded", "history") == mark
    ):
        return
    words = [
        "train",
        "--history",
        str(history),
        "--mapping",
        str(mapping),
        "--strategy",
        str(strategy_dir),
        "--promote",
    ]
    with Child(words, url, settings, is_quoted=True) as trainer:
        await trainer.follow()
    if trainer.process.returncode != 0:
        raise NextbestError("training failed; its message is above.")
    await store.put("loaded", "history", mark)


def _table(strategy_dir: Path, name: str) -> Path | None:
    """A generated table beside the strategy; None where the example has none and the user brings their own."""
    paths = (strategy_dir / "generated" / f"{name}.{kind}" for kind in TABLES)
    return next((path for path in paths if path.exists()), None)


def _mark(table: Path, also: str) -> bytes:
    """Changes when a table changes, without reading it."""
    seen = table.stat()
    return f"{table.name} {seen.st_size} {seen.st_mtime_ns} {also}".encode()


class Child:
    """One of our own commands as a child process that cannot outlive this one; leaving the block ends it.

    is_quoted: what it says comes line by line through this process, whose bar would otherwise share a line with its own
    """

    def __init__(self, words: Sequence[str], url: str, settings: Settings, *, is_quoted: bool = False) -> None:
        self.name = words[0]
        stated = {
            "NEXTBEST_REDIS_URL": url,
            "NEXTBEST_DATA_DIR": str(settings.data_dir),
            "NEXTBEST_HISTORY_DIR": str(settings.history_dir),
            "NEXTBEST_MODELS_DIR": str(settings.models_dir),
            "NEXTBEST_DEMO": "1",
        }
        command = [sys.executable, "-m", "api.cli", "--parent", str(os.getpid()), *words]
        pipe = subprocess.PIPE if is_quoted else None
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **stated},
            stdout=pipe,
            stderr=pipe,
            text=True,
            errors="replace",
            process_group=0,  # ctrl-c reaches it through us
        )

    async def follow(self) -> None:
        """Pass on what a quoted child says, until it has ended."""
        said = (self.process.stdout, lambda: sys.stdout), (self.process.stderr, lambda: sys.stderr)
        await asyncio.gather(*(asyncio.to_thread(_quote, lines, onto) for lines, onto in said))
        await asyncio.to_thread(self.process.wait)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _quote(lines: IO[str] | None, onto: Callable[[], TextIO]) -> None:
    """onto is asked for each line: while a bar is drawn, another stream stands there, which writes above the bar."""
    assert lines is not None  # of a quoted child
    with lines:
        for line in lines:
            stream = onto()
            stream.write(line)
            stream.flush()


def _await_ready(port: int, children: Sequence[Child]) -> None:
    deadline_s = time.monotonic() + READY_PATIENCE_S
    while lacks := lacking(port):
        _raise_if_ended(children)
        if time.monotonic() > deadline_s:
            raise NextbestError(
                f"the server was not ready within {READY_PATIENCE_S:g} s: {lacks}. Its messages are above. "
                "Run it again: it goes on from there."
            )
        time.sleep(0.05)  # readiness can only be asked for


def lacking(port: int) -> str:
    """What the server on this port has not got yet, as /readyz says; empty when it is ready."""
    try:
        answer = httpx.get(f"http://{HOST}:{port}/readyz", timeout=1)
        said = answer.json()
    except (httpx.TransportError, ValueError):
        return "/readyz does not answer"
    if answer.status_code == httpx.codes.OK:
        return ""
    missing = [name for name in ("store", "strategy", "model") if not said.get(name)]
    return f"/readyz lacks {', '.join(missing) or 'a model for its strategy, the token key or the fonts'}"


def _attend(port: int, children: Sequence[Child], server: EmbeddedServer | None) -> None:
    state, has_told = _model_state(port), False
    while True:
        _raise_if_ended(children)
        if server is not None and not server.is_running:
            raise NextbestError("the embedded store ended. Start again: what was acknowledged is on disk.")
        if not has_told and (newer := _model_state(port)) not in (None, state):
            OUT.print(f"The model has learnt from what was answered: decisions name model_state {newer} now.")
            has_told = True
        time.sleep(0.2 if has_told else 1.0)  # a signal ends it at once; only a child's end waits for the next look


def _model_state(port: int) -> str | None:
    """What the learner has added to the model that decides; None when nothing, or nobody answers."""
    try:
        state = httpx.get(f"http://{HOST}:{port}/readyz", timeout=1).json()["model_state"]
    except (httpx.TransportError, ValueError, KeyError):
        return None
    return None if state is None else str(state)


def _raise_if_ended(children: Sequence[Child]) -> None:
    for child in children:
        if child.process.poll() is not None:
            raise NextbestError(
                f"{child.name} ended with exit code {child.process.returncode}; its messages are above."
            )


def _tell(strategy: Strategy, port: int, settings: Settings, *, has_model: bool) -> None:
    OUT.print(
        f"""
Open http://{HOST}:{port}/ : one customer on a web page, in an inbox and on an agent's screen.
Nextbest decides there too (API: /docs, health: /readyz, metrics: /metrics; end with ctrl-c)
Other commands reach it after: export NEXTBEST_DATA_DIR={settings.data_dir}
""",
        markup=False,
    )
    if not has_model:
        OUT.print("It has no model yet, so it is not ready: nextbest train --history … --mapping … --promote")
        return
    channel = next(iter(strategy.channels))
    placements = ", ".join(f'"{each.name}"' for each in strategy.placements.values() if each.channel == channel)
    OUT.print(
        f"""curl -s http://{HOST}:{port}/v1/decisions -H 'Authorization: Bearer {DEMO_KEY}' \\
  -H 'Content-Type: application/json' \\
  -d '{{"customer": {{"id": "C-00001"}}, "channel": "{channel}", "placements": [{placements}]}}'

Answer it at /v1/responses with {{"event_token": "…", "outcome": "accepted"}}: the model learns from it within seconds.
""",
        markup=False,
    )
